#pragma once
/// \file
/// Packets: as many scalars as one register holds. A thin layer over Eigen's, which exist for SSE2, AVX2, AVX-512, NEON
/// and others in Eigen 3.4 and 5 alike; the only header that names Eigen::internal.
///
/// Where Eigen does not vectorise a type (long double, or EIGEN_DONT_VECTORIZE) its packet is the scalar itself, of
/// width 1.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/types.hpp>

// GCC 12 takes the undefined lanes inside its own AVX-512 intrinsics for uninitialised variables of their callers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace attend::inline ATTEND_ABI::detail::simd {

template <class T>
using Packet = typename Eigen::internal::packet_traits<T>::type;

template <class T>
inline constexpr Index width = Eigen::internal::packet_traits<T>::size;

/// Those of the standard library are missing from libc++ before version 14.
template <class To, class From>
constexpr To bit_cast(const From& from) {
    return __builtin_bit_cast(To, from);
}

/// The same lanes for the compiler's own arithmetic.
template <class P, class T = typename Eigen::internal::unpacket_traits<P>::type>
struct CompilersVector {
    using type [[gnu::vector_size(sizeof(P))]] = T;
};

/// Integers as wide as the lanes.
template <class T>
using LaneInteger = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// `count` rounded up to whole packets.
template <class T>
constexpr Index padded(Index count) {
    return (count + width<T> - 1) / width<T> * width<T>;
}

template <class T>
Packet<T> broadcast(T x) {
    return Eigen::internal::pset1<Packet<T>>(x);
}

/// Loads a whole packet, from any alignment.
template <class T>
Packet<T> load(const T* from) {
    return Eigen::internal::ploadu<Packet<T>>(from);
}

/// Stores a whole packet, to any alignment.
template <class T>
void store(T* to, const Packet<T>& x) {
    Eigen::internal::pstoreu(to, x);
}

#if defined(EIGEN_VECTORIZE_AVX)
/// All bits of the first `count` lanes of 256 bits.
template <class T>
__m256i first_lanes(Index count) {
    static constexpr std::int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(bits + 8 - count * static_cast<Index>(sizeof(T) / sizeof *bits)));
}
#endif

/// Fewer lanes than a packet has, one by one: a compiler that does not see how many they are at most makes calls of it
/// otherwise, and warns of those that would be too long.
template <class T, class S>
ATTEND_ALWAYS_INLINE inline void copy_some(const S* from, Index count, S* to) {
    repeat<static_cast<int>(width<T>) - 1>([&](auto i) ATTEND_ALWAYS_INLINE {
        if (i < count) to[i] = from[i];
    });
}

/// Loads the first `count` lanes, 1 to the width; the others become `fill`. Nothing behind `from + count` is read.
template <class T>
Packet<T> load(const T* from, Index count, T fill) {
    if (count == width<T>) return load(from);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        return _mm512_mask_loadu_ps(broadcast(fill), static_cast<__mmask16>((1U << count) - 1), from);
    } else if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, double>) {
        return _mm512_mask_loadu_pd(broadcast(fill), static_cast<__mmask8>((1U << count) - 1), from);
    }
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
        const __m256i lanes = first_lanes<T>(count);
        return _mm256_blendv_ps(broadcast(fill), _mm256_maskload_ps(from, lanes), _mm256_castsi256_ps(lanes));
    } else if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, double>) {
        const __m256i lanes = first_lanes<T>(count);
        return _mm256_blendv_pd(broadcast(fill), _mm256_maskload_pd(from, lanes), _mm256_castsi256_pd(lanes));
    }
#endif
    T lanes[width<T>];
    store(lanes, broadcast(fill));
    copy_some<T>(from, count, lanes);
    return load<T>(lanes);
}

/// Stores the first `count` lanes, 1 to the width.
template <class T>
void store(T* to, const Packet<T>& x, Index count) {
    if (count == width<T>) return store(to, x);
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        return _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1U << count) - 1), x);
    } else if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, double>) {
        return _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1U << count) - 1), x);
    }
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, float>) {
        return _mm256_maskstore_ps(to, first_lanes<T>(count), x);
    } else if constexpr (sizeof(Packet<T>) == 32 && std::is_same_v<T, double>) {
        return _mm256_maskstore_pd(to, first_lanes<T>(count), x);
    }
