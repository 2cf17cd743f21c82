#pragma once
/// \file
/// The types of numbers that tensor files hold, and their bytes.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <type_traits>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// How many bits a number of that type takes; 0: no type that the format knows.
inline int bits_of_tensor_type(std::string_view type) {
    struct Type {
        std::string_view name;
        int bits;
    };
    static constexpr std::array types{Type{"F64", 64},    Type{"F32", 32},    Type{"F16", 16},    Type{"BF16", 16},
                                      Type{"C64", 64},    Type{"I64", 64},    Type{"I32", 32},    Type{"I16", 16},
                                      Type{"I8", 8},      Type{"U64", 64},    Type{"U32", 32},    Type{"U16", 16},
                                      Type{"U8", 8},      Type{"BOOL", 8},    Type{"F8_E4M3", 8}, Type{"F8_E5M2", 8},
                                      Type{"F8_E8M0", 8}, Type{"F6_E2M3", 6}, Type{"F6_E3M2", 6}, Type{"F4", 4}};
    for (const Type& known : types) {
        if (known.name == type) return known.bits;
    }
    return 0;
}

/// The type of the numbers of an attention's parameters.
template <class T>
constexpr std::string_view tensor_type_of() {
    constexpr bool known = std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, Eigen::half> ||
                           std::is_same_v<T, Eigen::bfloat16>;
    static_assert(known, "attend: files hold parameters of double, float, Eigen::half or Eigen::bfloat16");
    if constexpr (std::is_same_v<T, double>) return "F64";
    if constexpr (std::is_same_v<T, float>) return "F32";
    if constexpr (std::is_same_v<T, Eigen::half>) return "F16";
    return "BF16";
}

/// Calls `f(S())` with the scalar of a type of floating-point numbers; false where it is another.
template <class F>
bool with_scalar_of_type(std::string_view type, const F& f) {
    if (type == tensor_type_of<double>()) return f(double()), true;
    if (type == tensor_type_of<float>()) return f(float()), true;
    if (type == tensor_type_of<Eigen::half>()) return f(Eigen::half()), true;
    if (type == tensor_type_of<Eigen::bfloat16>()) return f(Eigen::bfloat16()), true;
    return false;
}

/// A number from its bytes, the lowest first, and into them.
template <class S>
S from_little_endian(const char* bytes) {
    std::array<char, sizeof(S)> own;
    std::copy_n(bytes, sizeof(S), own.begin());
    if constexpr (std::endian::native == std::endian::big) std::reverse(own.begin(), own.end());
    S value;
    std::memcpy(&value, own.data(), sizeof(S));
    return value;
}
template <class S>
void to_little_endian(const S& value, char* bytes) {
    std::memcpy(bytes, &value, sizeof(S));
    if constexpr (std::endian::native == std::endian::big) std::reverse(bytes, bytes + sizeof(S));
}

}  // namespace attend
