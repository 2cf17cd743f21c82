#pragma once
/// \file
/// The parameters of one value into those of another whose numbers are of other types: weights of float into a model of
/// 16 bits.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <variant>

#include <attend/core/errors.hpp>
#include <attend/core/parameters.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// A matrix of any scalar of the library, borrowed.
class AnyMatrix {
public:
    AnyMatrix() = default;
    template <class X>
    explicit AnyMatrix(const X& x) {
        using S = typename X::Scalar;
        constexpr bool known = std::is_same_v<S, float> || std::is_same_v<S, double> ||
                               std::is_same_v<S, Eigen::half> || std::is_same_v<S, Eigen::bfloat16>;
        static_assert(known, "attend: assign_parameters takes parameters of float, double, half and bfloat16");
        if constexpr (known) view_ = view_of<const S>(x.data(), x);
    }

    /// Each number rounded to the scalar of y, which has the same shape.
    template <class Y>
    void assign_to(Y& y) const {
        std::visit([&](const auto& view) { assign(view, y); }, view_);
    }

private:
    template <class Y>
    static void assign(std::monostate, Y&) {}
    template <class S, class Y>
    static void assign(const StridedView<const S>& from, Y& y) {
        using T = typename Y::Scalar;
        const auto rounded = [](const auto& x) { return x.template cast<Compute<S>>().template cast<T>(); };
        const StridedView<const T> to = view_of<const T>(y.data(), y);
        const Index lines = y.IsRowMajor ? y.cols() : y.rows();
        const bool one_piece = from.row_stride == to.row_stride && from.column_stride == to.column_stride &&
                               y.innerStride() == 1 && y.outerStride() == lines;
        if (one_piece) {  // packets of numbers
            Eigen::Map<ColumnVector<T>>(y.data(), y.size()) =
                rounded(Eigen::Map<const ColumnVector<S>>(from.data, y.size()));
        } else {
            y = rounded(Slice<const S>(from.data, from.rows, from.columns, {from.row_stride, from.column_stride}));
        }
    }

    std::variant<std::monostate, StridedView<const float>, StridedView<const double>, StridedView<const Eigen::half>,
                 StridedView<const Eigen::bfloat16>>
        view_;
};

/// What tells names apart, without the heap (FNV-1a).
inline std::uint64_t mark_of(const ParameterName& name) {
    std::uint64_t mark = name.part == nullptr ? 0xcbf29ce484222325U : mark_of(*name.part);
    for (const char c : name.own) mark = (mark ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return name.own.empty() ? mark : (mark ^ '.') * 0x100000001b3U;
}

/// Up to 32 parameters of a value at a time: two values are walked in step without the heap.
struct ParametersOfAnyType {
    struct Parameter {
        AnyMatrix matrix;
        Index rows = 0, columns = 0;
        std::uint64_t name = 0;
    };
    static constexpr Index at_once = 32;
    std::array<Parameter, at_once> parameters{};

    /// Of those from number `begin` on; returns how many the value has in all.
    template <class Value>
    Index note(const Value& value, Index begin) {
        Index i = 0;
        const auto each = [&](const ParameterName& name, const auto& matrix) {
            if (begin <= i && i < begin + at_once)
                parameters[static_cast<std::size_t>(i - begin)] = {AnyMatrix(matrix), matrix.rows(), matrix.cols(),
                                                                   mark_of(name)};
            ++i;
        };
        walk_parameters(value, {}, each);
        return i;
    }
};

/// Calls `f(matrix, parameter of the other, name)` for the parameters of `value` in step with those of `other`, as far
/// as there are such; returns how many each has.
template <class Value, class Other, class F>
std::array<Index, 2> walk_beside(Value& value, const Other& other, const F& f) {
    ParametersOfAnyType noted;
    std::array<Index, 2> counts{1, 1};
    for (Index begin = 0; begin < counts[0]; begin += ParametersOfAnyType::at_once) {
        counts[1] = noted.note(other, begin);
        Index i = 0;
        const auto each = [&](const ParameterName& name, auto& matrix) {
            if (begin <= i && i < begin + ParametersOfAnyType::at_once && i < counts[1])
                f(matrix, noted.parameters[static_cast<std::size_t>(i - begin)], name);
            ++i;
        };
        walk_parameters(value, {}, each);
        counts[0] = i;
    }
    return counts;
}

}  // namespace detail

/// value = from, parameter by parameter, of two values whose types may differ but for the names and shapes of their
/// parameters: each number rounded to the scalar that stands there, to infinity where it is beyond its range. So
/// weights of float, which a training moves by less than half a unit in the last place of 16 bits, get into the block
/// of 16 bits that computes: `assign_parameters(block, master)`, before each step. Throws `std::invalid_argument`,
/// before anything is written, where parameters differ in number, names or shapes. No heap; O(parameters).
template <class Value, class From>
void assign_parameters(Value& value, const From& from) {
    using Parameter = detail::ParametersOfAnyType::Parameter;
    const auto compare = [](const auto& matrix, const Parameter& other, const detail::ParameterName& name) {
        if (detail::mark_of(name) != other.name)
            detail::refuse("assign_parameters: ", detail::named(name.text(), matrix.rows(), matrix.cols()),
                           " stands where the other value has another parameter");
        if (matrix.rows() != other.rows || matrix.cols() != other.columns)
            detail::refuse("assign_parameters: ", detail::named(name.text(), matrix.rows(), matrix.cols()), " is ",
                           other.rows, "x", other.columns, " in the other value");
    };
    const auto [own, others] = detail::walk_beside(std::as_const(value), from, compare);
    detail::require(own == others, "assign_parameters: the other value has ", others, " parameters for ", own);
    detail::walk_beside(value, from, [](auto& matrix, const Parameter& other, const detail::ParameterName&) {
        other.matrix.assign_to(matrix);
    });
}

}  // namespace attend
