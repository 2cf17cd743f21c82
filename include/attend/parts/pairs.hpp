#pragma once
/// \file
/// Scores of a tile that are sums over features of pairs: feature after feature, queries in lanes.

#include <cmath>
#include <limits>

#include <attend/core/lanes.hpp>
#include <attend/core/repeat.hpp>
#include <attend/engine/packets.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A score of pairs that can also be formed from exponentials of the features.
template <class S, class T>
concept ExponentialScore = requires(const S& score, Lanes<T> e, Index a) {
    score.pair_of_exponentials(e, e, a);
    score.pairs_of_exponentials(e, e, e, e, a);
};

/// The pairs of a tile: keys × width, and width × lanes of queries.
template <class T>
struct PairTile {
    StridedMatrix<T> k;
    const T* q;
    Index width, lanes;

    Lanes<T> key(Index j, Index a) const { return Lanes<T>(k.data[j * k.row_stride + a * k.depth_stride]); }
    Lanes<T> query(Index lane, Index a) const { return Lanes<T>::of(simd::load(q + a * lanes + lane)); }
};

/// Calls `f(key, keys, lane, packets)` for pieces of a tile in which the sums of so many keys and packets run at a
/// time, so that none waits for itself; the two counts are constants.
template <int most_keys, class T, class F>
void for_each_piece(Index keys, Index lanes, F&& f) {
    constexpr Index w = simd::width<T>;
    using One = std::integral_constant<int, 1>;
    using Two = std::integral_constant<int, 2>;
    const auto row = [&](Index j, auto count) {
        Index i = 0;
        for (; i + 2 * w <= lanes; i += 2 * w) f(j, count, i, Two());
        if (i < lanes) f(j, count, i, One());
    };
    Index j = 0;
    for (; j + most_keys <= keys; j += most_keys) row(j, std::integral_constant<int, most_keys>());
    for (; j < keys; ++j) row(j, One());
}

/// to[j · lanes + i] = Σ_a pair(q_a, k_a, a)
template <class T, class S>
void add_pairs(const S& score, const PairTile<T>& tile, Index keys, T* to) {
    for_each_piece<1, T>(keys, tile.lanes, [&](Index j, auto, Index lane, auto packets) {
        Lanes<T> s[packets];
        for (Index a = 0; a < tile.width; ++a) {
            const Lanes<T> k_a = tile.key(j, a);
            repeat<packets>([&](auto p) ATTEND_ALWAYS_INLINE {
                s[p] += score.pair(tile.query(lane + p * simd::width<T>, a), k_a, a);
            });
        }
        repeat<packets>([&](auto p) ATTEND_ALWAYS_INLINE {
            simd::store(to + j * tile.lanes + lane + p * simd::width<T>, s[p].packet);
        });
    });
}

/// The same from exponentials, two features at a time. What is NaN, since the exponentials of a query or a key are,
/// keeps the score that stood there, unless `all` say that none is.
template <int keys, int packets, class T, class S>
ATTEND_NOINLINE void add_exponentials_of(const S& score, const PairTile<T>& tile, Index key, Index lane, bool all,
                                         T* to) {
    constexpr Index w = simd::width<T>;
    Lanes<T> s[keys * packets];
    const auto each = [&](auto&& f) ATTEND_ALWAYS_INLINE {
        repeat<keys * packets>([&](auto x) ATTEND_ALWAYS_INLINE { f(s[x], x / packets, x % packets); });
    };
    Index a = 0;
    for (; a + 2 <= tile.width; a += 2) {
        Lanes<T> q_a[packets], q_b[packets], k_a[keys], k_b[keys];
        repeat<packets>([&](auto p) ATTEND_ALWAYS_INLINE {
            q_a[p] = tile.query(lane + p * w, a);
            q_b[p] = tile.query(lane + p * w, a + 1);
        });
        repeat<keys>([&](auto j) ATTEND_ALWAYS_INLINE {
            k_a[j] = tile.key(key + j, a);
            k_b[j] = tile.key(key + j, a + 1);
        });
        each([&](Lanes<T>& sum, int j, int p)
                 ATTEND_ALWAYS_INLINE { sum += score.pairs_of_exponentials(q_a[p], k_a[j], q_b[p], k_b[j], a); });
    }
    if (a < tile.width) {
        each([&](Lanes<T>& sum, int j, int p) ATTEND_ALWAYS_INLINE {
            sum += score.pair_of_exponentials(tile.query(lane + p * w, a), tile.key(key + j, a), a);
        });
    }
    each([&](const Lanes<T>& sum, int j, int p) ATTEND_ALWAYS_INLINE {
        T* const at = to + (key + j) * tile.lanes + lane + p * w;
        simd::store(at, all ? sum.packet : simd::select_equal(sum.packet, sum.packet, sum.packet, simd::load(at)));
    });
}
template <class T, class S>
void add_exponentials(const S& score, const PairTile<T>& tile, Index keys, bool all, T* to) {
    for_each_piece<2, T>(keys, tile.lanes, [&](Index j, auto count, Index lane, auto packets) {
        add_exponentials_of<count, packets>(score, tile, j, lane, all, to);
    });
}

