#pragma once
/// \file
/// A cache of sequences that begin alike: what they share stands once, and is read once.

#include <algorithm>
#include <type_traits>
#include <utility>

#include <attend/shared_prefix.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI {

/// Two caches as one: the keys of `prefix`, of one sequence, before those of each sequence of `suffixes`. Borrows both;
/// what is appended goes behind a suffix, and the prefix must stay as it is while there are any.
///
///     PrefixedCache<float> both(prompt, answers);
///     block.step(x, both, y);                       // or attention(q, both, out, {.sequences = …})
///
/// Gives what a cache of all keys of every sequence would, to rounding. Forward calls by softmax on plain rows, without
/// `.weights`, `.insight`, dropout and positions of the caller's, are made by `SharedPrefix`: there, parts that know
/// more than positions and heads find `row` to count the rows of all sequences and `sequence` to be 0. Other calls read
/// the prefix anew for each sequence. Holds the memory of such calls: one at a time.
template <class T, class Prefix = KvCache<T>, class Suffixes = KvCache<T>>
    requires KeySourceOf<Prefix, T> && KeyStoreOf<Suffixes, T>
class PrefixedCache {
public:
    static constexpr Kind kind = Kind::source;

    /// Throws where the two caches differ in heads or widths, or where the prefix is not one sequence.
    template <class P>
        requires std::is_same_v<std::remove_cvref_t<P>, Prefix>
    PrefixedCache(P&& prefix, Suffixes& suffixes) : prefix_(&prefix), suffixes_(&suffixes) {
        static_assert(std::is_lvalue_reference_v<P>,
                      "attend: a PrefixedCache borrows the prefix, and this one is a temporary: give it a name");
        static_assert(!detail::SaysPositions<Prefix> && !detail::SaysPositions<Suffixes>,
                      "attend: a PrefixedCache takes caches whose keys stand at their own numbers; SharedPrefix takes "
                      "others too");
        detail::require_shared(prefix, suffixes);
    }

    Index sequences() const { return suffixes_->sequences(); }
    Index heads() const { return prefix_->heads(); }
    Index key_width() const { return prefix_->key_width(); }
    Index value_width() const { return prefix_->value_width(); }
    /// How many keys a sequence has, those of the prefix included. Throws where there is no such sequence.
    Index keys(Index sequence = 0) const { return prefix_->keys(0) + suffixes_->keys(sequence); }
    /// How many keys a sequence has when so many rows are appended.
    Index keys_after(Index rows, Index sequence = 0) const {
        return prefix_->keys(0) + suffixes_->keys_after(rows, sequence);
    }
    Index query_offset(Index sequence, Index queries) const { return std::max<Index>(0, keys(sequence) - queries); }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(
            key_width(), begin, count, room,
            [&](const auto& source, Index s, Index first, Index n, T* to) {
                return source.key_rows(s, head, first, n, to);
            },
            sequence);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(
            value_width(), begin, count, room,
            [&](const auto& source, Index s, Index first, Index n, T* to) {
                return source.value_rows(s, head, first, n, to);
            },
            sequence);
    }

    /// Throws where the suffixes have no room for so many rows.
    /// @{
    void check_append(Index rows, Index sequence = 0) const { suffixes_->check_append(rows, sequence); }
    void check_appends(std::span<const Index> offsets) const { detail::check_appends(*suffixes_, offsets); }
    /// @}
    /// As that of `suffixes`: rows of k and v are copied.
    template <detail::Dense K, detail::Dense V>
    void append(const K& k, const V& v, Index sequence = 0) {
        suffixes_->append(k, v, sequence);
    }

    /// Throws what is wrong with the parts of an attention in a call that `attend` makes, of so many rows of all
    /// sequences.
    template <class A>
    void check_attend(const A& attention, Index query_heads, Index rows, bool plain) const {
        if constexpr (std::is_base_of_v<Softmax, typename A::NormalizerFunctor>) {
            static constexpr T somewhere{};
            const StridedView<const T> q{&somewhere, 1, query_heads, rows, key_width()};
            const detail::Problem<T> problem(q, *prefix_, 0, {}, {});
            if (plain) detail::check_source_call(attention, problem.part_shape(), problem.q, problem.k);
        }
    }
    /// Makes a forward call, if it can be made by `SharedPrefix`; otherwise writes nothing and returns false.
    template <class A, class Q, class X>
    bool attend(const A& attention, const Q& q, Output<X>& out, const ForwardOptions<T>& options) const {
        if constexpr (std::is_base_of_v<Softmax, typename A::NormalizerFunctor>) {
            if (detail::Operand<Q>(q).view().sequences != 1 || !(options.sequences || sequences() == 1)) return false;
            if (options.weights || options.insight || options.dropout.rate != 0 || options.query_offset != 0 ||
                options.key_sequences || !options.query_positions.get().empty())
                return false;
            shared_(attention, q, *prefix_, *suffixes_, out, options);
            return true;
        }
        return false;
    }

private:
    /// Those of the prefix, of a suffix, or of both put together.
    template <class Read>
    RowBlock<T> rows(Index width, Index begin, Index count, T* room, Read&& read, Index sequence) const {
        const Index before = std::clamp<Index>(prefix_->keys(0) - begin, 0, count),
                    own = begin + before - prefix_->keys(0);
        if (before == count) return read(*prefix_, Index(0), begin, count, room);
        if (before == 0) return read(*suffixes_, sequence, own, count, room);
        const auto copy = [&](const RowBlock<T>& from, T* to) {
            for (Index i = 0; i < from.rows; ++i) {
                if (from.row(i) != to + i * width) std::copy_n(from.row(i), width, to + i * width);
            }
        };
        copy(read(*prefix_, Index(0), begin, before, room), room);
        copy(read(*suffixes_, sequence, own, count - before, room + before * width), room + before * width);
        return {room, width, count, width};
    }

    const Prefix* prefix_;
    Suffixes* suffixes_;
    mutable SharedPrefix<T> shared_;
};

}  // namespace attend
