// Several values of one type, parameter by parameter.
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <attend/attend.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_parameters_in_step {
namespace {

/// Parameters of all kinds, more than are walked at a time.
template <class T>
struct Model {
    std::vector<MultiHeadAttention<T>> layers;
    std::map<std::string, Eigen::Matrix<T, 2, 3>> heads;
    std::tuple<ColumnVector<T>, double> rest{ColumnVector<T>(4), 0.5};
    std::vector<float> numbers = std::vector<float>(30, 1.f);

    explicit Model(Random& random, std::size_t depth = 5)
        : layers(depth, MultiHeadAttention<T>({.d_model = 4, .heads = 2})) {
        heads["a"].setZero(), heads["b"].setZero();
        visit_parameters(*this, [&](std::string_view, auto& matrix) { fill(random, matrix); });
    }

    template <class M>
    static void fill(Random& random, M& matrix) {
        for (Index i = 0; i < matrix.size(); ++i) matrix(i) = static_cast<typename M::Scalar>(random.uniform() - 0.5);
    }
    static void parameters(auto& self, auto&& visit) {
        visit("layers", self.layers), visit("heads", self.heads), visit("rest", self.rest);
        visit("numbers", self.numbers);
    }
};

/// Name and numbers of every parameter, by a visit of this value alone.
template <class Value>
std::vector<std::pair<std::string, RowMatrix<double>>> listed(const Value& value) {
    std::vector<std::pair<std::string, RowMatrix<double>>> all;
    visit_parameters(value, [&](std::string_view name, const auto& matrix) {
        all.emplace_back(name, matrix.template cast<double>());
    });
    return all;
}

}  // namespace

TEST_CASE("values in step show the parameters that each shows by itself") {
    Random random(1);
    for (const std::size_t depth : {0u, 1u, 4u, 9u}) {
        Model<float> a(random, depth);
        const Model<float> b(random, depth);
        Model<float> c(random, depth), d(random, depth);
        const auto of_a = listed(a), of_b = listed(b), of_c = listed(c), of_d = listed(d);
        CHECK(of_a.size() == 8 * depth + 34);
        std::size_t i = 0;
        visit_parameters(a, b, c, d, [&](std::string_view name, auto& x, const auto& y, auto& z, const auto& w) {
            INFO(name);
            CHECK(of_a[i].first == name);
            CHECK(same_bits(of_a[i].second, x.template cast<double>()));
            CHECK(same_bits(of_b[i].second, y.template cast<double>()));
            CHECK(same_bits(of_c[i].second, z.template cast<double>()));
            CHECK(same_bits(of_d[i].second, w.template cast<double>()));
            static_assert(std::is_same_v<decltype(x), decltype(z)>);
            ++i;
        });
        CHECK(i == of_a.size());
    }
}

TEST_CASE("containers are entered by number, maps by key") {
    Random random(2);
    const auto all = listed(Model<double>(random, 2));
    CHECK(all[0].first == "layers.0.query_weight");
    CHECK(all[8].first == "layers.1.query_weight");
    CHECK(all[16].first == "heads.a");
    CHECK(all[17].first == "heads.b");
    CHECK(all[18].first == "rest.0");
    CHECK(all[19].first == "rest.1");
    CHECK(all[49].first == "numbers.29");
    std::vector<Eigen::MatrixXf> matrices(2, Eigen::MatrixXf::Ones(2, 2));
    visit_parameters(matrices, [](std::string_view, auto& matrix) { matrix *= 3; });
    CHECK(matrices[1](1, 1) == 3);
}

TEST_CASE("a step of descent in step is that of each parameter by itself") {
    Random random(3);
    Model<double> model(random);
    const Model<double> gradient(random);
    Model<double> moment = zero_gradient(model);
    const auto before = listed(model), slopes = listed(gradient);
    visit_parameters(model, gradient, moment, [](std::string_view, auto& w, const auto& g, auto& m) {
        using T = typename std::remove_reference_t<decltype(w)>::Scalar;
        m = T(0.5) * m + g;
        w -= T(0.25) * m;
    });
    const auto after = listed(model);
    for (std::size_t i = 0; i < after.size(); ++i) {
        INFO(after[i].first);
        CHECK((after[i].second - (before[i].second - 0.25 * slopes[i].second)).cwiseAbs().maxCoeff() <= 0x1p-25);
    }
}

TEST_CASE("values of other structure are refused before the first visit") {
    Random random(4);
    bool visited = false;
    const auto refused = [&](auto& a, auto& b, auto& c) {
        return refusal([&] { visit_parameters(a, b, c, [&](std::string_view, auto&...) { visited = true; }); });
    };
    MultiHeadAttention<float> block({.d_model = 8, .heads = 2}), wider({.d_model = 6, .heads = 2}),
        bare({.d_model = 8, .heads = 2, .bias = false});
    CHECK(refused(block, wider, block) ==
          "visit_parameters: value 2: query_weight (6x6) must be 8x8, as the parameter is in the first value");
    CHECK(refused(block, block, wider) ==
          "visit_parameters: value 3: query_weight (6x6) must be 8x8, as the parameter is in the first value");
    CHECK(refused(block, block, bare) == "visit_parameters: value 3: has 4 parameters for 8 in the first value");
    CHECK(refused(bare, block, bare) == "visit_parameters: value 2: has 8 parameters for 4 in the first value");
    Model<float> two(random, 2), three(random, 3);
    CHECK(refused(three, three, two) ==
          "visit_parameters: value 3: heads.a (2x3) must be 4x4, as the parameter is in the first value");
    CHECK_FALSE(visited);
}

TEMPLATE_TEST_CASE("an average moves by its rate towards the value", "", float, double, Eigen::half, Eigen::bfloat16) {
    Random random(5);
    Model<TestType> average(random);
    const Model<TestType> value(random);
    const auto before = listed(average), wanted = listed(value);
    average_parameters(average, value, 0.25);
    const auto after = listed(average);
    // Numbers below 1/2 are rounded by 1/8 of a scalar's epsilon at most; before that in float, below 1.
    const double bound = std::ldexp(1.0, -2 - std::numeric_limits<TestType>::digits) + 0x1p-25;
    for (std::size_t i = 0; i < after.size(); ++i) {
        INFO(after[i].first);
        const RowMatrix<double> right = 0.75 * before[i].second + 0.25 * wanted[i].second;
        CHECK((after[i].second - right).cwiseAbs().maxCoeff() <= bound);
    }
}

TEST_CASE("an average of rate 1/t is the mean, of rate 0 stays, and of its own value too, to the bit") {
    Random random(6);
    std::vector<Model<double>> values;
    for (int t = 0; t < 5; ++t) values.emplace_back(random);
    Model<double> average = values[0];
    for (int t = 1; t < 5; ++t) average_parameters(average, values[static_cast<std::size_t>(t)], 1.0 / (t + 1));
    const auto means = listed(average);
    for (std::size_t i = 0; i < means.size(); ++i) {
        RowMatrix<double> sum = listed(values[0])[i].second;
        for (std::size_t t = 1; t < 5; ++t) sum += listed(values[t])[i].second;
        INFO(means[i].first);
        CHECK((means[i].second - sum / 5).cwiseAbs().maxCoeff() <= 4 * 0x1p-25);
    }
    const auto same = [](const auto& a, const auto& b) {
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (!same_bits(a[i].second, b[i].second)) return false;
        }
        return a.size() == b.size();
    };
    average_parameters(average, values[0], 0);
    CHECK(same(listed(average), means));
    const Model<double> copy = average;
    average_parameters(average, copy, 0.3);
    CHECK(same(listed(average), means));
}

TEST_CASE("what cannot be averaged is refused before anything is written") {
    Random random(7);
    Model<float> average(random, 2);
    const Model<float> value(random, 2);
    const auto before = listed(average);
    for (const double rate : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
        CHECK(refusal([&] {
                  average_parameters(average, value, rate);
              }).starts_with("average_parameters: the rate must be from 0 to 1, got "));
    CHECK(refusal([&] { average_parameters(average, average, 0.5); }) ==
          "average_parameters: layers.0.query_weight of the average is the value's own memory");
    MultiHeadAttention<float> block({.d_model = 8, .heads = 2});
    const MultiHeadAttention<float> wider({.d_model = 6, .heads = 2});
    CHECK(refusal([&] { average_parameters(block, wider, 0.5); }) ==
          "average_parameters: average: query_weight (8x8) must be 6x6, as the parameter is: begin with a copy of the "
          "value");
    const auto after = listed(average);
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(same_bits(after[i].second, before[i].second));
}

}  // namespace test_parameters_in_step
