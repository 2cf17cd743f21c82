#pragma once
/// \file
/// The natural logarithm, on packets.

#include <cmath>
#include <iterator>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/simd.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What log x needs to know of a floating-point format.
///
/// With x = 2^n · m, √½ <= m < √2, and t = (m − 1) / (m + 1): log x = n · ln 2 + t (2 + t² p(t²)). `polynomial` holds
/// p, highest power first: minimax in the relative error of log m, by Remez' exchange.
template <class T>
struct LogConstants;

template <>
struct LogConstants<float> {
    // Relative error 8e-10, a seventieth of an ulp.
    static constexpr float polynomial[] = {0x1.31e01p-2F, 0x1.995ed6p-2F, 0x1.55557ap-1F};
};
template <>
struct LogConstants<double> {
    // Relative error 1.2e-18, a ninetieth of an ulp.
    static constexpr double polynomial[] = {0x1.2f01053eae77fp-3, 0x1.39a228fcf39fcp-3, 0x1.74663aa911200p-3,
                                            0x1.c71c521df204dp-3, 0x1.24924941d7f62p-2, 0x1.999999997ff7cp-2,
                                            0x1.5555555555592p-1};
};

/// −log x of finite normal numbers x > 0, at most 4 ulp off. Of others something, but of NaN no number in a product
/// with it.
template <class T>
ATTEND_ALWAYS_INLINE inline simd::Packet<T> minus_log(const simd::Packet<T>& x) {
    if constexpr (!std::is_same_v<T, float> && !std::is_same_v<T, double>) {
        using std::log;
        return -log(x);
    } else {
        constexpr auto& p_of = LogConstants<T>::polynomial;
        const auto c = [](T constant) ATTEND_ALWAYS_INLINE { return simd::broadcast(constant); };
        const auto [n, m] = simd::exponent_and_mantissa<T>(x);
        const auto minus_t = simd::mul(simd::sub(c(T(1)), m), simd::reciprocal<T>(simd::add(m, c(T(1)))));
        const auto square = simd::mul(minus_t, minus_t);
        auto p = c(p_of[0]);
        repeat<static_cast<int>(std::size(p_of)) - 1>(
            [&](auto i) ATTEND_ALWAYS_INLINE { p = simd::madd(p, square, c(p_of[i + 1])); });
        const auto minus_log_m = simd::mul(minus_t, simd::madd(p, square, c(T(2))));
        return simd::madd(n, c(T(-0.693147180559945309417232121458176568L)), minus_log_m);
    }
}

}  // namespace attend::detail
