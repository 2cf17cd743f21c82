#pragma once
/// \file
/// What the golden tests share: the cases of an operator, and the comparison of results with a case.

#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/conformance.hpp>

namespace attend::test {

/// Operators with a program of their own. golden.attention takes every other case, and refuses what it does not know.
inline const std::set<std::string> other_golden_operators = {"alibi_slopes",
                                                             "coverage_attention",
                                                             "linear_attention",
                                                             "location_sensitive_attention",
                                                             "merge_state",
                                                             "multi_head",
                                                             "rope",
                                                             "t5_bucket"};

template <class Wanted>
std::vector<Case> golden_cases(Wanted wanted) {
    std::vector<Case> cases;
    for (Case& c : read_cases(ATTEND_TEST_GOLDEN_DIR "/data")) {
        if (wanted(c.op)) cases.push_back(std::move(c));
    }
    if (cases.empty()) throw std::runtime_error("no golden case to compare with");
    return cases;
}
inline std::vector<Case> golden_cases_of(const std::string& op) {
    return golden_cases([&](const std::string& name) { return name == op; });
}

inline double largest_finite(const RowMatrix<double>& x) {
    return x.array().isFinite().select(x.array().abs(), 0).maxCoeff();
}

/// The results of one case beside those that it expects.
class Comparison {
public:
    explicit Comparison(const Case& expected) : case_(expected) {}

    /// Of a tensor's largest entry. The files hold 14 digits, which leaves 5e-14 of an entry open, and results carry
    /// the inputs' share on: worst in seed_dot_product, whose dq is 1e-3 of the terms that cancel in it and comes
    /// out 1.1e-12 off.
    static constexpr double tolerance = 2e-12;

    template <class X>
    void check(const std::string& name, const X& actual) {
        const RowMatrix<double> expected = expect(name, actual.rows(), actual.cols());
        INFO(case_.name << ", " << name);
        CHECK(distance(actual, expected) <= tolerance * largest_finite(expected));
    }
    /// In float, at most twice as wrong as `naive_error`, which a plain float expression had, and one rounding.
    template <class X>
    void check_float(const std::string& name, const X& actual, double naive_error) {
        INFO(case_.name << ", " << name << " in float");
        CHECK(error(name, actual) <= 2 * naive_error + double{std::numeric_limits<float>::epsilon()} / 2);
    }
    /// The largest error, as a share of the tensor's largest entry.
    template <class X>
    double error(const std::string& name, const X& actual) {
        const RowMatrix<double> expected = expect(name, actual.rows(), actual.cols());
        const double apart = distance(actual, expected);
        return apart == 0 ? 0 : apart / largest_finite(expected);
    }
    /// No output of the case may have been left uncompared.
    void finish() const {
        CHECK_FALSE(case_.outputs.empty());
        for (const auto& [name, tensor] : case_.outputs) {
            INFO(case_.name << ", " << name);
            CHECK(compared_.count(name) == 1);
        }
    }

private:
    /// The output in the shape of what was computed: of a vector the file does not say whether it stands or lies.
    RowMatrix<double> expect(const std::string& name, Index rows, Index columns) {
        compared_.insert(name);
        RowMatrix<double> expected = case_.out(name).matrix<double>();
        if (expected.rows() == 1 && columns == 1) expected.transposeInPlace();
        INFO(case_.name << ", " << name);
        REQUIRE(expected.rows() == rows);
        REQUIRE(expected.cols() == columns);
        return expected;
    }

    const Case& case_;
    std::set<std::string> compared_;
};

}  // namespace attend::test
