#pragma once
/// \file
/// What packets do with the bits of their lanes and from lane to lane: by the compiler's own vectors where it has such.

#include <attend/core/simd_gnu_lanes.hpp>
#include <attend/core/simd_plain_lanes.hpp>
