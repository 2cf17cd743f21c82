#pragma once
/// \file
/// Forward calls so small that to plan them, and to lay out their memory, would take longer than to compute them: by
/// the same steps as the fused kernel takes for a few queries and one tile of keys, and to the same bits.

#include <algorithm>

#include <attend/call/problem.hpp>
#include <attend/core/row_lanes.hpp>
#include <attend/core/score_tile.hpp>
#include <attend/kernel/held_rows.hpp>
#include <attend/kernel/needs.hpp>
#include <attend/kernel/tiny.hpp>
#include <attend/parts/final_scores.hpp>
#include <attend/source/readable.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Queries and keys are their own features, but for a factor, and the weights come of a fold. Keys that a mask lists
/// are met one list after the other, whatever the size: here their sums would round in another order.
template <class T, class A, class X>
concept Direct = std::same_as<T, X> && Fold<typename A::NormalizerFunctor> && !ListsKeys<MaskOf<A>> &&
                 A::ScoreFunctor::pairing == Pairing::dot && Products<T, typename A::EngineType>::most_rows > 0 &&
                 !HasMapKeys<typename A::ScoreFunctor> && ScalesQueries<typename A::ScoreFunctor, T>;

/// On operands, or on a key source whose keys of a sequence follow each other.
template <class T, class A, class Source>
class DirectForward {
public:
    DirectForward(const A& attention, const Problem<T>& problem, const Source& source)
        : attention_(attention), problem_(problem), source_(source) {}

    /// False, and nothing is written, where a value that is not finite must be kept from who does not see it, or keys
    /// stand apart.
    bool run(Output<T>& out, Output<T>& lse) {
        if (!for_each_head([&](Position& p, const Keys& keys) {
                const Index count = problem_.keys(p.sequence);
                if (count > 0 && keys.run(0, count).keys != count) return false;
                return cover(p, count) != Cover::some || are_finite(values(keys, count));
            }))
            return false;
        const StridedView<T> to = problem_.query_output(out, problem_.shape.d_v), lses = problem_.query_output(lse, 1);
        return for_each_head([&](Position& p, const Keys& keys) { return run_head(p, keys, to, lses), true; });
    }

    /// `may_copy`: keys and values may come in memory of the call's.
    static bool serves(const Problem<T>& problem, const ForwardOptions<T>& options, bool may_copy) {
        const Shape& s = problem.shape;
        const Index width = std::max(s.d_q, s.d_v);
        const bool cut = (options.sequences && options.sequences.count() != 1) || options.key_sequences;
        if (cut || problem.dropout || options.weights || options.insight || problem.own_positions()) return false;
        if (std::min({s.queries, s.keys, s.d_q, s.d_v}) == 0) return false;  // there may be no memory to point into
        if (may_copy && s.keys * width > most_copied) return false;
        return is_little<T>(s.queries, s.keys, s.d_q, s.d_v) ||
               (s.queries <= most_few_queries<T> && s.keys <= most_keys && width <= most_width);
    }

private:
    using Fold = typename A::NormalizerFunctor;
    using Keys = typename Source::Head;
    static constexpr Index most_queries = 2 * most_few_queries<T>, most_keys = 64, most_width = 64, most_copied = 1024;
    static constexpr Index row = simd::padded<T>(most_keys);

    /// Calls `f(position of the first pair, keys)` for the heads while it returns true; returns whether it always did.
    template <class F>
    bool for_each_head(F&& f) const {
        const Shape& shape = problem_.shape;
        const Index group = shape.group();
        for (Index s = 0; s < shape.sequences; ++s) {
            const Index offset = problem_.query_offset(s), count = problem_.keys(s);
            for (Index h = 0; h < shape.heads; ++h) {
                const Index kv_head = group == 1 ? h : h / group;
                const Keys keys = source_.head(problem_.key_rows(s, kv_head));
                const Index first = count > 0 ? keys.run(0, 1).position : 0;
                Position p{offset, first, 0, h, kv_head, s};
                if (!f(p, keys)) return false;
            }
        }
        return true;
    }
    Cover cover(const Position& p, Index keys) const {
        if (keys == 0) return Cover::none;
        const Tile all{p.query,   p.query + problem_.shape.queries, p.key, p.key + keys, 0, p.head, p.kv_head,
                       p.sequence};
        return cover_of(attention_.mask, all);
    }
    RowBlock<T> values(const Keys& keys, Index count) {
        return rows(keys.values(0, count, v_, Reading::row_by_row), count, problem_.shape.d_v);
    }
    static RowBlock<T> rows(const StridedMatrix<T>& x, Index rows, Index columns) {
        return {x.data, x.row_stride, rows, columns};
    }
    static bool are_finite(const RowBlock<T>& rows) {
        return all_finite<T>({rows.data, rows.stride, 1}, rows.rows, rows.columns);
    }

