#pragma once
/// \file
/// A block that generates: prompts and token by token, over a cache of what has been.

#include <span>
#include <string_view>

#include <attend/layer/multi_head_cache.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// A cache as it will be when a call has appended its keys, to be checked before it is.
template <class Cache, class T>
class GrownCache {
public:
    static constexpr Kind kind = Kind::source;

    GrownCache(const Cache& cache, const SequencesRef& appended) : cache_(cache), appended_(appended) {}

    Index sequences() const { return cache_.sequences(); }
    Index heads() const { return cache_.heads(); }
    Index keys(Index s) const { return static_cast<Index>(cache_.keys_after(appended_.length(s), s)); }
    Index position(Index s, Index key) const
        requires requires(const Cache& cache, Index i) { cache.position(i, i); }
    {
        return query_offset(s, keys(s)) + key;  // of the latest: all that is asked here
    }
    Index key_width() const { return cache_.key_width(); }
    Index value_width() const { return cache_.value_width(); }
    Index query_offset(Index s, Index queries) const {
        return static_cast<Index>(cache_.query_offset(s, 0)) + appended_.length(s) - queries;
    }
    RowBlock<T> key_rows(Index s, Index h, Index i, Index n, T* room) const {
        return cache_.key_rows(s, h, i, n, room);
    }
    RowBlock<T> value_rows(Index s, Index h, Index i, Index n, T* room) const {
        return cache_.value_rows(s, h, i, n, room);
    }

private:
    const Cache& cache_;
    SequencesRef appended_;
};

}  // namespace detail

/// The calls of a block on a cache, if its mixer is an attention. x is n × d_model, and so is y; O(n · d_model²)
/// operations for the projections and those of the attention over all that the cache holds. They throw
/// `std::invalid_argument`, or `std::length_error` where the cache is full.
template <class T, class A>
class MultiHeadSteps : public MultiHeadOnCache<T, A> {
    using Call = MultiHeadCall<T, A>;
    using OnCache = MultiHeadOnCache<T, A>;

public:
    using Call::shape;
    using typename Call::Options, typename Call::Tape;

    /// The next tokens x: their keys and values are appended to the cache, and they attend to all that it holds then,
    /// as they would among all tokens at once if the attention's mask is causal. x has the rows of one sequence; or one
    /// row for each of the cache's sequences; or, with `.sequences`, any number for each, also none. Of a prompt all
    /// rows may come at once.
    ///
    /// With a tape, a workspace and an output that have served such a call before, nothing is taken from the heap. The
    /// tape is memory alone: it records nothing for `backward`. (Of the workspace a cache that grows takes a little
    /// more every 1024 keys: `workspace_bytes` at its capacity says how much.) Throws, and changes nothing, where the
    /// cache is full or belongs to another block, and what `forward` throws; where a functor of the attention throws,
    /// the keys have been appended.
    template <detail::Dense X, class Cache>
        requires KeyStoreOf<Cache, Compute<T>>
    void step(const X& x, Cache& cache, Output<T> y, Options options = {}) const {
        if constexpr (OnCache::template attends<Cache>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            const detail::SequencesRef sequences = check_tokens_of("step", x, cache, options, tape);
            check_asked(sequences, sequences, cache, y, x.rows(), options, tape);
            const auto rows = this->step_input(x, tape, Call::StepSlot::inputs);
            this->put(rows, rows, sequences, cache, options, tape);
            this->project_step_back(ask(rows, sequences, cache, options, tape), sequences, y, options.executor,
                                    options.packed);
        }
    }

    /// Prompts, of which only the last token's result is wanted: appends what `step` does, but asks for the last row
    /// of each sequence alone, which takes little more than the projections of keys and values. y is sequences ×
    /// d_model; the row of a sequence that gets no token stays as it is. (Of every layer but a model's last all rows
    /// are wanted: `step`. To fill a cache and ask nothing: `remember`.) Otherwise as `step`.
    template <detail::Dense X, class Cache>
        requires KeyStoreOf<Cache, Compute<T>>
    void prefill(const X& x, Cache& cache, Output<T> y, Options options = {}) const {
        if constexpr (OnCache::template attends<Cache>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            const detail::SequencesRef sequences = check_tokens_of("prefill", x, cache, options, tape);
            const detail::SequencesRef asked = last_rows(sequences, tape);
            check_asked(sequences, asked, cache, y, sequences.count(), options, tape);
            const auto rows = this->step_input(x, tape, Call::StepSlot::inputs);
            project_last_rows(rows, sequences, asked, y, options, tape, [&](const auto& last) {
                this->put(rows, rows, sequences, cache, options, tape);
                return ask(last, asked, cache, options, tape);
            });
        }
    }

protected:
    using OnCache::OnCache;
    using typename Call::StepMatrix, typename OnCache::Rows;

