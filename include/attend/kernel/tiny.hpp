#pragma once
/// \file
/// One head of a few queries and no more keys than a packet has lanes, from its operands to its output in registers:
/// several queries' scores stand beside each other in a packet, so that they share a maximum, an exponential and a sum.
/// To the same bits as the fused kernel's.

#include <bit>
#include <cstring>
#include <limits>

#include <attend/core/score_tile.hpp>
#include <attend/engine/fastest.hpp>
#include <attend/kernel/needs.hpp>
#include <attend/parts/final_scores.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Whether a head is tiny: one whose queries are few, whose keys fit into a packet, and which it takes less long to
/// compute than to share the loads of its rows among queries.
template <class T>
constexpr bool is_tiny(Index queries, Index keys, Index width, Index d_v) {
    const Index wide = std::max(width, d_v);
    return std::min({queries, keys, width, d_v}) > 0 && keys <= simd::width<T> && wide <= 64 &&
           (queries <= most_few_queries<T> || is_little<T>(queries, keys, width, d_v)) && queries * keys * wide <= 2048;
}
/// The same where one code serves all sizes, which looks at rows one by one: of at most two packets of pairs.
template <class T>
constexpr bool is_tiny_at_any_size(Index queries, Index keys, Index width, Index d_v) {
    return is_tiny<T>(queries, keys, width, d_v) &&
           queries * static_cast<Index>(std::bit_ceil(static_cast<std::size_t>(keys))) <= 2 * simd::width<T>;
}
/// So much memory holds the rows of a tiny head, where they do not stand in memory as such.
template <class T>
inline constexpr Index tiny_room = std::max(2 * most_few_queries<T>, simd::width<T>) * 64;

/// A size that is known when a call is compiled, or when it is made.
template <Index size>
struct Size {
    constexpr Size(Index) {}  // NOLINT(google-explicit-constructor)
    constexpr operator Index() const { return size; }
};
template <>
struct Size<Eigen::Dynamic> {
    Index size;

    constexpr Size(Index size_) : size(size_) {}  // NOLINT(google-explicit-constructor)
    constexpr operator Index() const { return size; }
};

/// The operands of a head whose rows' scalars follow each other, and what is made of them.
template <class T, Index queries_, Index keys_, Index width_, Index d_v_>
struct TinyHead {
    static constexpr Index keys_at_compile_time = keys_;
    static constexpr bool fixed =
        queries_ != Eigen::Dynamic && keys_ != Eigen::Dynamic && width_ != Eigen::Dynamic && d_v_ != Eigen::Dynamic;
    Size<queries_> queries;
    Size<keys_> keys;
    Size<width_> width;
    Size<d_v_> d_v;
    const T *q = nullptr, *k = nullptr, *v = nullptr;
    Index q_stride = 0, k_stride = 0, v_stride = 0;
    T factor;  ///< of the queries
    T *out, *lse;
    Index out_row, out_column, lse_stride;
};
template <class T>
using AnyTinyHead = TinyHead<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::Dynamic, Eigen::Dynamic>;

/// Attentions that have such heads: of products that are final scores but for a mask.
template <class T, class A, class X>
concept Tiny = std::same_as<T, X> && std::same_as<typename A::EngineType, Fastest> && simd::width<T> > 1 &&
               A::ModifierChain::count == 0 &&
               A::ScoreFunctor::pairing == Pairing::dot&& requires { requires A::NormalizerFunctor::packs_alike; };

// GCC 12 takes strides of matrices of fixed sizes for ones that no memory has, in code that is never reached, and
// warns.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Waggressive-loop-optimizations"
#endif

template <class T, class A, class Head>
class TinyForward {
public:
    ATTEND_ALWAYS_INLINE TinyForward(const A& attention, const Head& x)
        : attention_(attention), x_(x), group_(group_of(x.keys)) {}

    /// `first`: where the first pair stands. `cover`: that of the mask, not none.
    ATTEND_ALWAYS_INLINE void run(Position first, Cover cover) const {
        const Index at_once = w / group_;
        for (Index i = 0; i < x_.queries; i += at_once, first.query += at_once, first.row += at_once) {
            const Index here = std::min<Index>(at_once, x_.queries - i);
            P s = scores(i, here);
            if (cover == Cover::some) s = simd::select(simd::mask_of_bits<T>(seen(first, here)), s, absent());
            weigh(i, here, s, first.head);
        }
    }

private:
    using P = simd::Packet<T>;
    using Fold = typename A::NormalizerFunctor;
    static constexpr Index w = simd::width<T>;