/// to = e^{exponent_factor · x} of a query in each lane, and NaN for a query with a feature that is too large for it,
/// whatever those beside it are. Returns whether none is.
template <class S, class T>
bool exponentials_of_lanes(const T* x, T* to, Index width, Index lanes) {
    constexpr Index w = simd::width<T>;
    const auto factor = simd::broadcast(static_cast<T>(S::exponent_factor)),
               limit = simd::broadcast(static_cast<T>(S::most_exponential)), zero = simd::broadcast(T(0)),
               nan = simd::broadcast(std::numeric_limits<T>::quiet_NaN());
    bool all = true;
    for (Index i = 0; i < lanes; i += w) {
        auto bad = zero;
        for (Index a = 0; a < width; ++a) {
            const auto in_range = simd::less_equal(simd::abs(simd::load(x + a * lanes + i)), limit);
            bad = simd::select(in_range, bad, nan);
        }
        all = all && simd::sum<T>(bad) == T(0);
        for (Index a = 0; a < width; ++a) {
            const auto e = exp_packet<T>(simd::mul(factor, simd::load(x + a * lanes + i)));
            simd::store(to + a * lanes + i, simd::add(e, bad));
        }
    }
    return all;
}
/// Whether the features of a row have exponentials.
template <class S, class T>
bool has_exponentials(const T* x, Index size) {
    constexpr Index w = simd::width<T>;
    const auto limit = simd::broadcast(static_cast<T>(S::most_exponential)), one = simd::broadcast(T(1));
    auto all = one;
    for (Index i = 0; i < size; i += w) {
        const auto packet = simd::load(x + i, std::min(w, size - i), T(0));
        all = simd::select(simd::less_equal(simd::abs(packet), limit), all, simd::broadcast(T(0)));
    }
    return simd::sum<T>(all) == static_cast<T>(w);
}
/// The same of a key in each row, rows × width whose scalars follow each other.
template <class S, class T>
bool exponentials_of_rows(const StridedMatrix<T>& x, Index rows, Index width, T* to) {
    constexpr Index w = simd::width<T>;
    const auto factor = simd::broadcast(static_cast<T>(S::exponent_factor));
    bool all = true;
    for (Index j = 0; j < rows; ++j, to += width) {
        const T* const row = x.data + j * x.row_stride;
        const bool has = has_exponentials<S>(row, width);
        all = all && has;
        for (Index a = 0; a < width; a += w) {
            const Index count = std::min(w, width - a);
            auto e = exp_packet<T>(simd::mul(factor, simd::load(row + a, count, T(0))));
            if (!has) [[unlikely]]
                e = simd::broadcast(std::numeric_limits<T>::quiet_NaN());
            simd::store<T>(to + a, e, count);
        }
    }
    return all;
}

}  // namespace attend::detail