    template <class X, class Cache>
    detail::SequencesRef check_tokens_of(std::string_view call, const X& x, const Cache& cache, const Options& options,
                                         Tape& tape) const {
        this->check_self();
        this->check_input(x, "x", shape().d_model, tape.x);
        this->check_step_source(x, "x", tape);
        this->check_parameters();
        detail::check(options.dropout);
        return OnCache::check_tokens(call, x.rows(), "x", cache, options, tape);
    }
    /// The last row of each sequence that has any.
    static detail::SequencesRef last_rows(const detail::SequencesRef& sequences, Tape& tape) {
        auto& offsets = tape.asked_offsets;
        offsets.assign(1, 0);
        for (Index s = 0; s < sequences.count(); ++s)
            offsets.push_back(offsets.back() + (sequences.length(s) > 0 ? 1 : 0));
        return Call::sequences_of(offsets);
    }
    /// y, a row for each sequence, from the heads' outputs `context_of(rows)` for those that are asked.
    template <class Context>
    void project_last_rows(const Rows& rows, const detail::SequencesRef& sequences, const detail::SequencesRef& asked,
                           Output<T>& y, const Options& options, Tape& tape, const Context& context_of) const {
        auto last = this->kept(tape, Call::StepSlot::apart, asked.total(), shape().d_model);
        for_each_of(asked, [&](Index s, Index row) { last.row(row) = rows.row(sequences.begin(s + 1) - 1); });
        const auto context = context_of(last);
        Output<T> result(last);
        this->project_step_back(context, asked, result, options.executor, options.packed);
        auto to = Call::rows_of(y, sequences.count(), shape().d_model);
        for_each_of(asked, [&](Index s, Index row) { to.row(s) = last.row(row); });
    }

private:
    /// The rest of what is asked before anything is written: of the sequences' rows `asked`, and a y of so many rows.
    template <class Cache>
    void check_asked(const detail::SequencesRef& sequences, const detail::SequencesRef& asked, const Cache& cache,
                     const Output<T>& y, Index y_rows, const Options& options, const Tape& tape) const {
        const detail::GrownCache<Cache, Compute<T>> grown(cache, sequences);
        const auto problem = this->problem_of(asked.total(), grown, 0, asked, options.dropout);
        this->check_outputs(problem, y, y_rows, options, tape);
        if constexpr (requires { cache.check_attend(this->attention, Index(), Index(), true); }) {
            cache.check_attend(this->attention, shape().heads, asked.total(),
                               !options.weights && !options.insight && options.dropout.rate == 0);
        }
        detail::reserve_forward(this->attention, problem, options.workspace, options.executor.concurrency(),
                                options.insight);
    }
    /// The heads' outputs for the latest rows of sequences, of which the cache holds the keys.
    template <class Cache>
    StepMatrix ask(const Rows& x, const detail::SequencesRef& sequences, const Cache& cache, const Options& options,
                   Tape& tape) const {
        const auto first = [&](Index s) { return static_cast<Index>(cache.query_offset(s, sequences.length(s))); };
        const auto q = this->project_step_queries(x, sequences, first, tape, options.executor, options.packed);
        auto context = this->kept(tape, Call::StepSlot::contexts, x.rows(), this->query_width());
        const Index h = shape().heads;
        this->attention(heads(q, h), cache, heads(context, h),
                        ForwardOptions<Compute<T>>{.workspace = options.workspace,
                                                   .executor = options.executor,
                                                   .weights = options.weights,
                                                   .weight_rows = options.weight_rows,
                                                   .insight = options.insight,
                                                   .sequences = sequences,
                                                   .dropout = options.dropout});
        this->gate_step(x, sequences, context, tape, options.executor, options.packed);
        return context;
    }
    /// Calls `f(sequence, its row)` for those that are asked.
    template <class F>
    static void for_each_of(const detail::SequencesRef& asked, F&& f) {
        for (Index s = 0; s < asked.count(); ++s) {
            if (asked.length(s) > 0) f(s, asked.begin(s));
        }
    }
};

}  // namespace attend
