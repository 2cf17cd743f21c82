#pragma once
/// \file
/// What this machine can do at most, for the counter `peak_fraction`: multiply and add in registers, read memory. Both
/// are timed anew beside every benchmark, since a processor's frequency drifts.

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/core/types.hpp>

#include <measure.hpp>

namespace attend::bench {

#if defined(__AVX512F__)
#if defined(__AMX_BF16__) && !defined(ATTEND_NO_AMX)
inline constexpr const char* instruction_set = "AVX-512 AMX";
#else
inline constexpr const char* instruction_set = "AVX-512";
#endif
inline constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX__)
#if defined(__AVX2__)
inline constexpr const char* instruction_set = "AVX2";
#else
inline constexpr const char* instruction_set = "AVX";
#endif
inline constexpr std::size_t vector_bytes = 32;
#elif defined(__SSE2__)
inline constexpr const char* instruction_set = "SSE2";
inline constexpr std::size_t vector_bytes = 16;
#elif defined(__aarch64__)
inline constexpr const char* instruction_set = "NEON";
inline constexpr std::size_t vector_bytes = 16;
#else
#error "bench/peak.hpp: the loop of multiplications and additions is not written for this processor yet"
#endif

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

/// Stands for an instruction that could do anything to the register that holds x.
template <class V>
[[gnu::always_inline]] inline void in_register(V& x) {
#if defined(__aarch64__)
    asm volatile("" : "+w"(x));
#else
    asm volatile("" : "+v"(x));
#endif
}

#if defined(__FMA__) || defined(__aarch64__)
inline constexpr int operations_of_step = 2;
#else
inline constexpr int operations_of_step = 1;
#endif

/// One instruction on a register, which the compiler may neither remove nor rearrange: x += y · y, or multiplication
/// and addition by turns where there is no such instruction.
template <class T, std::size_t turn>
[[gnu::always_inline]] inline void step(Vector<T>& x, const Vector<T>& y) {
    [[maybe_unused]] constexpr bool single = sizeof(T) == 4;
#if defined(__FMA__)
    if constexpr (single) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(x) : "v"(y));
    if constexpr (!single) asm volatile("vfmadd231pd %1, %1, %0" : "+v"(x) : "v"(y));
#elif defined(__aarch64__)
    if constexpr (single) asm volatile("fmla %0.4s, %1.4s, %1.4s" : "+w"(x) : "w"(y));
    if constexpr (!single) asm volatile("fmla %0.2d, %1.2d, %1.2d" : "+w"(x) : "w"(y));
#else
    if constexpr (turn % 2 == 0) x *= y;
    if constexpr (turn % 2 == 1) x += y;
    in_register(x);
#endif
}

/// Whether there is an instruction for pairs of numbers of 16 bits, which multiplies two for each float that it adds
/// to.
template <class T>
inline constexpr bool has_pairs =
#if defined(__AVX512BF16__)
    std::is_same_v<T, Eigen::bfloat16>;

[[gnu::always_inline]] inline void step_of_pairs(Vector<float>& x, const Vector<float>& y) {
    asm volatile("vdpbf16ps %1, %1, %0" : "+v"(x) : "v"(y));
}
#else
    false;

[[gnu::always_inline]] inline void step_of_pairs(Vector<float>&, const Vector<float>&) {}
#endif

/// The numbers that a processor multiplies fastest of those that T's may be computed in.
template <class T>
using Peak = std::conditional_t<has_pairs<T>, T, Compute<T>>;

/// Says which peak a `peak_fraction` of 16-bit numbers is of: it may be that of float.
template <class T>
void name_peak(benchmark::State& state) {
    if constexpr (sizeof(T) == 2) state.SetLabel(has_pairs<T> ? "peak of pairs of 16 bits" : "peak of float");
}

/// The same of one query, which only reads.
template <class T>
void name_bandwidth(benchmark::State& state) {
    if constexpr (sizeof(T) <= 2) state.SetLabel("peak of reading memory");
}

/// Steps on so many registers that each is ready when its turn comes again, yet all fit.
template <class T, std::size_t... turn>
[[gnu::noinline]] void steps(int rounds, std::index_sequence<turn...>) {
    using C = std::conditional_t<has_pairs<T>, float, T>;
    Vector<C> y = Vector<C>{} + C(1);
    in_register(y);  // as if unknown, or x · 1 would be left out
    Vector<C> x[] = {(y + C(turn))...};
    for (int i = 0; i < rounds; ++i) {
        if constexpr (has_pairs<T>) {
            (step_of_pairs(x[turn], y), ...);
        } else {
            (step<T, turn>(x[turn], y), ...);
        }
    }
}

/// Floating-point operations a second of one thread that does nothing but multiply and add in registers.
template <class T>
double operations_per_second() {
#if defined(__aarch64__)
    constexpr std::size_t registers = 24;
#else
    constexpr std::size_t registers = 12;
#endif
    constexpr int rounds = 20'000;
    constexpr double lanes = vector_bytes / sizeof(T);
    return rounds * registers * lanes * operations_of_step /
           least_seconds([&] { steps<T>(rounds, std::make_index_sequence<registers>()); });
}

/// Reads memory and does nothing with it.
inline void read(const std::byte* from, const std::byte* to) {
    constexpr std::size_t at_once = 8;
    for (; from + at_once * vector_bytes <= to; from += at_once * vector_bytes) {
        for (std::size_t i = 0; i < at_once; ++i) {
            Vector<float> x;
            std::memcpy(&x, from + i * vector_bytes, vector_bytes);
            in_register(x);
        }
    }
}

/// Bytes a second at which `threads` threads read an array of that size, a part of it each.
inline double bytes_per_second(std::size_t bytes, int threads) {
    const std::vector<std::byte> array(bytes);
    const std::size_t count = static_cast<std::size_t>(threads), part = bytes / count;
    return static_cast<double>(bytes) / least_seconds([&] {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
               for (std::size_t i = 0; i < count; ++i) read(array.data() + i * part, array.data() + (i + 1) * part);
           });
}

}  // namespace attend::bench
