#pragma once
/// \file
/// One program for every processor: calls by the widest instruction set that it has. Takes the library
/// `attend::dispatch` of CMake, in which they are compiled for each; all else of attend is headers alone.

#include <string_view>
#include <utility>

#include <attend/dispatch/calls.hpp>

namespace attend::inline ATTEND_ABI {

/// An engine whose calls were compiled for several instruction sets, one of which is chosen when the program runs:
///
///     const auto attention = dispatched(scaled_dot_product >> causal);
///     attention(q, k, v, out, {.workspace = &workspace});
///
/// The same calls, options, errors and, on operands and on caches, the same bits as those of the attention without it
/// in a build for that instruction set. It serves dot_product and scaled_dot_product; soft_cap, alibi and bias(matrix),
/// in this order; every mask that does not list its keys; softmax and softmax_with_sink; of key sources a KvCache,
/// forward. Anything else does not compile; reductions (`.insight`) throw. Masks meet
/// the code that the header alone would have where they are causal, sliding_window, documents or lengths, or the first
/// two joined with one of the others by `&`; any other is asked packet by packet, out of line.
///
/// A level is an instruction set: x86-64 has "sse2", "avx2", "avx512", "avx512_bf16" and "amx", AArch64 on Linux "neon"
/// and "neon_bf16". The environment variable ATTEND_LEVEL, read by the first call, names one, of which it throws
/// `std::invalid_argument` where the processor or the library has it not.
struct Dispatched : detail::DispatchedCalls {
    auto spelled(const auto& say) const { return say("dispatched"); }

    /// `attention >> dispatched`, which is another way to write it.
    template <class A>
        requires OfKind<A, Kind::attention>
    constexpr auto operator()(A attention) const {
        static_cast<void>(detail::is_described<A>());
        return std::move(attention) >> *this;
    }
};
/// `dispatched(attention)`, or `attention >> dispatched`.
inline constexpr Dispatched dispatched{};

/// The name of the instruction set by which dispatched calls go here. Throws as these do.
inline std::string_view dispatch_level() { return attend_dispatch_level(); }

}  // namespace attend
