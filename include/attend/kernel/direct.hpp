#pragma once
/// \file
/// Forward calls so small that to plan them, and to lay out their memory, would take longer than to compute them: by
/// the same steps as the fused kernel takes for a few queries and one tile of keys, and to the same bits.

#include <algorithm>

#include <attend/call/problem.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/core/score_tile.hpp>
#include <attend/kernel/needs.hpp>
#include <attend/parts/final_scores.hpp>
#include <attend/source/readable.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Queries and keys are their own features, but for a factor, and the weights come of a fold.
template <class T, class A, class X>
concept Direct =
    std::same_as<T, X> && Fold<typename A::NormalizerFunctor> && A::ScoreFunctor::pairing == Pairing::dot &&
    Products<T, typename A::EngineType>::most_rows > 0 && !HasMapKeys<typename A::ScoreFunctor> &&
    (!HasMapQueries<typename A::ScoreFunctor> ||
     requires(const A& attention) { attention.score().template query_factor<T>(Index()); });

template <class T, class A>
class DirectForward {
public:
    DirectForward(const A& attention, const Problem<T>& problem) : attention_(attention), problem_(problem) {}

    /// False, and nothing is written, where a value that is not finite must be kept from who does not see it.
    bool run(Output<T>& out, Output<T>& lse) {
        if (!for_each_head([&](const Position& p) {
                return cover(p) == Cover::all || are_finite(rows(problem_.v, p.sequence, p.kv_head, v_));
            }))
            return false;
        const StridedView<T> to = problem_.query_output(out, problem_.shape.d_v), lses = problem_.query_output(lse, 1);
        return for_each_head([&](const Position& p) { return run_head(p, to, lses), true; });
    }

    static bool serves(const Problem<T>& problem, const ForwardOptions<T>& options) {
        const Shape& s = problem.shape;
        const Index width = std::max(s.d_q, s.d_v);
        const auto copied = [](const StridedView<const T>& view) { return view.column_stride != 1; };
        if (problem.ragged() || problem.dropout || options.weights) return false;
        if (std::min({s.queries, s.keys, s.d_q, s.d_v}) == 0) return false;  // there may be no memory to point into
        if ((copied(problem.k) || copied(problem.v)) && s.keys * width > most_copied) return false;
        return is_little<T>(s.queries, s.keys, s.d_q, s.d_v) ||
               (s.queries <= most_few_queries<T> && s.keys <= most_keys && width <= most_width);
    }

private:
    using Fold = typename A::NormalizerFunctor;
    static constexpr Index most_queries = 2 * most_few_queries<T>, most_keys = 64, most_width = 64, most_copied = 1024;
    static constexpr Index row = simd::padded<T>(most_keys);

    /// Calls `f(position of the first pair)` for the heads while it returns true; returns whether it always did.
    template <class F>
    bool for_each_head(F&& f) const {
        const Shape& shape = problem_.shape;
        const Index group = shape.group();
        for (Index s = 0; s < shape.sequences; ++s) {
            for (Index h = 0; h < shape.heads; ++h) {
                if (!f(Position{shape.query_offset, 0, 0, h, group == 1 ? h : h / group, s})) return false;
            }
        }
        return true;
    }
    Cover cover(const Position& p) const {
        const Shape& shape = problem_.shape;
        return cover_of(attention_.mask,
                        Tile{p.query, p.query + shape.queries, 0, shape.keys, 0, p.head, p.kv_head, p.sequence});
    }
    static bool are_finite(const RowBlock<T>& rows) {
        return all_finite<T>({rows.data, rows.stride, 1}, rows.rows, rows.columns);
    }
    /// A head's rows, of which the scalars follow each other.
    static RowBlock<T> rows(const StridedView<const T>& view, Index sequence, Index head, T* room) {
        const T* const from = view.data + sequence * view.sequence_stride + head * view.head_stride;
        if (view.column_stride == 1 || view.columns == 1) return {from, view.row_stride, view.rows, view.columns};
        for (Index i = 0; i < view.rows; ++i) {
            for (Index a = 0; a < view.columns; ++a)
                room[i * view.columns + a] = from[i * view.row_stride + a * view.column_stride];
        }
        return {room, view.columns, view.rows, view.columns};
    }

    void run_head(Position p, const StridedView<T>& to, const StridedView<T>& lses) {
        const Shape& shape = problem_.shape;
        const Index sequence = p.sequence, head = p.head;
        const Cover cover = this->cover(p);
        T factor(1);
        if constexpr (HasMapQueries<typename A::ScoreFunctor>)
            factor = attention_.score().template query_factor<T>(shape.d_q);
        const RowBlock<T> q = rows(problem_.q, sequence, head, o_);
        for (Index i = 0; i < shape.queries; ++i) scale_row(q.row(i), q.columns, factor, q_ + i * q.columns, 1);

        const Fold& fold = attention_.normalizer;
        typename Fold::template State<T> seen[most_queries];
        const ScoreStrides apart{row, 1};
        if (cover == Cover::none) {
            std::fill_n(o_, shape.queries * shape.d_v, T(0));
        } else {
            attention_.engine.row_scores(rows(problem_.k, sequence, p.kv_head, k_), q_, shape.queries, s_, apart);
            for (Index i = 0; i < shape.queries; ++i, ++p.query, ++p.row) {
                T* const s = s_ + i * row;
                if (A::ModifierChain::count > 0 || cover == Cover::some)
                    finish_row(attention_, p, shape.keys, cover, s);
                RowScores<T> scores(s, shape.keys);
                fold.take(scores, seen[i], head);
            }
            attention_.engine.add_row_values(rows(problem_.v, sequence, p.kv_head, v_), s_, shape.queries, apart,
                                             static_cast<const T*>(nullptr), o_);
        }
        T* out = to.data + sequence * to.sequence_stride + head * to.head_stride;
        T* lse = lses.data == nullptr ? nullptr : lses.data + sequence * lses.sequence_stride + head * lses.head_stride;
        for (Index i = 0; i < shape.queries; ++i, out += to.row_stride) {
            scale_row(o_ + i * shape.d_v, shape.d_v, fold.factor(seen[i], head), out, to.column_stride);
            if (lse != nullptr) lse[i * lses.row_stride] = fold.lse(seen[i], head);
        }
    }

    const A& attention_;
    const Problem<T>& problem_;
    T q_[most_queries * most_width], o_[most_queries * most_width];
    T s_[most_queries * row];
    T k_[most_copied], v_[most_copied];  ///< where rows do not stand in memory as such
};

/// Out of line, so that other calls do not carry its memory. Returns what `run` does.
template <class T, class A>
ATTEND_NOINLINE bool run_directly(const A& attention, const Problem<T>& problem, Output<T>& out,
                                  ForwardOptions<T>& options) {
    return DirectForward<T, A>(attention, problem).run(out, options.lse);
}

}  // namespace attend::detail::fused
