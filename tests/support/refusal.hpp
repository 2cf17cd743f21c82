#pragma once
/// \file
/// What a call is refused with.

#include <stdexcept>
#include <string>

namespace attend::test {

/// The text of the `Exception` that `f` throws, without the library's name in front; nothing if it throws none.
template <class Exception = std::invalid_argument, class F>
std::string refusal(const F& f) {
    const std::string prefix = "attend: ";
    try {
        f();
    } catch (const Exception& error) {
        const std::string text = error.what();
        return text.starts_with(prefix) ? text.substr(prefix.size()) : "not by the library: " + text;
    }
    return "";
}

}  // namespace attend::test