    static constexpr Index group_of(Index keys) {
        return static_cast<Index>(std::bit_ceil(static_cast<std::size_t>(keys)));
    }
    static P absent() { return simd::broadcast(-std::numeric_limits<T>::infinity()); }
    /// Calls `f(a, load)` for the packets of rows of so many scalars: `load` is given where one begins.
    template <class F>
    ATTEND_ALWAYS_INLINE static void for_each_packet(Index columns, F&& f) {
        Index a = 0;
        for (; a + w <= columns; a += w) f(a, [](const T* from) ATTEND_ALWAYS_INLINE { return simd::load(from); });
        if (a < columns) f(a, some(columns - a));
    }
    /// Loads so many scalars, or as many as a packet has lanes.
    static auto some(Index count) {
        return [count = std::min(w, count)](const T* from)
                   ATTEND_ALWAYS_INLINE { return simd::load(from, count, T(0)); };
    }

    /// Scores of `here` queries from i on: that of query r and key j in lane r · group + j.
    ATTEND_ALWAYS_INLINE P scores(Index i, Index here) const {
        const Index sum_over = group_of(std::min<Index>(x_.width, w));
        const Index swaps = static_cast<Index>(std::bit_width(static_cast<std::size_t>(sum_over))) - 1;
        if (group_ * 4 >= w && here * x_.keys * swaps > 2 * w) {
            if constexpr (Head::fixed) {
                return all_scores<static_cast<int>(w / group_of(Head::keys_at_compile_time))>(i, here);
            } else {
                return engines_scores(i, here);
            }
        }
        P s = absent();
        for (Index r = 0; r < here; ++r) {
            for (Index j = 0; j < x_.keys; ++j) {
                P sum = simd::broadcast(T(0));
                for (Index a = 0; a < x_.width; a += w) {
                    const auto load = some(x_.width - a);
                    sum = simd::madd(query(i + r, a, load), load(x_.k + j * x_.k_stride + a), sum);
                }
                const P product = simd::broadcast(simd::first<T>(simd::sums_of_neighbours<T>(sum, sum_over)));
                s = simd::select_equal(simd::iota<T>(), simd::broadcast(static_cast<T>(r * group_ + j)), product, s);
            }
        }
        return s;
    }
    template <class Load>
    ATTEND_ALWAYS_INLINE P query(Index i, Index a, Load load) const {
        return simd::mul(simd::broadcast(x_.factor), load(x_.q + i * x_.q_stride + a));
    }
    /// The same, all products summed up at once.
    template <int queries>
    ATTEND_ALWAYS_INLINE P all_scores(Index i, Index here) const {
        constexpr int n = static_cast<int>(w), keys = n / queries;
        P sums[n];
        repeat<n>([&](auto x) ATTEND_ALWAYS_INLINE { sums[x] = simd::broadcast(T(0)); });
        for_each_packet(x_.width, [&](Index a, auto load) ATTEND_ALWAYS_INLINE {
            P q[queries];
            repeat<queries>([&](auto r)
                                ATTEND_ALWAYS_INLINE { q[r] = query(i + std::min<Index>(r, here - 1), a, load); });
            const T* k = x_.k + a;
            repeat<keys>([&](auto j) ATTEND_ALWAYS_INLINE {
                const P k_j = load(k);
                repeat<queries>([&](auto r) ATTEND_ALWAYS_INLINE {
                    sums[r * keys + j] = simd::madd(q[r], k_j, sums[r * keys + j]);
                });
                if (j + 1 < x_.keys) k += x_.k_stride;
            });
        });
        const P s = simd::sums_of_rows<T>(sums);
        if (here == queries && x_.keys == keys) return s;
        return simd::select(simd::mask_of_bits<T>(pairs(here)), s, absent());
    }
    /// The same by the products of the engine.
    P engines_scores(Index i, Index here) const {
        T q[tiny_room<T> + w], s[2 * w];
        for (Index r = 0; r < here; ++r) {
            for (Index a = 0; a < x_.width; a += w)
                simd::store(q + r * x_.width + a, query(i + r, a, some(x_.width - a)));
        }
        attention_.engine.row_scores(RowBlock<T>{x_.k, x_.k_stride, x_.keys, x_.width}, q, here, s,
                                     ScoreStrides{group_, 1});
        return simd::select(simd::mask_of_bits<T>(pairs(here)), simd::load(s), absent());
    }
    /// The bits of the lanes in which pairs stand.
    ATTEND_ALWAYS_INLINE std::uint64_t pairs(Index here) const {
        const std::uint64_t row = (std::uint64_t{1} << x_.keys) - 1;
        std::uint64_t bits = 0;
        for (Index r = 0; r < here; ++r) bits |= row << (r * group_);
        return bits;
    }
    /// Those of pairs that the mask shows.
    std::uint64_t seen(Position p, Index here) const {
        std::uint64_t bits = 0;
        for (Index r = 0; r < here; ++r, ++p.query, ++p.row) {
            for (Index j = 0; j < x_.keys; ++j) {
                Position pair = p;
                pair.key += j;
                bits |= std::uint64_t{static_cast<bool>(attention_.mask(pair))} << (r * group_ + j);
            }
        }
        return bits;
    }

