#pragma once
/// \file
/// The conformance cases of whole blocks, where they are present beside this project.

#include <filesystem>
#include <string_view>

#include <support/catch.hpp>
#include <support/conformance.hpp>

namespace attend::test {

inline std::filesystem::path block_cases() { return ATTEND_TEST_ONNX_DIR "/../blocks"; }

/// Whether they are there; says so where they are not.
inline bool has_block_cases() {
    const bool has = std::filesystem::exists(block_cases());
    if (!has) WARN("NOT RUN: ../shared/conformance/blocks is not present");
    return has;
}

/// Calls `f(case, file)` for those of an operator, `least` at least, with the path of the safetensors file that may
/// stand beside a case.
template <class F>
void for_each_block_case(std::string_view op, int least, F&& f) {
    if (!has_block_cases()) return;
    int cases = 0;
    for (const Case& c : read_cases(block_cases())) {
        if (c.op != op) continue;
        ++cases;
        f(c, block_cases() / (c.name + ".safetensors"));
    }
    CHECK(cases >= least);
}

}  // namespace attend::test
