#pragma once
/// \file
/// Packets as rows of a square, transposed.

#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd_packets.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

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
    if constexpr (is_packet<Packet<T>, float, 64>) return transpose_16(rows);
#endif
    transpose_any(rows);
}

}  // namespace attend::detail::simd