#endif
    T lanes[width<T>];
    store(lanes, x);
    copy_some<T>(lanes, count, to);
}

/// f of each lane.
template <class T, class F>
Packet<T> each_lane(const Packet<T>& x, F f) {
    T lanes[width<T>];
    store(lanes, x);
    for (T& lane : lanes) lane = f(lane);
    return load(lanes);
}

/// NEON of 32 bits has no division and no root, and Eigen 3.4 puts estimates of 17 bits in their place.
#if defined(EIGEN_VECTORIZE_NEON) && !defined(__aarch64__)
inline constexpr bool estimated_division = true;
#else
inline constexpr bool estimated_division = false;
#endif

template <class P>
P add(const P& a, const P& b) {
    return Eigen::internal::padd(a, b);
}
template <class P>
P sub(const P& a, const P& b) {
    return Eigen::internal::psub(a, b);
}
template <class P>
P mul(const P& a, const P& b) {
    return Eigen::internal::pmul(a, b);
}

/// a·b + c, rounded once where the target has such an instruction.
template <class P>
P madd(const P& a, const P& b, const P& c) {
    return Eigen::internal::pmadd(a, b, c);
}

/// x, computed as it is written: not to be rearranged together with what is done to it, even under -ffast-math.
template <class P>
P as_written(P x) {
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)
    EIGEN_OPTIMIZATION_BARRIER(x)
#endif
    return x;
}

/// x, kept in a register: of what is loaded once and used often a compiler may else make a load for each use, and wait
/// for loads where it could multiply.
template <class P>
ATTEND_ALWAYS_INLINE inline P in_register(P x) {
    EIGEN_OPTIMIZATION_BARRIER(x)
    return x;
}

/// The smaller of the two; `a` where `a` is NaN.
template <class P>
P min(const P& a, const P& b) {
    return Eigen::internal::pmin(a, b);
}
/// The larger of the two; `a` where `a` is NaN.
template <class P>
P max(const P& a, const P& b) {
    return Eigen::internal::pmax(a, b);
}

/// `then` where a equals b, `otherwise` elsewhere (so also where either is NaN).
template <class P>
P select_equal(const P& a, const P& b, const P& then, const P& otherwise) {
#if defined(EIGEN_VECTORIZE_AVX512)
    // Eigen's AVX-512 comparisons widen their mask to a packet, and selections narrow it again.
    if constexpr (std::is_same_v<P, __m512>) {
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), otherwise, then);
    } else if constexpr (std::is_same_v<P, __m512d>) {
        return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ), otherwise, then);
    } else
#endif
    {
        return Eigen::internal::pselect(Eigen::internal::pcmp_eq(a, b), then, otherwise);
    }
}

/// Each lane's bits, as an unsigned integer, shifted left by `count`.
template <int count, class P>
P shift_left(const P& x) {
    // Not Eigen's packets of integers: version 3.4 has none of 64 bits for SSE2 and AVX2.
    using T = typename Eigen::internal::unpacket_traits<P>::type;
    using Bits = typename CompilersVector<P, std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>::type;
    return bit_cast<P>(bit_cast<Bits>(x) << count);
}

/// Of positive normal lanes 2^n · m with √½ <= m < √2.
template <class T>
struct Scientific {
    Packet<T> n, m;
};
template <class T>
ATTEND_ALWAYS_INLINE inline Scientific<T> exponent_and_mantissa(const Packet<T>& x) {
    using Int = LaneInteger<T>;
    constexpr int mantissa_bits = sizeof(T) == 4 ? 23 : 52;
    constexpr Int root = bit_cast<Int>(static_cast<T>(0.707106781186547524400844362104849039L));
    if constexpr (width<T> == 1) {
        const Int n = (bit_cast<Int>(x) - root) >> mantissa_bits;
        return {static_cast<T>(n), bit_cast<T>(bit_cast<Int>(x) - (n << mantissa_bits))};
    } else {
        using Vector = typename CompilersVector<Packet<T>>::type;
        using Integers = typename CompilersVector<Packet<T>, Int>::type;
        const Integers bits = bit_cast<Integers>(x), n = (bits - root) >> mantissa_bits;
        return {bit_cast<Packet<T>>(__builtin_convertvector(n, Vector)),
                bit_cast<Packet<T>>(bits - (n << mantissa_bits))};
    }
}

