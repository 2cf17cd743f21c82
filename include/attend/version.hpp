#pragma once

#include <string_view>

#define ATTEND_VERSION_MAJOR 0
#define ATTEND_VERSION_MINOR 2
#define ATTEND_VERSION_PATCH 0

namespace attend {

/// The library's version, "major.minor.patch"; CMake takes the package's version from the numbers above.
inline constexpr std::string_view version = "0.2.0";

}  // namespace attend
