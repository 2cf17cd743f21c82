// Stands before a source that is compiled as Microsoft's compiler would see it: with the macros of that one, and none
// of GCC's and Clang's, from behind the headers of the system and of Eigen on, which want their own.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <chrono>
#include <climits>
#include <cmath>
#include <compare>
#include <complex>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <istream>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <ostream>
#include <random>
#include <ranges>
#include <span>
#include <sstream>
#include <stdexcept>
#include <streambuf>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <Eigen/Core>

#undef __GNUC__
#undef __GNUC_MINOR__
#undef __clang__
#undef __x86_64__
#undef __linux__
#undef __F16C__
#undef __FMA__
#undef __cplusplus
#define __cplusplus 199711L
#define _MSC_VER 1938
#define _MSVC_LANG 202002L
#define _M_X64 100
#define _WIN32 1
#define _CPPUNWIND 1