template <class T>
T first(const Packet<T>& x) {
    return Eigen::internal::pfirst(x);
}
template <class T>
T sum(const Packet<T>& x) {
    return Eigen::internal::predux(x);
}
template <class T>
T largest(const Packet<T>& x) {
    return Eigen::internal::predux_max(x);
}

template <class P>
P div(const P& a, const P& b) {
    if constexpr (estimated_division) {
        using Vector = typename CompilersVector<P>::type;
        return bit_cast<P>(bit_cast<Vector>(a) / bit_cast<Vector>(b));
    } else {
        return Eigen::internal::pdiv(a, b);
    }
}
/// x / y of finite numbers, given 1 / y. The product is corrected by what it lacks, which a fused multiplication knows
/// exactly: as good as a division, in a quarter of the time.
template <class P>
P divided(const P& x, const P& y, [[maybe_unused]] const P& one_by_y) {
#if defined(EIGEN_VECTORIZE_FMA) || (defined(EIGEN_VECTORIZE_NEON) && defined(__aarch64__))
    const P product = mul(x, one_by_y), lack = madd(product, Eigen::internal::pnegate(y), x);
    return madd(lack, one_by_y, product);
#else
    return div(x, y);
#endif
}
/// 1 / x of a finite x > 0, at most 2 ulp off.
template <class T>
Packet<T> reciprocal(const Packet<T>& x) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {
        // An estimate and one step of Newton's: a division takes four times as long.
        const __m512 estimate = _mm512_maskz_rcp14_ps(0xffff, x);
        return _mm512_fmadd_ps(estimate, _mm512_fnmadd_ps(estimate, x, _mm512_set1_ps(1)), estimate);
    } else
#endif
    {
        return div(broadcast(T(1)), x);
    }
}
template <class P>
P abs(const P& x) {
    return Eigen::internal::pabs(x);
}
/// Rounded correctly. Eigen 3.4's estimates are not, and make NaN of ∞.
template <class P>
P sqrt(const P& x) {
    using T = typename Eigen::internal::unpacket_traits<P>::type;
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (std::is_same_v<P, __m512>) return _mm512_sqrt_ps(x);
    if constexpr (std::is_same_v<P, __m512d>) return _mm512_sqrt_pd(x);
#endif
#if defined(EIGEN_VECTORIZE_AVX)
    if constexpr (std::is_same_v<P, __m256>) return _mm256_sqrt_ps(x);
#endif
#if defined(EIGEN_VECTORIZE_SSE)
    if constexpr (std::is_same_v<P, __m128>) return _mm_sqrt_ps(x);
#endif
    if constexpr (estimated_division && width<T> > 1) {
        return each_lane<T>(x, [](T lane) { return std::sqrt(lane); });
    } else {
        return Eigen::internal::psqrt(x);
    }
}

/// Comparisons set all bits of the lanes where they hold.
template <class P>
P less(const P& a, const P& b) {
    return Eigen::internal::pcmp_lt(a, b);
}
template <class P>
P less_equal(const P& a, const P& b) {
    return Eigen::internal::pcmp_le(a, b);
}
template <class P>
P bit_and(const P& a, const P& b) {
    return Eigen::internal::pand(a, b);
}
template <class P>
P bit_or(const P& a, const P& b) {
    return Eigen::internal::por(a, b);
}
/// `then` in the lanes whose bits are set, `otherwise` where none is.
template <class P>
P select(const P& bits, const P& then, const P& otherwise) {
    return Eigen::internal::pselect(bits, then, otherwise);
}