    ATTEND_ALWAYS_INLINE void run_head(Position& p, const Keys& keys, const StridedView<T>& to,
                                       const StridedView<T>& lses) {
        const Shape& shape = problem_.shape;
        const Index count = problem_.keys(p.sequence);
        const Cover cover = this->cover(p, count);
        T* const out = to.data + p.sequence * to.sequence_stride + p.head * to.head_stride;
        T* const lse =
            lses.data == nullptr ? nullptr : lses.data + p.sequence * lses.sequence_stride + p.head * lses.head_stride;
        const RowBlock<T> q =
            rows(readable<T>(problem_.query_slice(problem_.q, p.sequence, p.head), q_rows_, Reading::row_by_row),
                 shape.queries, shape.d_q);
        const T factor = query_factor<T>(attention_.score(), shape.d_q);
        if (cover == Cover::none) {
            std::fill_n(o_, shape.queries * shape.d_v, T(0));
            return write(p, to, out, lse, lses.row_stride, nullptr);
        }
        const RowBlock<T> k = rows(keys.keys(0, count, k_, Reading::row_by_row), count, shape.d_q);
        const RowBlock<T> v = values(keys, count);
        if constexpr (Tiny<T, A, T>) {
            if (is_tiny_at_any_size<T>(shape.queries, count, shape.d_q, shape.d_v)) {
                const AnyTinyHead<T> head{.queries = shape.queries,
                                          .keys = count,
                                          .width = shape.d_q,
                                          .d_v = shape.d_v,
                                          .q = q.data,
                                          .k = k.data,
                                          .v = v.data,
                                          .q_stride = q.stride,
                                          .k_stride = k.stride,
                                          .v_stride = v.stride,
                                          .factor = factor,
                                          .out = out,
                                          .lse = lse,
                                          .out_row = to.row_stride,
                                          .out_column = to.column_stride,
                                          .lse_stride = lses.row_stride};
                return run_tiny_head<T>(attention_, head, p, cover);
            }
        }
        for (Index i = 0; i < shape.queries; ++i) scale_row(q.row(i), q.columns, factor, q_ + i * q.columns, 1);
        const ScoreStrides apart{row, 1};
        typename Fold::template State<T> seen[most_queries];
        attention_.engine.row_scores(k, q_, shape.queries, s_, apart);
        for (Index i = 0; i < shape.queries; ++i, ++p.query, ++p.row) {
            T* const s = s_ + i * row;
            if (modifies(attention_.modifiers) || cover == Cover::some) finish_row(attention_, p, count, cover, s);
            RowScores<T> scores(s, count);
            attention_.normalizer.take(scores, seen[i], p.head);
        }
        attention_.engine.add_row_values(v, s_, shape.queries, apart, static_cast<const T*>(nullptr), o_);
        write(p, to, out, lse, lses.row_stride, seen);
    }
    /// `seen` of rows that have seen keys.
    void write(const Position& p, const StridedView<T>& to, T* out, T* lse, Index lse_stride,
               const typename Fold::template State<T>* seen) const {
        const Fold& fold = attention_.normalizer;
        const typename Fold::template State<T> none;
        for (Index i = 0; i < problem_.shape.queries; ++i, out += to.row_stride) {
            const auto& state = seen == nullptr ? none : seen[i];
            scale_row(o_ + i * problem_.shape.d_v, problem_.shape.d_v, fold.factor(state, p.head), out,
                      to.column_stride);
            if (lse != nullptr) lse[i * lse_stride] = fold.lse(state, p.head);
        }
    }

    const A& attention_;
    const Problem<T>& problem_;
    const Source& source_;
    T q_[most_queries * most_width], o_[most_queries * most_width];
    T s_[most_queries * row];
    /// Where rows do not stand in memory as such.
    T q_rows_[most_queries * most_width], k_[most_copied], v_[most_copied];
};

/// Out of line, so that other calls do not carry its memory. Returns what `run` does.
template <class T, class A, class Source>
ATTEND_NOINLINE bool run_directly(const A& attention, const Problem<T>& problem, const Source& source, Output<T>& out,
                                  Output<T>& lse) {
    return DirectForward<T, A, Source>(attention, problem, source).run(out, lse);
}
/// Whether a call is small, and has been made. `may_copy`: as `serves` takes it.
template <class T, class A, class Source>
bool runs_directly(const A& attention, const Problem<T>& problem, const Source& source, Output<T>& out,
                   ForwardOptions<T>& options, bool may_copy) {
    using Head = typename Source::Head;
    // Where rows are multiplied by factors after products, copies are not what the kernel reads.
    if constexpr (ReadsHeldRows<Head, typename A::EngineType, T>) {
        if constexpr (HasFactors<decltype(source.head({}).held_keys(0, 0))>) return false;
    }
    return DirectForward<T, A, Source>::serves(problem, options, may_copy) &&
           run_directly<T>(attention, problem, source, out, options.lse);
}

}  // namespace attend::detail::fused
