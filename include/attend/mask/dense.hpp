#pragma once
/// \file
/// Dense boolean mask.

#include <type_traits>

#include <attend/core/broadcast_view.hpp>
#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// Keeps the pairs whose entry is true. The matrix is n_q × n_kv, rows counted from the call's first query, and serves
/// all heads and sequences; those shorter use its upper left corner.
struct DenseMask {
    static constexpr Kind kind = Kind::mask;

    Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor> keep;  ///< so that queries follow each other

    auto spelled(const auto& say) const { return say("dense_mask", keep); }

    void check(const Shape& shape) const {
        detail::require(keep.rows() == shape.queries && keep.cols() == shape.keys,
                        detail::named("dense_mask", keep.rows(), keep.cols()), " must be ", shape.queries, "x",
                        shape.keys, ": a row a query, a column a key");
    }
    bool operator()(const Position& p) const { return keep(p.row, p.key); }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        return LaneMask<T>::of(keep.data() + p.key * keep.rows() + p.row.first, p.row.count);
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        const bool* const first = keep.data() + p.key.first * keep.rows() + p.row;
        if (keep.rows() == 1) return LaneMask<T>::of(first, p.key.count);
        return LaneMask<T>::each([&](Index lane) { return lane < p.key.count && first[lane * keep.rows()]; });
    }
};

/// The same for foreign memory of booleans (sequence, head, row, key), without a copy. Dimensions of size 1 serve all.
struct DenseMaskView {
    static constexpr Kind kind = Kind::mask;

    detail::BroadcastView<bool> keep;  ///< the memory

    auto spelled(const auto& say) const { return say("dense_mask", say("strided", keep.view)); }

    void check(const Shape& shape) const { keep.check("dense_mask", shape); }
    bool operator()(const Position& p) const { return keep.at(p); }
};

/// `dense_mask(keep)`: any dense boolean expression, n_q × n_kv, copied.
template <detail::Dense X>
    requires std::is_same_v<typename X::Scalar, bool>
DenseMask dense_mask(const X& keep) {
    return {keep.matrix()};
}
/// `dense_mask(strided(…))`: reads the caller's memory, which must outlive the attention's calls.
template <class T>
    requires std::is_same_v<std::remove_const_t<T>, bool>
DenseMaskView dense_mask(const StridedView<T>& keep) {
    return {{keep}};
}

}  // namespace attend