/// x, but exactly 0 in the lanes where `test` is below `bound`. NaN is below nothing.
template <class T>
Packet<T> zero_below(const Packet<T>& x, const Packet<T>& test, T bound) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) {  // as above
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(test, _mm512_set1_ps(bound), _CMP_NLT_UQ), x);
    } else if constexpr (sizeof(Packet<T>) == 64) {
        return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(test, _mm512_set1_pd(bound), _CMP_NLT_UQ), x);
    } else
#endif
    {
        return select(less(test, broadcast(bound)), broadcast(T(0)), x);
    }
}

/// 0, 1, 2, …
template <class T>
Packet<T> iota() {
    return Eigen::internal::plset<Packet<T>>(T(0));
}

template <class T>
Packet<T> tanh(const Packet<T>& x) {
    if constexpr (Eigen::internal::packet_traits<T>::HasTanh && !estimated_division) {
        const auto t = Eigen::internal::ptanh(x);
#if defined(EIGEN_VECTORIZE_SSE)
        return t;
#else
        // Where products are fused, Eigen 3.4 ends 4 ulp short of 1, and the slope 1 − t² of what is infinite above 0.
        constexpr T rounds_to_1 = sizeof(T) == 4 ? T(9.02) : T(19.1);
        const auto most = broadcast(T(1)), least = broadcast(T(-1));
        return select(less(broadcast(rounds_to_1), x), most, select(less(x, broadcast(-rounds_to_1)), least, t));
#endif
    } else {
        return each_lane<T>(x, [](T lane) { return std::tanh(lane); });
    }
}

#if defined(EIGEN_VECTORIZE_AVX512)
/// 16 × 16 in 64 instructions; Eigen's take twice as many.
ATTEND_ALWAYS_INLINE inline void transpose_16(__m512 (&rows)[16]) {
    __m512 m[16];  // m[4 g + c], in its quarter l: column 4 l + c of the rows 4 g to 4 g + 3
    repeat<4>([&](auto g) ATTEND_ALWAYS_INLINE {
        const __m512 *r = rows + 4 * g, lower = _mm512_unpacklo_ps(r[0], r[1]), upper = _mm512_unpackhi_ps(r[0], r[1]);
        const __m512d a = _mm512_castps_pd(lower), b = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3])),
                      c = _mm512_castps_pd(upper), d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
        m[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        m[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        m[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        m[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    });
    constexpr int even = 0x88, odd = 0xdd;
    repeat<4>([&](auto c) ATTEND_ALWAYS_INLINE {
        const __m512 a = _mm512_shuffle_f32x4(m[c], m[4 + c], even),
                     b = _mm512_shuffle_f32x4(m[8 + c], m[12 + c], even);
        const __m512 d = _mm512_shuffle_f32x4(m[c], m[4 + c], odd), e = _mm512_shuffle_f32x4(m[8 + c], m[12 + c], odd);
        rows[c] = _mm512_shuffle_f32x4(a, b, even);
        rows[4 + c] = _mm512_shuffle_f32x4(d, e, even);
        rows[8 + c] = _mm512_shuffle_f32x4(a, b, odd);
        rows[12 + c] = _mm512_shuffle_f32x4(d, e, odd);
    });
}
#endif

/// Transposes width × width scalars: lane c of row r becomes lane r of row c.
template <class T>
ATTEND_ALWAYS_INLINE inline void transpose(Packet<T> (&rows)[width<T>]) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float>) return transpose_16(rows);
#endif
    if constexpr (width<T> > 1) {
        constexpr int n = static_cast<int>(width<T>);
        Eigen::internal::PacketBlock<Packet<T>, n> block;
        repeat<n>([&](auto i) ATTEND_ALWAYS_INLINE { block.packet[i] = rows[i]; });
        Eigen::internal::ptranspose(block);
        repeat<n>([&](auto i) ATTEND_ALWAYS_INLINE { rows[i] = block.packet[i]; });
    }
}

