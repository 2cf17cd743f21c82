#pragma once
/// \file
/// What a block puts into a cache: the keys and values of tokens, or of a memory, as its attention reads them.

#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <attend/layer/multi_head_source.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI {

/// The calls of a block that fill a cache, if its mixer is an attention. Rows are n × d_model or n × d_memory; O(n ·
/// d_model²) operations. They throw `std::invalid_argument`, or `std::length_error` where a cache is full.
template <class T, class A>
class MultiHeadOnCache : public MultiHeadOnSource<T, A> {
    using Call = MultiHeadCall<T, A>;
    using OnSource = MultiHeadOnSource<T, A>;

public:
    using Call::shape;
    using typename Call::Options, typename Call::Tape;

    /// Appends the keys and values of a memory to a cache, projected, where there is RoPE turned, and as features of
    /// the attention's score, so that any number of calls, also of other blocks with the same weights of keys and
    /// values, read them: `block.forward(x, as_memory(cache), y)`. Nothing is asked: of x itself this is what fills a
    /// cache without a result. The memory has the rows of one sequence; or one row for each of the cache's sequences;
    /// or, with `.sequences`, any number for each. Its rows stand behind those that the cache holds already.
    ///
    /// Of the options it takes the tape, which is memory alone, sequences, packed weights and the executor. With a tape
    /// that has served such a call nothing is taken from the heap. Throws, and changes nothing, where the cache is full
    /// or of another shape than the block's keys and values.
    template <detail::Dense M, class Cache>
        requires KeyStoreOf<Cache, Compute<T>>
    void remember(const M& memory, Cache& cache, Options options = {}) const {
        this->check_one_memory();
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(memory, "memory", shape().d_memory, tape.x);
        this->check_step_source(memory, "memory", tape);
        const auto sequences = check_memory(memory.rows(), "memory", cache, options, tape);
        const auto rows = this->step_input(memory, tape, Call::StepSlot::inputs);
        put(rows, rows, sequences, cache, options, tape);
    }
    /// The same of keys from one memory and values from another.
    template <detail::Dense K, detail::Dense V, class Cache>
        requires KeyStoreOf<Cache, Compute<T>>
    void remember(const K& keys_from, const V& values_from, Cache& cache, Options options = {}) const {
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(keys_from, "keys_from", shape().d_memory, tape.x);
        this->check_input(values_from, "values_from", shape().d_value_memory, tape.x);
        this->check_step_source(keys_from, "keys_from", tape),
            this->check_step_source(values_from, "values_from", tape);
        this->check_rows(keys_from, values_from);
        const auto sequences = check_memory(keys_from.rows(), "keys_from", cache, options, tape);
        put(this->step_input(keys_from, tape, Call::StepSlot::inputs),
            this->step_input(values_from, tape, Call::StepSlot::apart), sequences, cache, options, tape);
    }

protected:
    using OnSource::OnSource;
    using typename Call::Rows;

    /// A template in Cache: Clang 14 would ask it before the block's type is complete.
    template <class Cache>
    static consteval bool attends() {
        constexpr bool is_attention = OfKind<A, Kind::attention>;
        static_assert(is_attention, "attend: only blocks of attentions read caches: this block's mixer is none");
        return is_attention;
    }

    /// The sequences of so many rows: those given, or one, or one row each. Throws where these, or what they append to
    /// the cache, do not fit.
    template <class Cache>
    static detail::SequencesRef check_tokens(std::string_view call, Index rows, std::string_view name,
                                             const Cache& cache, const Options& options, Tape& tape) {
        const Index count = cache.sequences();
        detail::SequencesRef sequences = options.sequences;
        detail::require(options.query_offset == 0 && !options.key_sequences, call,
                        ": the cache says where queries stand and how many keys a sequence has: leave query_offset and "
                        "key_sequences out");
        if (sequences) {
            detail::require(sequences.count() == count, call, ": sequences holds ", sequences.count(),
                            " sequences, but the cache ", count);
            detail::require(sequences.total() == rows, call, ": sequences must end at the ", rows, " rows of ", name,
                            ", not at ", sequences.total());
        } else {
            detail::require(count == 1 || rows == count, call, ": ", name, " has ", rows, " rows for the cache's ",
                            count, " sequences: one each, or give sequences");
            tape.step_offsets.resize(static_cast<std::size_t>(count) + 1);
            for (Index s = 0; s <= count; ++s)
                tape.step_offsets[static_cast<std::size_t>(s)] = count == 1 && s == 1 ? rows : s;
            sequences = detail::SequencesRef(std::span<const Index>(tape.step_offsets));
        }
        for (Index s = 0; s < count; ++s)
            detail::require(sequences.length(s) >= 0, call, ": offsets must not decrease");
        if constexpr (requires { cache.check_append(rows, count); })  // states take in any number
            detail::check_appends(cache, sequences.offsets());
        return sequences;
    }

    /// Appends the keys and values of those rows.
    template <class Cache>
    void put(const Rows& keys_from, const Rows& values_from, const detail::SequencesRef& sequences, Cache& cache,
             const Options& options, Tape& tape) const {
        tape.call = BlockCall::step;
        const auto next = [&](Index s) { return static_cast<Index>(cache.query_offset(s, 0)); };
        const auto rows =
            this->project_step_keys(keys_from, values_from, sequences, next, tape, options.executor, options.packed);
        const auto append = [&](const auto& k) {
            for (Index s = 0; s < sequences.count(); ++s) {
                const Index begin = sequences.begin(s), count = sequences.length(s);
                if (count > 0) cache.append(k.middleRows(begin, count), rows.v.middleRows(begin, count), s);
            }
        };
        if constexpr (maps_keys) {  // keys as the attention's score takes them
            const Index d = shape().d_head, width = cache.key_width(), kv_heads = shape().kv_heads;
            auto all = this->kept(tape.step_mapped, rows.k.rows(), kv_heads * width);
            for (Index g = 0; g < kv_heads; ++g) {
                auto mapped = all.middleCols(g * width, width);
                this->attention.score().map_keys(rows.k.middleCols(g * d, d), mapped);
            }
            append(all);
        } else {
            append(rows.k);
        }
    }

private:
    static constexpr bool maps_keys = [] {
        if constexpr (OfKind<A, Kind::attention>)
            return detail::HasMapKeys<typename std::remove_const_t<A>::ScoreFunctor>;
        else
            return false;
    }();

    /// What `remember` asks before it writes.
    template <class Cache>
    detail::SequencesRef check_memory(Index rows, std::string_view name, const Cache& cache, const Options& options,
                                      Tape& tape) const {
        Index width = shape().d_head;
        if constexpr (attends<Cache>()) {
            this->check_parameters();
            const Shape heads{.heads = shape().heads,
                              .kv_heads = shape().kv_heads,
                              .keys = rows,
                              .d_q = width,
                              .d_k = width,
                              .d_v = width};
            detail::check_part(this->attention.score(), heads);
            width = detail::features_of(this->attention.score(), heads);
        }
        if (cache.heads() != shape().kv_heads || cache.key_width() != width || cache.value_width() != shape().d_head)
            detail::refuse("remember: the cache holds ", cache.heads(), " heads with keys of width ", cache.key_width(),
                           " and values of ", cache.value_width(), ", but the block's ", shape().kv_heads,
                           " key/value heads have keys of width ", width, " and values of ", shape().d_head);
        this->check_packed(options.packed);
        return check_tokens("remember", rows, name, cache, options, tape);
    }
};

}  // namespace attend