    /// Scores into weights, and those with the values into the output.
    ATTEND_ALWAYS_INLINE void weigh(Index i, Index here, const P& s, Index head) const {
        using Pack = typename Fold::template State<Lanes<T>>;
        using Row = typename Fold::template State<T>;
        constexpr Index members = static_cast<Index>(sizeof(Pack) / sizeof(Lanes<T>));
        const Fold& fold = attention_.normalizer;
        Pack rows;
        GroupScores<T> of_rows(s, group_);
        fold.take(of_rows, rows, head);
        T states[members * w], weights[w];
        std::memcpy(states, &rows, sizeof states);
        simd::store(weights, of_rows.packet);
        for (Index r = 0; r < here; ++r, ++i) {
            T values[members];
            for (Index m = 0; m < members; ++m) values[m] = states[m * w + r * group_];
            Row row;
            std::memcpy(static_cast<void*>(&row), values, sizeof row);
            const P factor = simd::broadcast(fold.factor(row, head));
            for_each_packet(x_.d_v, [&](Index a, auto load) ATTEND_ALWAYS_INLINE {
                write(i, a, simd::mul(factor, weighted_values(weights + r * group_, x_.v + a, load)));
            });
            if (x_.lse != nullptr) x_.lse[i * x_.lse_stride] = fold.lse(row, head);
        }
    }
    /// Σ_j weight_j · v_j of a packet of features.
    template <class Load>
    ATTEND_ALWAYS_INLINE P weighted_values(const T* weights, const T* v, Load load) const {
        constexpr int parts = row_parts;
        P sum = simd::broadcast(T(0));
        const auto add = [&](P& to, Index j) ATTEND_ALWAYS_INLINE {
            to = simd::madd(simd::broadcast(weights[j]), load(v + j * x_.v_stride), to);
        };
        for (Index begin = 0; begin < x_.keys; begin += rows_at_once) {
            const Index end = std::min<Index>(begin + rows_at_once, x_.keys);
            Index j = begin;
            if (end - begin < 2 * parts) {
                for (; j < end; ++j) add(sum, j);
                continue;
            }
            P part[parts];
            repeat<parts>([&](auto x) ATTEND_ALWAYS_INLINE { part[x] = x == 0 ? sum : simd::broadcast(T(0)); });
            for (; j + parts <= end; j += parts)
                repeat<parts>([&](auto x) ATTEND_ALWAYS_INLINE { add(part[x], j + x); });
            for (; j < end; ++j) add(part[0], j);
            sum = part[0];
            repeat<parts - 1>([&](auto x) ATTEND_ALWAYS_INLINE { sum = simd::add(sum, part[x + 1]); });
        }
        return sum;
    }
    ATTEND_ALWAYS_INLINE void write(Index i, Index a, const P& o) const {
        T* const to = x_.out + i * x_.out_row + a * x_.out_column;
        const Index count = std::min<Index>(w, x_.d_v - a);
        if (x_.out_column == 1) {
            count == w ? simd::store(to, o) : simd::store<T>(to, o, count);
        } else {
            T values[w];
            simd::store(values, o);
            for (Index c = 0; c < count; ++c) to[c * x_.out_column] = values[c];
        }
    }

    const A& attention_;
    const Head& x_;
    Index group_;  ///< lanes of a query
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// One code for all sizes.
template <class T, class A>
ATTEND_FLAT void run_tiny_head(const A& attention, const AnyTinyHead<T>& head, const Position& first, Cover cover) {
    TinyForward<T, A, AnyTinyHead<T>>(attention, head).run(first, cover);
}

}  // namespace attend::detail::fused