/// The mask, as comparisons give it, of the lanes whose bit is set.
template <class T>
Packet<T> mask_of_bits(std::uint64_t bits) {
    if constexpr (width<T> == 1) {
        return less_equal(broadcast(T(0)), broadcast((bits & 1) != 0 ? T(0) : T(-1)));
    } else {
        using Int = LaneInteger<T>;
        using Vector = typename CompilersVector<Packet<T>, Int>::type;
        return [bits = static_cast<Int>(bits)]<int... i>(std::integer_sequence<int, i...>) ATTEND_ALWAYS_INLINE {
            const Vector lane = {(Int{1} << i)...}, all = {((void)i, bits)...};
            return bit_cast<Packet<T>>((all & lane) == lane);
        }(std::make_integer_sequence<int, static_cast<int>(width<T>)>{});
    }
}
/// Whether a mask, as comparisons give it, holds of any lane.
template <class T>
bool any(const Packet<T>& mask) {
    return Eigen::internal::predux_any(mask);
}
/// The bits of `count` truths that follow each other in memory, the first one's last.
inline std::uint64_t bits_of_truths(const bool* from, Index count) {
    std::uint64_t bits = 0;
    for (Index i = 0; i < count; i += 8) {
        const Index here = count - i < 8 ? count - i : 8;
        std::uint64_t bytes = 0;
        if constexpr (std::endian::native == std::endian::little) {
            std::memcpy(&bytes, from + i, static_cast<std::size_t>(here));
        } else {
            for (Index b = 0; b < here; ++b) bytes |= std::uint64_t{from[i + b]} << (8 * b);
        }
        bits |= bytes * 0x0102040810204080 >> 56 << i;  // byte b, 0 or 1, becomes bit b of the highest byte
    }
    return bits;
}

