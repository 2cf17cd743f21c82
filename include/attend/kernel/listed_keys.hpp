#pragma once
/// \file
/// The keys that a few queries see, where their mask lists them: gathered from wherever they stand, so that neither
/// products nor weights are made of others.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/kernel/needs.hpp>
#include <attend/source/readable.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Keys that all stand at the positions that they are counted by.
template <class Keys>
concept KeysAtTheirIndex = requires(Index i) { Keys::run(i, i); };

/// Whether a block takes its queries a few at a time, over the keys that the mask lists: where there are products of
/// rows that may stand anywhere, and a fold, which a row may meet in any parts.
template <class T, class A, class Head>
inline constexpr bool goes_by_lists =
    ListsKeys<MaskOf<A>> && A::ScoreFunctor::pairing == Pairing::dot && Fold<typename A::NormalizerFunctor> &&
    WidenedBy<ListedRows<T>, typename A::EngineType, T> && Products<T, typename A::EngineType>::most_rows > 0 &&
    KeysAtTheirIndex<Head>;

/// So many queries share what they read. More would read less, and multiply more that only one of them sees.
inline constexpr Index queries_of_list = 2;

/// What some queries beside each other see, as runs of keys.
class KeyLists {
public:
    /// Some of these keys, up to 64, in order: the runs of all queries, and which of the keys each query sees.
    struct Batch {
        bool is_first;  ///< of these queries
        Index runs, keys;
        KeySpan run[key_block];
        std::uint64_t seen[queries_of_list];

        /// Calls `f(run, number of its first key)`.
        template <class F>
        void for_each_run(F&& f) const {
            for (Index i = 0, first = 0; i < runs; first += run[i].end - run[i].begin, ++i) f(run[i], first);
        }
    };

    /// Calls `f(batch)` for batches of at most `most` of the keys that `count` queries see.
    template <class M, class RowAt, class F>
    void for_each_batch(const M& mask, Index count, const RowAt& row_at, KeySpan keys, Index most, F&& f) {
        Batch batch;
        batch.is_first = true;
        while (!keys.empty()) {
            // As many runs as there is room for; from the first that has none on, another time.
            Index end = keys.end;
            for (Index i = 0; i < count; ++i) {
                Query& query = queries_[i];
                query.first = query.end = 0;
                mask.for_each_run(row_at(i), KeySpan{keys.begin, end}, [&](const KeySpan& run) {
                    if (query.end < most_runs) {
                        query.run[query.end++] = run;
                    } else {
                        end = std::min(end, run.begin);
                    }
                });
            }
            while (next(batch, count, end, most)) f(std::as_const(batch)), batch.is_first = false;
            keys.begin = end;
        }
    }

private:
    static constexpr Index most_runs = key_block;

    struct Query {
        Index first, end;
        KeySpan run[most_runs];

        /// Where the next run begins.
        Index begin() const { return first < end ? run[first].begin : std::numeric_limits<Index>::max(); }
    };

    /// The next batch of keys before `end`; false if there are no more.
    bool next(Batch& batch, Index count, Index end, Index most) {
        batch.runs = batch.keys = 0;
        std::fill_n(batch.seen, count, std::uint64_t{0});
        KeySpan* piece = nullptr;  // runs that meet are one
        Index first = 0;           // number of its first key
        for (;;) {
            Query* query = &queries_[0];
            for (Index i = 1; i < count; ++i)
                if (queries_[i].begin() < query->begin()) query = &queries_[i];
            const Index begin = query->begin();
            if (begin >= end) break;
            if (piece == nullptr || begin > piece->end) {
                if (batch.keys == most) break;
                piece = &batch.run[batch.runs++], first = batch.keys;
                *piece = {begin, begin};
            }
            KeySpan& own = query->run[query->first];
            const Index last = std::min({own.end, end, piece->begin + most - first});
            if (last == begin) break;
            batch.seen[query - queries_] |= ~std::uint64_t{0} >> (64 - (last - begin))
                                                                     << (first + begin - piece->begin);
            batch.keys += std::max<Index>(0, last - piece->end);
            piece->end = std::max(piece->end, last);
            own.begin = last;
            query->first += last == own.end ? 1 : 0;
        }
        return batch.runs > 0;
    }

    Query queries_[queries_of_list];
};

/// Where the rows of a batch stand.
template <class T>
class ListedBatch {
public:
    const KeyLists::Batch& batch;

    /// `room`: of rows without gaps, of keys and of values, where they are not read in place.
    template <class Head>
    ListedBatch(const KeyLists::Batch& batch_, const Head& head, Index width, Index d_v, T* k_room, T* v_room)
        : batch(batch_), width_(width), d_v_(d_v) {
        constexpr bool can = requires { head.keys_in_place(), head.values_in_place(); };
        StridedMatrix<T> k{nullptr, 0, 0}, v = k;
        if constexpr (can) k = head.keys_in_place(), v = head.values_in_place();
        batch.for_each_run([&](const KeySpan& run, Index first) {
            const Index keys = run.end - run.begin;
            const auto k_run = k.data == nullptr
                                   ? head.keys(run.begin, keys, k_room + first * width, Reading::row_by_row)
                                   : StridedMatrix<T>{k.data + run.begin * k.row_stride, k.row_stride, 1};
            const auto v_run = v.data == nullptr
                                   ? head.values(run.begin, keys, v_room + first * d_v, Reading::row_by_row)
                                   : StridedMatrix<T>{v.data + run.begin * v.row_stride, v.row_stride, 1};
            const T *k_row = k_run.data, *v_row = v_run.data;
            for (Index i = first; i < first + keys; ++i, k_row += k_run.row_stride, v_row += v_run.row_stride)
                k_[i] = k_row, v_[i] = v_row;
        });
    }

    ListedRows<T> keys() const { return {k_, batch.keys, width_}; }
    ListedRows<T> values() const { return {v_, batch.keys, d_v_}; }

    /// Values that are not finite count as 0 in what they are copied to.
    void leave_out_infinite(T* room) {
        for (Index j = 0; j < batch.keys; ++j, room += d_v_) {
            all_[j] = v_[j];
            if (all_finite<T>({v_[j], d_v_, 1}, 1, d_v_)) continue;
            for (Index a = 0; a < d_v_; ++a) room[a] = std::isfinite(v_[j][a]) ? v_[j][a] : T(0);
            v_[j] = room;
        }
    }
    /// Calls `f(key, feature, value)` for those.
    template <class F>
    void for_each_infinite(F&& f) const {
        for (Index j = 0; j < batch.keys; ++j) {
            for (Index a = 0; all_[j] != v_[j] && a < d_v_; ++a)
                if (!std::isfinite(all_[j][a])) f(j, a, all_[j][a]);
        }
    }

private:
    Index width_, d_v_;
    const T *k_[key_block], *v_[key_block], *all_[key_block];
};

}  // namespace attend::detail::fused
