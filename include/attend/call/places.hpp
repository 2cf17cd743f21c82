#pragma once
/// \file
/// Where in memory the operands and outputs of a call stand, by name: what it writes has memory of its own.

#include <string_view>

#include <attend/core/errors.hpp>
#include <attend/core/output.hpp>
#include <attend/core/overlap.hpp>
#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

template <class T>
constexpr Named named(std::string_view name, const StridedView<T>& v) {
    return {name, {v.sequences, v.heads, v.rows, v.columns}};
}

template <class T, class X>
[[noreturn]] void refuse_alias(std::string_view output_name, const StridedView<T>& output, std::string_view input_name,
                               const StridedView<X>& input) {
    refuse(named(output_name, output), " aliases ", named(input_name, input),
           ": give the call memory of its own to write to");
}
/// An operand or an output of a call by its name, and where its memory stands: found once for all comparisons.
template <class T>
struct Place {
    const StridedView<T>& view;
    std::string_view name;
    Reach reach;
    const void* object = nullptr;  ///< of an output: the matrix that may be resized

    Place(const StridedView<T>& view_, std::string_view name_) : view(view_), name(name_), reach(view_) {}
    Place(const Output<T>& output, std::string_view name_)
        : view(output.given()), name(name_), reach(output.given()), object(output.object()) {}
};
template <class T>
Place(const Output<T>&, std::string_view) -> Place<T>;

/// Throws where an output shares memory with what else the call reads or writes.
template <class T, class X>
ATTEND_ALWAYS_INLINE inline void require_apart(const Place<T>& output, const Place<X>& other) {
    if (output.reach.meets(other.reach) && footprints_may_overlap(output.view, other.view))
        refuse_alias(output.name, output.view, other.name, other.view);
    // Two outputs that are one empty matrix have no memory yet; the second resize would free that of the first.
    if (output.object != nullptr && output.object == other.object)
        refuse_alias(output.name, output.view, other.name, other.view);
}

}  // namespace attend::detail