/// The sums of neighbours in x and in y, which stay in the 128 bits where they stand, those of x first; or, where these
/// hold what stands side by side no more, the sums of neighbours among those pieces of 128 bits.
template <class T, bool within, int... i>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_pairs(const Packet<T>& x, const Packet<T>& y,
                                                    std::integer_sequence<int, i...>) {
    constexpr int w = sizeof...(i), piece = std::min(w, static_cast<int>(16 / sizeof(T)));
    constexpr auto from = [](int lane, int second) {
        const int at = within ? lane % piece : lane / piece, half = (within ? piece : w / piece) / 2;
        const int taken = 2 * (at % half) + second, of_y = at < half ? 0 : w;
        return of_y + (within ? lane / piece * piece + taken : taken * piece + lane % piece);
    };
    using Vector = typename CompilersVector<Packet<T>>::type;
    const auto a = bit_cast<Vector>(x), b = bit_cast<Vector>(y);
    return bit_cast<Packet<T>>(__builtin_shufflevector(a, b, from(i, 0)...) +
                               __builtin_shufflevector(a, b, from(i, 1)...));
}
#if defined(EIGEN_VECTORIZE_AVX512)
/// The same of 16 rows: of some of these shuffles GCC makes slower ones.
ATTEND_ALWAYS_INLINE inline __m512 sums_of_16_rows(const __m512* x) {
    constexpr int even = 0x88, odd = 0xdd;
    const auto within = [](const __m512& a, const __m512& b) ATTEND_ALWAYS_INLINE {
        return _mm512_add_ps(_mm512_shuffle_ps(a, b, even), _mm512_shuffle_ps(a, b, odd));
    };
    const auto among = [](const __m512& a, const __m512& b) ATTEND_ALWAYS_INLINE {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, even), _mm512_shuffle_f32x4(a, b, odd));
    };
    __m512 quarter[4];
    repeat<4>([&](auto r) ATTEND_ALWAYS_INLINE {
        const __m512* const row = x + 4 * r;
        quarter[r] = within(within(row[0], row[1]), within(row[2], row[3]));
    });
    return among(among(quarter[0], quarter[1]), among(quarter[2], quarter[3]));
}
#endif
/// Lane r is the sum of the lanes of row r. Pairs of neighbours are added until one packet is left.
template <class T, int rows = static_cast<int>(width<T>)>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_rows(const Packet<T>* x) {
#if defined(EIGEN_VECTORIZE_AVX512)
    if constexpr (sizeof(Packet<T>) == 64 && std::is_same_v<T, float> && rows == 16) return sums_of_16_rows(x);
#endif
    if constexpr (rows == 1) {
        return x[0];
    } else {
        constexpr int w = static_cast<int>(width<T>), pieces = std::max(1, w * static_cast<int>(sizeof(T)) / 16);
        constexpr auto lanes = std::make_integer_sequence<int, w>{};
        Packet<T> half[rows / 2];
        repeat<rows / 2>([&](auto r) ATTEND_ALWAYS_INLINE {
            half[r] = sums_of_pairs<T, (rows > pieces)>(x[2 * r], x[2 * r + 1], lanes);
        });
        return sums_of_rows<T, rows / 2>(half);
    }
}
/// The sum of all lanes, halves added until one lane is left, whatever Eigen's order is: as `sums_of_groups` adds them.
template <class T, class Vector, int... i>
ATTEND_ALWAYS_INLINE inline T sum_by_halves(const Vector& x, std::integer_sequence<int, i...>) {
    constexpr int half = sizeof...(i);
    if constexpr (half == 1) {
        return x[0] + x[1];
    } else if constexpr (half == 2) {
        return (x[0] + x[2]) + (x[1] + x[3]);
    } else {
        const auto sums = __builtin_shufflevector(x, x, i...) + __builtin_shufflevector(x, x, (half + i)...);
        return sum_by_halves<T>(sums, std::make_integer_sequence<int, half / 2>{});
    }
}
template <class T>
ATTEND_ALWAYS_INLINE inline T sum_by_halves(const Packet<T>& x) {
    if constexpr (width<T> == 1) {
        return x;
    } else {
        return sum_by_halves<T>(bit_cast<typename CompilersVector<Packet<T>>::type>(x),
                                std::make_integer_sequence<int, static_cast<int>(width<T> / 2)>{});
    }
}
/// Lane i becomes lane i ^ apart.
template <class T, int apart, int... i>
ATTEND_ALWAYS_INLINE inline Packet<T> swapped(const Packet<T>& x, std::integer_sequence<int, i...>) {
    const auto lanes = bit_cast<typename CompilersVector<Packet<T>>::type>(x);
    return bit_cast<Packet<T>>(__builtin_shufflevector(lanes, lanes, (i ^ apart)...));
}
/// f of all lanes of a group, in each of them: of lanes that stand `from` apart first, and then half as far, or with
/// `neighbours_first` of those that stand side by side first, and then twice as far. So many lanes are a group, a power
/// of two.
template <class T, bool neighbours_first = false, class F>
ATTEND_ALWAYS_INLINE inline Packet<T> over_groups(Packet<T> x, Index group, F f) {
    constexpr auto lanes = std::make_integer_sequence<int, static_cast<int>(width<T>)>{};
    constexpr int levels = std::bit_width(static_cast<unsigned>(width<T>)) - 1;
    repeat<levels>([&](auto level) ATTEND_ALWAYS_INLINE {
        constexpr int apart = 1 << (neighbours_first ? level : levels - 1 - level);
        if (apart < group) x = f(x, swapped<T, apart>(x, lanes));
    });
    return x;
}
/// The sum of the lanes of a group, in each of them, by halves.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_groups(const Packet<T>& x, Index group) {
    return over_groups<T>(x, group, [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::add(a, b); });
}
/// The same as `sums_of_rows` adds them up.
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> sums_of_neighbours(const Packet<T>& x, Index group) {
    return over_groups<T, true>(x, group,
                                [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::add(a, b); });
}
template <class T>
ATTEND_ALWAYS_INLINE inline Packet<T> largest_of_groups(const Packet<T>& x, Index group) {
    return over_groups<T>(x, group, [](const auto& a, const auto& b) ATTEND_ALWAYS_INLINE { return simd::max(a, b); });
}

}  // namespace attend::detail::simd

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
