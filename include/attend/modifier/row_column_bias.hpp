#pragma once
/// \file
/// A bias of rows and columns: a number for each query and one for each key, added to the scores.

#include <string_view>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/stored.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {

inline void check_row_column_bias(std::string_view name, Index rows, Index columns, Index sequences) {
    require(sequences > 0 && columns > 0 && columns % sequences == 0, named(name, rows, columns),
            " must have a column, or one a head, for each of the ", sequences, " sequences");
}

}  // namespace detail

/// s ↦ s + a_i + b_j for query i and key j: what a dense bias of rank one costs a pass over n_q · n_kv numbers for, in
/// O(n_q + n_kv) memory. `a` is n_q × 1, counted from the call's first query, and `b` n_kv × 1; or with a column for
/// each query head; and of `sequences` above 1, all that for each of them (column sequence · heads + head), where
/// otherwise they serve all. Ragged sequences that are shorter use the upper part. Both train.
///
/// Forgetting attention (Lin et al. 2025) is `scaled_dot_product >> row_column_bias(c, -c) >> causal`, where c is the
/// running sum of log f over the tokens, f = σ(…) the forget gates; the loss's derivative in log f_t is then the sum of
/// da_i − db_i over i ≥ t. a_i + b_j is added up first, so that s loses nothing to sums that have grown large. Merged
/// tokens (Bolya 2023) weigh by their sizes: `column_bias(log_sizes)`.
template <class T>
struct RowColumnBias {
    static constexpr Kind kind = Kind::modifier;
    using Scalar = T;
    /// Of rows or of columns.
    using Values = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

    Values a, b;          ///< of rows and of columns; none where it has no columns
    Index sequences = 1;  ///< that have columns of their own

    /// The same bias of C.
    template <class C>
    RowColumnBias<C> cast() const {
        return {a.template cast<C>(), b.template cast<C>(), sequences};
    }

    static void parameters(auto& self, auto&& visit) {
        visit("a", self.a);
        visit("b", self.b);
    }
    auto spelled(const auto& say) const {
        const bool rows = a.cols() > 0, columns = b.cols() > 0;
        const auto name = rows && columns ? "row_column_bias" : rows ? "row_bias" : "column_bias";
        return say(name, say.when(rows, a), say.when(columns, b), say.when(sequences != 1, sequences));
    }
    void check(const Shape& shape) const {
        check("row_bias", a, shape.queries, shape);
        check("column_bias", b, shape.keys, shape);
    }

    auto operator()(auto s, const Position& p) const {
        return s + decltype(s)(at<T>(a, p.row, p) + at<T>(b, p.key, p));
    }
    template <detail::PackPosition P>
    auto operator()(auto s, const P& p) const {
        using C = detail::PositionScalar<P>;
        return s + decltype(s)(at<C>(a, p.row, p) + at<C>(b, p.key, p));
    }
    template <class C>
    void backward(C, const Position& p, C ds_out, RowColumnBias& gradient) const {
        if (a.cols() > 0) gradient.a(p.row, column(a, p)) += static_cast<T>(ds_out);
        if (b.cols() > 0) gradient.b(p.key, column(b, p)) += static_cast<T>(ds_out);
    }
    void backward(const Lanes<T>&, const LanePosition<T>& p, const Lanes<T>& ds_out, RowColumnBias& gradient) const {
        if (a.cols() > 0) {
            T* const da = &gradient.a(p.row.first, column(a, p));
            const auto sum = detail::simd::add(detail::simd::load(da, p.row.count, T(0)), ds_out.packet);
            detail::simd::store<T>(da, sum, p.row.count);
        }
        if (b.cols() > 0) gradient.b(p.key, column(b, p)) += sum(ds_out);
    }

private:
    void check(std::string_view name, const Values& values, Index rows, const Shape& shape) const {
        const Index columns = values.cols(), all = sequences * shape.heads;
        if (columns == 0) return;
        detail::require(sequences == 1 || sequences == shape.sequences, name, ": holds ", sequences,
                        " sequences, the call has ", shape.sequences);
        if (values.rows() == rows && (columns == sequences || columns == all)) return;
        const std::string_view of_sequence = sequences == 1 ? "" : " of each sequence";
        const std::string_view what = name == "row_bias" ? "query" : "key";
        if (all == sequences)
            detail::refuse(detail::named(name, values.rows(), columns), " must be ", rows, "x", sequences, ": a row a ",
                           what, ", a column for the head", of_sequence);
        detail::refuse(detail::named(name, values.rows(), columns), " must be ", rows, "x", sequences, " or ", rows,
                       "x", all, ": a row a ", what, ", a column for all heads or a head", of_sequence);
    }
    /// Which column is that of a pair.
    template <class P>
    Index column(const Values& values, const P& p) const {
        const Index heads = sequences == 1 ? values.cols() : values.cols() / sequences;
        return (sequences == 1 ? 0 : p.sequence * heads) + (heads == 1 ? 0 : p.head);
    }
    /// What of a row or a column bias goes with a pair, or with a pack of them.
    template <class C, class P>
    auto at(const Values& values, const auto& i, const P& p) const {
        using Sum = std::conditional_t<detail::PackPosition<P>, Lanes<C>, C>;
        if (values.cols() == 0) return Sum(C(0));
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(i)>, Index>) {
            return Sum(static_cast<C>(values(i, column(values, p))));
        } else {
            return Sum::of(detail::simd::load_as<C>(&values(i.first, column(values, p)), i.count));
        }
    }
};

/// `row_column_bias(a, b)`, or one of them alone: copies, which train, n_q × 1 and n_kv × 1, or with a column a head.
/// Throws unless the sequences divide the columns.
/// @{
template <detail::Dense A, detail::Dense B>
RowColumnBias<typename A::Scalar> row_column_bias(const A& a, const B& b, Index sequences = 1) {
    static_assert(std::is_same_v<typename A::Scalar, typename B::Scalar>,
                  "attend: row_column_bias needs both biases in one scalar type");
    detail::check_row_column_bias("row_bias", a.rows(), a.cols(), sequences);
    detail::check_row_column_bias("column_bias", b.rows(), b.cols(), sequences);
    return {a, b, sequences};
}
template <detail::Dense A>
RowColumnBias<typename A::Scalar> row_bias(const A& a, Index sequences = 1) {
    detail::check_row_column_bias("row_bias", a.rows(), a.cols(), sequences);
    return {a, {}, sequences};
}
template <detail::Dense B>
RowColumnBias<typename B::Scalar> column_bias(const B& b, Index sequences = 1) {
    detail::check_row_column_bias("column_bias", b.rows(), b.cols(), sequences);
    return {{}, b, sequences};
}
/// @}

}  // namespace attend
