#pragma once
/// \file
/// What the code of the pages may name without saying where it comes from, and how its values are compared.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <Eigen/Dense>
#include <attend/attend.hpp>
#include <support/catch.hpp>

// A formula of a page may call its letters as the operands are called.
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wshadow"
#endif

namespace attend_readme {

/// The operands of a section: queries, keys, values and what a call leaves, as in the README's first program.
struct Operands {
    Eigen::MatrixXf q = Eigen::MatrixXf::Random(64, 32), k = Eigen::MatrixXf::Random(128, 32),
                    v = Eigen::MatrixXf::Random(128, 48);
    Eigen::MatrixXf out;
    attend::RowMatrix<float> x = Eigen::MatrixXf::Random(10, 64), memory = Eigen::MatrixXf::Random(20, 64), y;
};

/// And the letters of the formulas.
struct TableOperands : Operands {
    using Vector = Eigen::VectorXf;
    using Matrix = Eigen::MatrixXf;

    static constexpr attend::Index n = 128, m = 1, l = 16, r = 4, d = 32, D = 8, begin = 0;
    static constexpr attend::Index d_q = 32, d_k = 32, hidden = 16, d_model = 64;
    static constexpr std::uint64_t seed = 1;
    static constexpr float logit = 0.5f, z = 100.f, ramp = 32.f;
    Vector a = Vector::Random(64), b = Vector::Random(128), log_sizes = b, factors = Vector::Ones(8), centres = a;
    Matrix matrix = Matrix::Random(64, 128), table = Matrix::Random(32, 8), block_scores = Matrix::Random(10, 10);
    Eigen::Matrix<bool, Eigen::Dynamic, Eigen::Dynamic> keep = matrix.array() > 0, blocks = keep.topLeftCorner(1, 2);
    std::vector<double> frequencies = std::vector<double>(16, 0.1);
    Eigen::VectorXd positions = Eigen::VectorXd::LinSpaced(10, 0, 90);
    Matrix absorbed = Matrix::Random(2, 128 * 576), latents = Matrix::Random(20, 576);
};

/// A value in as many decimals as the page writes it with; text in its quotes.
template <class Value>
std::string as_in(std::string_view written, const Value& value) {
    if constexpr (std::is_same_v<Value, bool>) {
        return value ? "true" : "false";
    } else if constexpr (std::is_arithmetic_v<Value>) {
        const std::size_t point = written.find('.');
        const int decimals = point == std::string_view::npos ? 0 : static_cast<int>(written.size() - point - 1);
        char digits[64];
        std::snprintf(digits, sizeof digits, "%.*f", decimals, static_cast<double>(value));
        return digits;
    } else {
        return '"' + std::string(value) + '"';
    }
}

}  // namespace attend_readme
