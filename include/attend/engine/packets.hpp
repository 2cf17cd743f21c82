#pragma once
/// \file
/// The product by packets: C = factor ∘ C + A·B, where the columns of B and C are lanes (queries)
/// and the scalars of A are broadcast from wherever they stand, so that keys and values are never packed.

#include <algorithm>

#include <attend/core/repeat.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Registers of a micro-tile: accumulators of `rows` × `vectors` packets, `vectors` packets of B and one broadcast
/// scalar must fit.
template <class T>
struct Registers {
#if defined(EIGEN_VECTORIZE_AVX512) || (defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__))
    static constexpr int vectors = 4, rows = 6;  // 24 of 32
    static constexpr bool are_many = true;
#elif defined(__wasm__)
    static constexpr int vectors = 2, rows = 4;  // with 10 of 16, what runs it spills to memory
    static constexpr bool are_many = false;
#else
    static constexpr int vectors = 2, rows = 6;  // 12 of 16
    static constexpr bool are_many = false;
#endif
};

/// sum_i += a_i · x, in the registers of as many sums.
template <int n, class P>
ATTEND_ALWAYS_INLINE inline void add_each(P (&sum)[n], const P* a, const P& x) {
    repeat<n>([&](auto i) ATTEND_ALWAYS_INLINE { sum[i] = simd::madd(a[i], x, sum[i]); });
}

/// What a product is added to: nothing, factor ∘ C, or what options say by lane.
enum class Added { to_nothing, to_sums, to_start };

/// What `finish_tile` does, where the largest are asked for or not.
template <Added added, bool raises, class T, int rows, int vectors, class Complete>
ATTEND_ALWAYS_INLINE inline void finish_rows(simd::Packet<T> (&tile)[rows][vectors], T* c, Index apart,
                                             const ProductOptions<T>& options, Complete&& complete) {
    constexpr Index w = simd::width<T>;
    simd::Packet<T> by_lane[vectors], largest[vectors];
    repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE {
        complete(r);
        if constexpr (r == 0) {  // no sooner, or there would be a register too few
            repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE {
                if constexpr (added == Added::to_sums) by_lane[v] = simd::load(options.factor + v * w);
                if constexpr (added == Added::to_start) by_lane[v] = simd::load(options.start + v * w);
                if constexpr (raises) largest[v] = simd::load(options.largest + v * w);
            });
        }
        repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE {
            auto& x = tile[r][v];
            // Added last: many short sums are more exact than a long one.
            if constexpr (added == Added::to_sums) x = simd::madd(by_lane[v], simd::load(c + v * w), x);
            if constexpr (added == Added::to_start) x = simd::add(by_lane[v], x);
            if constexpr (raises) largest[v] = simd::max(largest[v], x);
            simd::store(c + v * w, x);
        });
        c = simd::address_in_register(c + apart);
    });
    if constexpr (raises)
        repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE { simd::store(options.largest + v * w, largest[v]); });
}

/// Writes a product of `rows` × `vectors` packets, added to what options say, and raises what was the largest.
/// `complete(r)` adds to row r what is still lacking: so a row is written while others are added to.
template <class T, int rows, int vectors, class Complete>
ATTEND_ALWAYS_INLINE inline void finish_tile(simd::Packet<T> (&tile)[rows][vectors], T* c, Index apart,
                                             const ProductOptions<T>& options, Complete&& complete) {
    const auto finish = [&]<Added added>() ATTEND_ALWAYS_INLINE {
        options.largest == nullptr ? finish_rows<added, false>(tile, c, apart, options, complete)
                                   : finish_rows<added, true>(tile, c, apart, options, complete);
    };
    if (options.start != nullptr) {
        finish.template operator()<Added::to_start>();
    } else if (options.factor != nullptr) {
        finish.template operator()<Added::to_sums>();
    } else {
        finish.template operator()<Added::to_nothing>();
    }
}

