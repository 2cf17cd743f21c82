#pragma once
/// \file
/// The packets of this build: Eigen's, or the compiler's where Eigen has none.

#include <attend/core/simd_eigen_packets.hpp>
#include <attend/core/simd_gnu_packets.hpp>
