#pragma once
/// \file
/// Packets: as many scalars as one register holds.
///
/// - `simd_packets.hpp`: `Packet<T>`, and what takes an instruction or two. Eigen's (`simd_eigen_packets.hpp`), or on
///   WebAssembly the compiler's (`simd_gnu_packets.hpp`).
/// - `simd_partial.hpp`: loads and stores of the first lanes only.
/// - `simd_arithmetic.hpp`: quotients, roots, tanh.
/// - `simd_bits.hpp`: integers as wide as lanes, truths as bits.
/// - `simd_lanes.hpp`: the bits of lanes, and from lane to lane. By vectors of GCC and Clang (`simd_gnu_lanes.hpp`), or
///   without (`simd_plain_lanes.hpp`).
/// - `simd_sums.hpp`, `simd_transpose.hpp`: sums of lanes, rows and groups; rows into columns.

// GCC 12 takes the undefined lanes inside its own AVX-512 intrinsics for uninitialised variables of their callers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

#include <attend/core/simd_arithmetic.hpp>
#include <attend/core/simd_bits.hpp>
#include <attend/core/simd_lanes.hpp>
#include <attend/core/simd_packets.hpp>
#include <attend/core/simd_partial.hpp>
#include <attend/core/simd_sums.hpp>
#include <attend/core/simd_transpose.hpp>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
