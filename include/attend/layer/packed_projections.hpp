#pragma once
/// \file
/// The weights of a multi-head block, packed for the products of its forward calls.

#include <string_view>

#include <attend/core/errors.hpp>
#include <attend/engine/packed_matrix.hpp>

namespace attend::inline ATTEND_ABI {

/// What `block.pack()` gives, for `.packed` of its forward calls: they take a few percent less time, and give the same
/// bits but of 8 rows or features and fewer. It holds the weights as they were then: of weights that have changed it
/// must be made anew. As much memory again as the weights; for float and double.
template <class T>
class PackedProjections {
public:
    /// What `block.pack()` calls.
    template <class M>
    PackedProjections(const M& query, const M& key, const M& value, const M& output, const M& gate)
        : query_(query), key_(key), value_(value), output_(output), gate_(gate) {
        static_assert(std::is_same_v<T, Compute<T>>, "attend: weights of 16 bits are not packed");
    }

    /// Throws unless weights of these shapes were packed.
    template <class M>
    void check(const M& query, const M& key, const M& value, const M& output, const M& gate) const {
        check("query_weight", query_, query), check("key_weight", key_, key);
        check("value_weight", value_, value), check("output_weight", output_, output);
        check("gate_weight", gate_, gate);
    }

    /// The packed weights.
    /// @{
    const detail::PackedMatrix<T>& query() const { return query_; }
    const detail::PackedMatrix<T>& key() const { return key_; }
    const detail::PackedMatrix<T>& value() const { return value_; }
    const detail::PackedMatrix<T>& output() const { return output_; }
    const detail::PackedMatrix<T>& gate() const { return gate_; }
    /// @}

private:
    template <class M>
    static void check(std::string_view name, const detail::PackedMatrix<T>& packed, const M& weight) {
        if (packed.rows() != weight.rows() || packed.cols() != weight.cols())
            detail::refuse("packed: holds ", detail::named(name, packed.rows(), packed.cols()), ", but the block's is ",
                           weight.rows(), "x", weight.cols(), ": pack that block");
    }

    detail::PackedMatrix<T> query_, key_, value_, output_, gate_;
};

}  // namespace attend