/// `rows` rows of C, `vectors` packets wide, of a depth that is not 0; rows of B are `b_apart` from each other, and
/// those of C `apart`.
template <int rows, int vectors, class T>
ATTEND_NOINLINE void micro_tile(const StridedMatrix<T>& a, Index depth, const T* b, Index b_apart, T* c, Index apart,
                                const ProductOptions<T>& options) {
    constexpr Index w = simd::width<T>;
    using P = simd::Packet<T>;
    P tile[rows][vectors], b_k[vectors];
    repeat<rows * vectors>([&](auto i)
                               ATTEND_ALWAYS_INLINE { tile[i / vectors][i % vectors] = simd::broadcast(T(0)); });
    const T* row[rows];
    repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE { row[r] = a.data + r * a.row_stride; });
    const Index step = a.depth_stride;
    const auto load_b = [&]() ATTEND_ALWAYS_INLINE {
        repeat<vectors>([&](auto v) ATTEND_ALWAYS_INLINE { b_k[v] = simd::in_register(simd::load(b + v * w)); });
    };
    const auto add = [&](auto r, Index k)
                         ATTEND_ALWAYS_INLINE { add_each(tile[r], b_k, simd::broadcast(row[r][k * step])); };
    // The last step goes together with writing, where there are registers for both: of 16, it costs 2 % more.
    constexpr bool together = Registers<T>::are_many;
    const Index before = together ? depth - 1 : depth;
    for (Index k = 0; k < before; ++k, b += b_apart) {
        load_b();
        repeat<rows>([&](auto r) ATTEND_ALWAYS_INLINE { add(r, k); });
    }
    if constexpr (together) load_b();
    finish_tile(tile, c, apart, options, [&](auto r) ATTEND_ALWAYS_INLINE {
        if constexpr (together) add(r, before);
    });
}

/// Lines of memory asked for with each micro-tile: enough for both tiles of keys and values that follow.
inline constexpr Index lines_of_tile = 24;

/// `rows` rows of C by micro-tiles of `most` rows, the rest by ever smaller ones.
template <int most, int vectors, class T>
void multiply_rows(StridedMatrix<T> a, Index rows, Index depth, const T* b, Index b_apart, T* c, Index apart,
                   const ProductOptions<T>& options) {
    // Eight or nine rows are better taken as four and four than as six and some that each wait for themselves.
    for (; rows >= most && !(most == 6 && (rows == 8 || rows == 9)); rows -= most) {
        micro_tile<most, vectors>(a, depth, b, b_apart, c, apart, options);
        if (options.ahead != nullptr) options.ahead->some(lines_of_tile);
        a.data += most * a.row_stride;
        c += most * apart;
    }
    if constexpr (most > 1) {
        constexpr int next = most > 4 ? 4 : 1;
        if (rows > 0) multiply_rows<next, vectors>(a, rows, depth, b, b_apart, c, apart, options);
    }
}

/// C (rows × lanes) = factor ∘ C + A (rows × depth) · B (depth × lanes); `lanes` is a multiple of the packet's width.
template <class T>
void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index b_apart, Index lanes, T* c,
              Index apart, ProductOptions<T> options) {
    constexpr Index w = simd::width<T>;
    constexpr int most = Registers<T>::vectors, tall = Registers<T>::rows;
    Index lane = 0;
    const auto advance = [&](Index count) {
        lane += count;
        if (options.factor != nullptr) options.factor += count;
        if (options.start != nullptr) options.start += count;
        if (options.largest != nullptr) options.largest += count;
    };
    if (depth == 0) {  // a product of zeros
        T zeros[w];
        std::fill_n(zeros, w, T(0));
        while (lane < lanes) {
            multiply_rows<tall, 1>(StridedMatrix<T>{zeros, 0, 0}, rows, 1, zeros, 0, c + lane, apart, options);
            advance(w);
        }
        return;
    }
    while (lane + most * w <= lanes) {
        multiply_rows<tall, most>(a, rows, depth, b + lane, b_apart, c + lane, apart, options);
        advance(most * w);
    }
    // Few vectors: more rows, so that enough sums run at a time to hide the latency of each; of yet more the
    // addresses would not stay in registers.
    constexpr int taller = 8;
    if constexpr (most > 3) {
        if (lane + 3 * w <= lanes) {
            multiply_rows<tall, 3>(a, rows, depth, b + lane, b_apart, c + lane, apart, options);
            advance(3 * w);
        }
    }
    if constexpr (most > 2) {
        if (lane + 2 * w <= lanes) {
            multiply_rows<taller, 2>(a, rows, depth, b + lane, b_apart, c + lane, apart, options);
            advance(2 * w);
        }
    }
    if (lane < lanes) multiply_rows<taller, 1>(a, rows, depth, b + lane, b_apart, c + lane, apart, options);
}

/// As an engine multiplies.
template <class T>
void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c,
              const ProductOptions<T>& options = {}) {
    const Index apart = options.apart == 0 ? lanes : options.apart;
    multiply(a, rows, depth, b, apart, lanes, c, apart, options);
}

}  // namespace attend::detail
