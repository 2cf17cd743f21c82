#pragma once
/// \file
/// Which instruction sets there are, which of them this is compiled for, and which the processor and its system have.

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include <attend/core/errors.hpp>
#include <attend/dispatch/boundary.hpp>

#if defined(__x86_64__) && defined(__GNUC__)
#define ATTEND_DISPATCH_X86 1
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#define ATTEND_DISPATCH_AARCH64 1
#include <sys/auxv.h>
#endif

namespace attend::inline ATTEND_ABI::detail {

/// The level that this source is compiled for; "build" where the switches are those of none.
constexpr std::string_view compiled_level() {
#if defined(__AVX512BF16__) && (defined(__AMX_BF16__) || defined(__AMXBF16__))
    return "amx";
#elif defined(__AVX512BF16__)
    return "avx512_bf16";
#elif defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512CD__)
    return "avx512";
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && !defined(__AVX512F__)
    return "avx2";
#elif defined(__x86_64__) && !defined(__SSE3__)
    return "sse2";
#elif defined(__aarch64__) && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return "neon_bf16";
#elif defined(__aarch64__)
    return "neon";
#else
    return "build";
#endif
}

#if defined(ATTEND_DISPATCH_X86)
/// What x86-64 processors tell of themselves, and which registers the system keeps for them.
class X86 {
public:
    X86() {
        ask(1, 0, basic_);
        ask(7, 0, extended_);
        if (extended_.eax >= 1) ask(7, 1, more_);
        ask(0x80000001, 0, of_amd_);
        if (!has(basic_.ecx, 27)) return;  // no system that keeps more than SSE's registers
        std::uint32_t low = 0, high = 0;
        asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        kept_ = low;
    }
    bool avx2() const {
        return all(kept_, {1, 2}) && all(basic_.ecx, {0, 9, 12, 13, 19, 20, 22, 23, 28, 29}) &&  // SSE, FMA, AVX, F16C
               all(extended_.ebx, {3, 5, 8}) && has(of_amd_.ecx, 5);                             // BMI, AVX2, LZCNT
    }
    bool avx512() const { return avx2() && all(kept_, {5, 6, 7}) && all(extended_.ebx, {16, 17, 28, 30, 31}); }
    bool avx512_bf16() const { return avx512() && has(more_.eax, 5); }
    /// Asks the system for leave to use the tiles.
    bool amx() const {
#if defined(__linux__) && defined(SYS_arch_prctl)
        constexpr int request_permission = 0x1023, tile_data = 18;
        return avx512_bf16() && all(kept_, {17, 18}) && all(extended_.edx, {22, 24}) &&
               syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
        return false;
#endif
    }

private:
    struct Registers {
        std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    };
    static void ask(std::uint32_t leaf, std::uint32_t part, Registers& r) {
        if (__get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) r = {};
    }
    static bool has(std::uint32_t bits, int bit) { return (bits >> bit & 1) != 0; }
    static bool all(std::uint32_t bits, std::initializer_list<int> wanted) {
        for (const int bit : wanted) {
            if (!has(bits, bit)) return false;
        }
        return true;
    }

    Registers basic_, extended_, more_, of_amd_;
    std::uint32_t kept_ = 0;
};
#endif

#if defined(ATTEND_DISPATCH_AARCH64)
/// Whether the system tells that the processor has what GCC and Clang may use for -march=armv8.2-a+bf16.
inline bool aarch64_bf16() {
    constexpr unsigned long crc32 = 1UL << 7, atomics = 1UL << 8, multiply_and_double = 1UL << 12,
                            persistence = 1UL << 16, all = crc32 | atomics | multiply_and_double | persistence;
    constexpr unsigned long bf16 = 1UL << 14;  // in the second word
    return (getauxval(AT_HWCAP) & all) == all && (getauxval(AT_HWCAP2) & bf16) != 0;
}
#endif

/// Whether code of a level runs here.
inline bool processor_has([[maybe_unused]] std::string_view level) {
#if defined(ATTEND_DISPATCH_X86)
    const X86 processor;
    if (level == "avx2") return processor.avx2();
    if (level == "avx512") return processor.avx512();
    if (level == "avx512_bf16") return processor.avx512_bf16();
    if (level == "amx") return processor.amx();
#elif defined(ATTEND_DISPATCH_AARCH64)
    if (level == "neon_bf16") return aarch64_bf16();
#endif
    return true;
}

/// A level that a library was built with, and its calls by scalar type.
struct BuiltLevel {
    const char* name;
    const boundary::Calls* (*calls[boundary::scalars])();
};

/// That which `wanted` names, or of none the last that the processor has. Throws where there is no such.
inline const BuiltLevel& choose_level(std::span<const BuiltLevel> levels, const char* wanted) {
    const BuiltLevel* last = nullptr;
    std::string there, lacking;
    const auto add = [](std::string& names, const char* name) { names.append(names.empty() ? "" : ", ").append(name); };
    for (const BuiltLevel& level : levels) {
        const bool runs = processor_has(level.name);
        add(runs ? there : lacking, level.name);
        if (runs && (wanted == nullptr || std::string_view(wanted) == level.name)) last = &level;
    }
    if (last == nullptr)
        refuse("ATTEND_LEVEL is ", wanted == nullptr ? "not set" : wanted, ", but there is ",
               there.empty() ? "no level at all" : there, lacking.empty() ? "" : "; this processor lacks ", lacking);
    return *last;
}
/// The same by the environment; an empty variable names none.
inline const BuiltLevel& choose_level(std::span<const BuiltLevel> levels) {
    const char* const wanted = std::getenv("ATTEND_LEVEL");
    return choose_level(levels, wanted == nullptr || *wanted == '\0' ? nullptr : wanted);
}

}  // namespace attend::detail
