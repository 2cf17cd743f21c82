// The parameters of one value into another of other types.
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <attend/attend.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_assign_parameters {
namespace {

/// Parameters of all kinds, more than are walked at a time.
template <class T>
struct Model {
    std::vector<MultiHeadAttention<T>> layers;
    std::map<std::string, Eigen::Matrix<T, 2, 3, Eigen::RowMajor>> heads;
    std::tuple<ColumnVector<T>, double> rest{ColumnVector<T>::Zero(4), 0.5};
    std::vector<float> numbers = std::vector<float>(30, 1.f);

    explicit Model(std::size_t depth = 5) : layers(depth, MultiHeadAttention<T>({.d_model = 4, .heads = 2})) {
        heads["a"].setZero(), heads["b"].setZero();
    }
    static void parameters(auto& self, auto&& visit) {
        visit("layers", self.layers), visit("heads", self.heads), visit("rest", self.rest);
        visit("numbers", self.numbers);
    }
};

/// Other numbers in each parameter, so that one in another's place is seen.
template <class Value>
void fill(Value& value, std::uint64_t seed) {
    Random random(seed);
    visit_parameters(value, [&](std::string_view, auto& matrix) {
        for (Index i = 0; i < matrix.size(); ++i)
            matrix(i) = static_cast<typename std::remove_cvref_t<decltype(matrix)>::Scalar>(random.uniform() - 0.5);
    });
}
/// Names and numbers, as a visit of this value alone shows them.
template <class Value>
std::vector<std::pair<std::string, RowMatrix<double>>> listed(const Value& value) {
    std::vector<std::pair<std::string, RowMatrix<double>>> all;
    visit_parameters(value, [&](std::string_view name, const auto& matrix) {
        all.emplace_back(name, matrix.template cast<double>());
    });
    return all;
}

template <class T, class S>
void check_assigned(std::size_t depth) {
    Model<T> value(depth);
    Model<S> from(depth);
    fill(value, 1), fill(from, 2);
    const auto given = listed(from);
    assign_parameters(value, from);
    CHECK(listed(from) == given);
    std::size_t next = 0;
    visit_parameters(value, [&](std::string_view name, const auto& matrix) {
        using Scalar = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
        CHECK(given[next].first == name);
        // Numbers of S, once in double, are rounded by the conversion of one number.
        for (Index i = 0; i < matrix.rows(); ++i) {
            for (Index j = 0; j < matrix.cols(); ++j)
                CHECK(matrix(i, j) == static_cast<Scalar>(given[next].second(i, j)));
        }
        ++next;
    });
    CHECK(next == given.size());
}

}  // namespace

TEST_CASE("each parameter is that of the other value, rounded to its own scalar") {
    for (const std::size_t depth : {0u, 1u, 5u, 9u}) {
        check_assigned<Eigen::bfloat16, float>(depth);
        check_assigned<Eigen::half, float>(depth);
        check_assigned<float, Eigen::bfloat16>(depth);
        check_assigned<float, double>(depth);
        check_assigned<Eigen::half, Eigen::bfloat16>(depth);
        check_assigned<double, double>(depth);
    }
}

TEST_CASE("rounding is to nearest, ties to even, and to infinity beyond the range") {
    std::vector<float> numbers{1.f, 1.f + 0x1p-8f, 1.f + 3 * 0x1p-8f, 1.f + 0x1.8p-8f, -0.f, 1e-40f, 3.4e38f};
    std::vector<Eigen::bfloat16> rounded(numbers.size());
    assign_parameters(rounded, numbers);
    const std::vector<float> expected{1.f, 1.f, 1.f + 0x1p-6f, 1.f + 0x1p-7f, -0.f};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK(static_cast<float>(rounded[i]) == expected[i]);
        CHECK(std::signbit(static_cast<float>(rounded[i])) == std::signbit(expected[i]));
    }
    CHECK(std::isinf(static_cast<float>(rounded[6])));
    std::vector<Eigen::half> halves(2);
    assign_parameters(halves, std::vector<float>{65504.f, 1e6f});
    CHECK(static_cast<float>(halves[0]) == 65504.f);
    CHECK(std::isinf(static_cast<float>(halves[1])));
    assign_parameters(halves, std::vector<double>{std::numeric_limits<double>::quiet_NaN(), 1e-300});
    CHECK(std::isnan(static_cast<float>(halves[0])));
    CHECK(static_cast<float>(halves[1]) == 0.f);
}

TEST_CASE("matrices are assigned whatever their storage order and strides") {
    RowMatrix<float> all = RowMatrix<float>::Random(6, 10);
    std::vector<Eigen::Map<RowMatrix<float>, 0, Eigen::OuterStride<>>> from{
        {all.data(), 6, 4, Eigen::OuterStride<>(10)}};
    std::vector<Eigen::Matrix<Eigen::bfloat16, Eigen::Dynamic, Eigen::Dynamic>> columns(1);
    columns[0].resize(6, 4);
    assign_parameters(columns, from);
    std::vector<RowMatrix<Eigen::bfloat16>> rows(1, RowMatrix<Eigen::bfloat16>(6, 4));
    assign_parameters(rows, from);
    RowMatrix<Eigen::bfloat16> wide = RowMatrix<Eigen::bfloat16>::Zero(6, 10);
    std::vector<Eigen::Map<RowMatrix<Eigen::bfloat16>, 0, Eigen::OuterStride<>>> strided{
        {wide.data(), 6, 4, Eigen::OuterStride<>(10)}};
    assign_parameters(strided, from);
    for (Index i = 0; i < 6; ++i) {
        for (Index j = 0; j < 4; ++j) {
            const auto expected = static_cast<Eigen::bfloat16>(all(i, j));
            CHECK(columns[0](i, j) == expected);
            CHECK(rows[0](i, j) == expected);
            CHECK(wide(i, j) == expected);
        }
    }
    CHECK((wide.rightCols(6).cast<float>().array() == 0).all());
}

TEST_CASE("what does not fit is refused before anything is written") {
    Model<Eigen::bfloat16> value;
    fill(value, 1);
    const auto before = listed(value);
    Model<float> other(4);
    CHECK(refusal([&] { assign_parameters(value, other); }).find("assign_parameters: ") == 0);
    Model<float> shape;
    std::get<0>(shape.rest).resize(5);
    CHECK(refusal([&] { assign_parameters(value, shape); }) ==
          "assign_parameters: rest.0 (4x1) is 5x1 in the other value");
    Model<float> name;
    name.heads["c"] = name.heads["b"];
    name.heads.erase("b");
    CHECK(refusal([&] { assign_parameters(value, name); }) ==
          "assign_parameters: heads.b (2x3) stands where the other value has another parameter");
    Model<float> more;
    more.numbers.push_back(1);
    CHECK(refusal([&] { assign_parameters(value, more); }) == "assign_parameters: the other value has " +
                                                                  std::to_string(before.size() + 1) +
                                                                  " parameters for " + std::to_string(before.size()));
    Model<float> fewer;
    fewer.numbers.pop_back();
    CHECK(refusal([&] { assign_parameters(value, fewer); }).find("parameters for ") != std::string::npos);
    CHECK(listed(value) == before);
}

}  // namespace test_assign_parameters
