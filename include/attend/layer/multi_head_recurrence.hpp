#pragma once
/// \file
/// A block of a recurrent mixer that generates: prompts and token by token, from state to state.

#include <string_view>

#include <attend/layer/multi_head_steps.hpp>
#include <attend/mixer/recurrent_cache.hpp>

namespace attend::inline ATTEND_ABI {

/// The calls of a block on a cache of states, if its mixer is a recurrence. x is n × d_model, and so is y; O(n ·
/// d_model²) operations for the projections, and those of the mixer, linear in n. Throws `std::invalid_argument` where
/// shapes do not fit.
template <class T, class M>
class MultiHeadRecurrence : public MultiHeadSteps<T, M> {
    using Call = MultiHeadCall<T, M>;
    using Steps = MultiHeadSteps<T, M>;
    using States = RecurrentCache<Compute<T>>;

public:
    using Call::shape;
    using Steps::step, Steps::prefill, Steps::remember;
    using typename Call::Options, typename Call::Tape;

    /// A cache for that many sequences.
    States cache(Index sequences = 1) const {
        if constexpr (recurs<T>())
            return this->attention.template cache<Compute<T>>({.sequences = sequences,
                                                               .heads = shape().heads,
                                                               .kv_heads = shape().kv_heads,
                                                               .d_q = shape().d_head,
                                                               .d_k = shape().d_key,
                                                               .d_v = shape().d_head});
        else
            return States({});
    }

    /// The next tokens x: the cache's states take them in, and they read them, as they would among all tokens at once.
    /// x has the rows of one sequence; or one row for each of the cache's sequences; or, with `.sequences`, any number
    /// for each, also none. Of a prompt all rows may come at once.
    ///
    /// With a tape, a workspace and an output that have served such a call before, nothing is taken from the heap. The
    /// tape is memory alone: it records nothing for `backward`. Throws, and changes nothing, where the cache belongs to
    /// another block, and what `forward` throws.
    template <detail::Dense X>
    void step(const X& x, States& cache, Output<T> y, Options options = {}) const {
        if constexpr (recurs<X>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            const detail::SequencesRef sequences = this->check_tokens_of("step", x, cache, options, tape);
            check_states(sequences, sequences, cache, options);
            this->check_outputs(problem(sequences, sequences, options), y, x.rows(), options, tape);
            const auto rows = this->step_input(x, tape, Call::StepSlot::inputs);
            this->project_step_back(take(rows, sequences, rows, sequences, cache, options, tape), sequences, y,
                                    options.executor, options.packed);
        }
    }
    /// Prompts, of which only the last token's result is wanted: y is sequences × d_model; the row of a sequence that
    /// gets no token stays as it is. Otherwise as `step`.
    template <detail::Dense X>
    void prefill(const X& x, States& cache, Output<T> y, Options options = {}) const {
        if constexpr (recurs<X>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            const detail::SequencesRef sequences = this->check_tokens_of("prefill", x, cache, options, tape);
            const detail::SequencesRef asked = Steps::last_rows(sequences, tape);
            check_states(sequences, asked, cache, options);
            this->check_outputs(problem(sequences, asked, options), y, sequences.count(), options, tape);
            const auto rows = this->step_input(x, tape, Call::StepSlot::inputs);
            Steps::project_last_rows(rows, sequences, asked, y, options, tape, [&](const auto& last) {
                return take(rows, sequences, last, asked, cache, options, tape);
            });
        }
    }
    /// Takes the rows in and asks nothing. Of the options it takes the tape, which is memory alone, sequences, packed
    /// weights, the workspace and the executor.
    template <detail::Dense X>
    void remember(const X& x, States& cache, Options options = {}) const {
        if constexpr (recurs<X>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            const detail::SequencesRef sequences = this->check_tokens_of("remember", x, cache, options, tape);
            this->check_packed(options.packed);
            tape.asked_offsets.assign(static_cast<std::size_t>(sequences.count()) + 1, 0);
            const detail::SequencesRef asked = Call::sequences_of(tape.asked_offsets);
            check_states(sequences, asked, cache, options);
            const auto rows = this->step_input(x, tape, Call::StepSlot::inputs);
            take(rows, sequences, rows.topRows(0), asked, cache, options, tape);
        }
    }

protected:
    using Steps::Steps;
    using typename Steps::Rows;

private:
    /// A template: Clang 14 would ask it before the block's type is complete.
    template <class>
    static consteval bool recurs() {
        constexpr bool recurrent = requires(const M& mixer, const Shape& s) { mixer.template cache<Compute<T>>(s); };
        static_assert(recurrent,
                      "attend: only blocks of recurrent mixers keep states: this block's mixer is none, give it a "
                      "cache of keys");
        return recurrent;
    }
    detail::Problem<T> problem(const detail::SequencesRef& sequences, const detail::SequencesRef& asked,
                               const Options& options) const {
        return this->problem_of(asked.total(), sequences.total(), 0, asked, sequences, options.dropout);
    }
    void check_states(const detail::SequencesRef& sequences, const detail::SequencesRef& asked, States& cache,
                      const Options& options) const {
        detail::check_weights<M, Compute<T>>({}, options.weights, options.insight, options.dropout);
        const detail::KeptTokens<Compute<T>> kept{&cache, &cache};
        const auto call = problem(sequences, asked, options);
        kept.check(call, this->attention.mixer.state(call.shape));
    }
    /// The heads' outputs of the rows that are asked, when the cache has taken in its tokens.
    auto take(const Rows& x, const detail::SequencesRef& sequences, const Rows& asked_rows,
              const detail::SequencesRef& asked, States& cache, const Options& options, Tape& tape) const {
        tape.call = BlockCall::step;
        const auto key = [&](Index s) { return cache.tokens(s); };
        const auto query = [&](Index s) { return cache.tokens(s) + sequences.length(s) - asked.length(s); };
        const auto rows = this->project_step_keys(x, x, sequences, key, tape, options.executor, options.packed);
        const auto q = this->project_step_queries(asked_rows, asked, query, tape, options.executor, options.packed);
        auto context = this->kept(tape, Call::StepSlot::contexts, asked_rows.rows(), this->query_width());
        const Index h = shape().heads, g = shape().kv_heads;
        this->attention(heads(q, h), heads(rows.k, g), heads(rows.v, g), cache, heads(context, h),
                        ForwardOptions<Compute<T>>{.workspace = options.workspace,
                                                   .executor = options.executor,
                                                   .sequences = asked,
                                                   .key_sequences = sequences});
        this->gate_step(asked_rows, asked, context, tape, options.executor, options.packed);
        return context;
    }
};

}  // namespace attend
