#pragma once
/// \file
/// A block that generates: token by token, over a cache of what has been.

#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/layer/multi_head_source.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// Where a sequence's next token will stand.
template <class Cache>
Index next_position(const Cache& cache, Index sequence) {
    return static_cast<Index>(cache.query_offset(sequence, 0));
}

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
        return next_position(cache_, s) + appended_.length(s) - keys(s) + key;  // of the latest: all that is asked here
    }
    Index key_width() const { return cache_.key_width(); }
    Index value_width() const { return cache_.value_width(); }
    Index query_offset(Index s, Index) const { return next_position(cache_, s); }
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

/// The calls of a block on a cache, if its mixer is an attention.
template <class T, class A>
class MultiHeadSteps : public MultiHeadOnSource<T, A> {
    using Call = MultiHeadCall<T, A>;
    using OnSource = MultiHeadOnSource<T, A>;

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
    /// more every 1024 keys: `attention.workspace_bytes` at its capacity says how much.) Throws, and changes nothing,
    /// where the cache is full or belongs to another block, and what `forward` throws; where a functor of the attention
    /// throws, the keys have been appended.
    template <detail::Dense X, class Cache>
        requires KeyStoreOf<Cache, Compute<T>>
    void step(const X& x, Cache& cache, Output<T> y, Options options = {}) const {
        constexpr bool attends = OfKind<A, Kind::attention>;
        static_assert(attends, "attend: only blocks of attentions read caches: this block's mixer is none");
        if constexpr (attends) {
            Tape own;
            Tape& tape = options.tape == nullptr ? own : *options.tape;
            this->check_input(x, "x", shape().d_model, tape.x);
            this->check_parameters();
            detail::require(options.query_offset == 0 && !options.key_sequences,
                            "step: the cache says where queries stand and how many keys a sequence has: leave "
                            "query_offset and key_sequences out");
            detail::check(options.dropout);
            const detail::SequencesRef sequences = sequences_of_step(x.rows(), cache.sequences(), options, tape);
            detail::check_appends(cache, sequences.offsets());
            const detail::GrownCache<Cache, Compute<T>> grown(cache, sequences);
            this->check_outputs(this->problem_of(x.rows(), grown, 0, sequences, options.dropout), y, options, tape);
            auto copy = this->kept(tape.step_memory[0], x.rows(), x.cols());
            copy = x;
            take(copy, sequences, cache, y, options, tape);
        }
    }

protected:
    using OnSource::OnSource;

private:
    /// The sequences of a call: those given, or one, or one row each.
    detail::SequencesRef sequences_of_step(Index rows, Index count, const Options& options, Tape& tape) const {
        if (options.sequences) {
            detail::require(options.sequences.count() == count, "step: sequences holds ", options.sequences.count(),
                            " sequences, but the cache ", count);
            return options.sequences;
        }
        detail::require(count == 1 || rows == count, "step: x has ", rows, " rows for the cache's ", count,
                        " sequences: one each, or give sequences");
        tape.step_offsets.resize(static_cast<std::size_t>(count) + 1);
        for (Index s = 0; s <= count; ++s)
            tape.step_offsets[static_cast<std::size_t>(s)] = count == 1 && s == 1 ? rows : s;
        return detail::SequencesRef(std::span<const Index>(tape.step_offsets));
    }

    template <class Cache>
    void take(const typename Call::Rows& x, const detail::SequencesRef& sequences, Cache& cache, Output<T>& y,
              const Options& options, Tape& tape) const {
        tape.steps = true;
        const auto rows = this->project_sequences(
            x, sequences, [&](Index s) { return detail::next_position(cache, s); }, tape, options.executor,
            options.packed);
        append(rows, sequences, cache, tape);
        const Index h = shape().heads;
        auto context = rows.context;
        this->attention(heads(rows.q, h), std::as_const(cache), heads(context, h),
                        ForwardOptions<Compute<T>>{.workspace = options.workspace,
                                                   .executor = options.executor,
                                                   .weights = options.weights,
                                                   .weight_rows = options.weight_rows,
                                                   .sequences = sequences,
                                                   .dropout = options.dropout});
        this->project_sequences_back(rows, sequences, y, options.executor, options.packed);
    }
    /// Keys as the attention's score takes them.
    template <class StepRows, class Cache>
    void append(const StepRows& of, const detail::SequencesRef& sequences, Cache& cache, Tape& tape) const {
        const auto put = [&](const auto& k) {
            for (Index s = 0; s < sequences.count(); ++s) {
                const Index begin = sequences.begin(s), rows = sequences.length(s);
                if (rows > 0) cache.append(k.middleRows(begin, rows), of.v.middleRows(begin, rows), s);
            }
        };
        using S = typename std::remove_const_t<A>::ScoreFunctor;
        if constexpr (detail::HasMapKeys<S>) {
            const Index d = shape().d_head, width = cache.key_width(), kv_heads = shape().kv_heads;
            auto all = this->kept(tape.step_mapped, of.k.rows(), kv_heads * width);
            for (Index g = 0; g < kv_heads; ++g) {
                auto mapped = all.middleCols(g * width, width);
                this->attention.score().map_keys(of.k.middleCols(g * d, d), mapped);
            }
            put(all);
        } else {
            put(of.k);
        }
    }
};

}  // namespace attend
