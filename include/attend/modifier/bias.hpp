#pragma once
/// \file
/// Dense bias: any matrix, added to the scores.

#include <type_traits>

#include <attend/core/broadcast_view.hpp>
#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/transposed.hpp>

namespace attend::inline ATTEND_ABI {

/// s ↦ s + values(row, key), for a learned bias. The matrix is n_q × n_kv and serves all heads, or heads · n_q × n_kv
/// with a block a head; rows count from the call's first query. It serves all sequences; those shorter use its upper
/// left corner.
template <class T, class Values = RowMatrix<T>>
struct DenseBias {
    static constexpr Kind kind = Kind::modifier;
    using Scalar = T;

    Values values;    ///< trains
    Index heads = 1;  ///< that have rows of their own

    /// The same bias of C.
    template <class C>
    DenseBias<C> cast() const {
        return {values.template cast<C>(), heads};
    }

    static void parameters(auto& self, auto&& visit) { visit("values", self.values); }
    auto spelled(const auto& say) const { return say("bias", values, say.when(heads != 1, heads)); }
    void check(const Shape& shape) const {
        detail::require(heads == 1 || heads == shape.heads, "bias: holds ", heads, " heads, the call has ",
                        shape.heads);
        detail::require(values.rows() == heads * shape.queries && values.cols() == shape.keys,
                        detail::named("bias", values.rows(), values.cols()), " must be ", heads * shape.queries, "x",
                        shape.keys, ": a row a query", heads == 1 ? "" : " and head", ", a column a key");
    }

    auto operator()(auto s, const Position& p) const { return s + decltype(s)(values(index_row(p), p.key)); }
    template <class C>
    auto operator()(auto s, const LanePosition<C>& p) const {
        return s + decltype(s)(Lanes<C>::gather(&values(index_row(p), p.key), values.cols(), p.row.count));
    }
    template <class C>
    auto operator()(auto s, const KeyLanePosition<C>& p) const {
        const T* const row = &values(index_row(p), p.key.first);
        if constexpr (std::is_same_v<C, T>) {
            return s + decltype(s)(Lanes<C>::of(detail::simd::load(row, p.key.count, C(0))));
        } else {
            return s + decltype(s)(Lanes<C>::gather(row, 1, p.key.count));
        }
    }
    /// The same for `keys` keys from p.key on, whose scores stand `lanes` apart.
    void on_tile(T* s, Index lanes, Index keys, const LanePosition<T>& p) const {
        detail::add_transposed(&values(index_row(p), p.key), values.cols(), p.row.count, keys, s, lanes);
    }
    template <class C>
    void backward(C, const Position& p, C ds_out, DenseBias& gradient) const {
        gradient.values(index_row(p), p.key) += static_cast<T>(ds_out);
    }
    /// Adds the gradient of such a tile.
    void backward_on_tile(const T* ds_out, Index lanes, Index keys, const LanePosition<T>& p,
                          DenseBias& gradient) const {
        detail::add_transposed(ds_out, lanes, keys, p.row.count, &gradient.values(index_row(p), p.key), values.cols());
    }

private:
    template <class P>
    Index index_row(const P& p) const {
        const Index row = detail::first_row(p);
        return heads == 1 ? row : p.head * (values.rows() / heads) + row;
    }
};

/// s ↦ s + view(sequence, head, row, key), for foreign memory that is read and not trained. Dimensions of size 1 serve
/// all.
template <class T>
struct BiasView {
    static constexpr Kind kind = Kind::modifier;

    detail::BroadcastView<T> values;  ///< the memory

    auto spelled(const auto& say) const { return say("bias", say("strided", values.view)); }

    void check(const Shape& shape) const { values.check("bias", shape); }
    auto operator()(auto s, const Position& p) const { return s + decltype(s)(values.at(p)); }
};

/// `bias(matrix)` for all heads, or `bias(matrix, heads)` with a block of rows a head. Holds a copy, which trains.
/// Throws unless the heads divide the rows.
template <detail::Dense X>
DenseBias<typename X::Scalar> bias(const X& values, Index heads = 1) {
    detail::require(heads > 0 && values.rows() % heads == 0, "bias: ", heads, " heads do not divide the rows of ",
                    detail::named("values", values.rows(), values.cols()));
    return {values, heads};
}
/// `bias(strided(…))`: reads the caller's memory, which must outlive the attention's calls, without a copy and without
/// gradient.
template <class T>
BiasView<std::remove_const_t<T>> bias(const StridedView<T>& view) {
    return {{view}};
}

}  // namespace attend
