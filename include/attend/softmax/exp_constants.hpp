#pragma once
/// \file
/// The numbers of which the exponential function is made.

#include <limits>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What e^x needs to know of a floating-point format.
///
/// With n = round(x / ln 2), e^x = 2^n · e^r where r = x − n·ln 2, |r| <= ln 2 / 2, and e^r ≈ 1 + r + r²·q(r).
/// `polynomial` holds q, highest power first: minimax in the relative error of e^r, found with Sollya's `fpminimax`,
/// for coefficients of the format itself.
///
/// Where a register is a table, it holds the `roots` 2^{j / width}, and n is rounded to a multiple of 1 / width. The
/// root of its fraction is looked up, and what is left for r is so little that `short_polynomial` does.
template <class T>
struct ExpConstants {  // of other types, whose e^x is their own
    static constexpr T ln2 = T(0.693147180559945309417232121458176568L);
    static constexpr T least_normal = T(std::numeric_limits<T>::min_exponent) * ln2, least_factor = least_normal / 2;
};

template <>
struct ExpConstants<float> {
    static constexpr int mantissa_bits = 23;
    static constexpr float exponent_bias = 127;
    // Below `lowest` the result rounds to 0, above `highest` it overflows to +∞.
    static constexpr float lowest = -104, highest = 89;
    static constexpr float least_normal = -87.3F;  // above it e^x is a normal number
    static constexpr float least_factor = -66.F;   // above it e^x is a normal number times anything from 1e-9 on
    // ln 2 in two parts. The upper has 15 bits, so that its product with any n that occurs is exact.
    static constexpr float ln2_upper = 0x1.62e4p-1F, ln2_lower = 0x1.7f7d1cp-20F;
    // Where products are fused they are exact anyway.
    static constexpr float fused_ln2_upper = 0x1.62e43p-1F, fused_ln2_lower = -0x1.05c61p-29F;
    // Relative error 3.3e-9, a twentieth of an ulp.
    static constexpr float polynomial[] = {0x1.694ca6p-10F, 0x1.12398p-7F, 0x1.555a26p-5F, 0x1.555492p-3F,
                                           0x1.fffffap-2F};
    // Relative error 1.6e-9, for |r| <= ln 2 / 32.
    static constexpr float short_polynomial[] = {0x1.55559ap-3F, 0x1.00021ep-1F};
    alignas(64) static constexpr float roots[] = {
        1.000000000F, 1.044273782F, 1.090507733F, 1.138788635F, 1.189207115F, 1.241857812F, 1.296839555F, 1.354255547F,
        1.414213562F, 1.476826146F, 1.542210825F, 1.610490332F, 1.681792831F, 1.756252160F, 1.834008086F, 1.915206561F};
};

template <>
struct ExpConstants<double> {
    static constexpr int mantissa_bits = 52;
    static constexpr double exponent_bias = 1023;
    static constexpr double lowest = -746, highest = 710;
    static constexpr double least_normal = -708.3, least_factor = -650;
    static constexpr double ln2_upper = 0x1.62e42fefa38p-1, ln2_lower = 0x1.ef35793c7673p-45;  // 42 bits above
    static constexpr double fused_ln2_upper = 0x1.62e42fefa39efp-1, fused_ln2_lower = 0x1.abc9e3b39803fp-56;
    // Relative error 3.8e-18, a thirtieth of an ulp.
    static constexpr double polynomial[] = {0x1.ad930400c27ddp-26, 0x1.28adfefa80119p-22, 0x1.71df18e2549ep-19,
                                            0x1.a019995cdc75bp-16, 0x1.a01a012ff293ep-13, 0x1.6c16c18477aefp-10,
                                            0x1.1111111126b3p-7,   0x1.55555555506bap-5,  0x1.55555555554fep-3,
                                            0x1.000000000000ap-1};
    // Relative error 2.8e-18, for |r| <= ln 2 / 16.
    static constexpr double short_polynomial[] = {0x1.a0163e5eb036cp-13, 0x1.6c1cbd2fb75dep-10, 0x1.11111125ca1aap-7,
                                                  0x1.5555554810258p-5,  0x1.5555555555134p-3,  0x1.000000000010bp-1};
    alignas(64) static constexpr double roots[] = {1.0000000000000000000, 1.0905077326652576592, 1.1892071150027210667,
                                                   1.2968395546510096659, 1.4142135623730950488, 1.5422108254079408236,
                                                   1.6817928305074290861, 1.8340080864093424635};
};

}  // namespace attend::detail
