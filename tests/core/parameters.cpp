#include <string>
#include <vector>

#include <attend/attend.hpp>
#include <support/catch.hpp>

using namespace attend;

namespace test_parameters {
namespace {

/// "name rows×columns" of every parameter, in order.
template <class Value>
std::vector<std::string> parameters_of(const Value& value) {
    std::vector<std::string> all;
    visit_parameters(value, [&](std::string_view name, const auto& matrix) {
        all.push_back(std::string(name) + ' ' + std::to_string(matrix.rows()) + 'x' + std::to_string(matrix.cols()));
    });
    return all;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("scores show their parameters under the names a checkpoint would use") {
    CHECK(parameters_of(dot_product).empty());
    CHECK(parameters_of(scaled_dot_product).empty());
    CHECK(parameters_of(score([](auto q, auto k) { return q * k; })).empty());
    CHECK(parameters_of(cosine(10)) == Names{"scale 1x1"});
    CHECK(parameters_of(GeneralAttention<float>(3, 5, 0)) == Names{"weight 3x5"});
    CHECK(parameters_of(AdditiveAttention<float>(3, 5, 7, 0)) ==
          Names{"query_weight 3x7", "key_weight 5x7", "bias 7x1", "score_weight 7x1"});
}

TEST_CASE("modifiers and normalizers show theirs behind the place where they stand, in the order of composition") {
    const auto attention = cosine(10) >> scale(2) >> soft_cap(30) >> modifier([](auto s, auto) { return s; }) >>
                           alibi(alibi_slopes(4)) >> alibi(0.5) >> bias(Eigen::MatrixXf::Zero(8, 6)) >>
                           relative_bias(Eigen::MatrixXf::Zero(32, 4)) >>
                           adaptive_span(Eigen::VectorXd::Constant(4, 9.0), 3.0) >> (causal & sliding_window(3)) >>
                           softmax_with_sink(Eigen::VectorXd::Zero(4));
    CHECK(parameters_of(attention) == Names{"scale 1x1", "modifiers.0.factor 1x1", "modifiers.1.cap 1x1",
                                            "modifiers.3.slope 4x1", "modifiers.4.slope 1x1", "modifiers.5.values 8x6",
                                            "modifiers.6.table 32x4", "modifiers.7.span 4x1", "normalizer.sink 4x1"});
    CHECK(parameters_of(dot_product >> causal >> sigmoid(-2)) == Names{"normalizer.bias 1x1"});
    CHECK(parameters_of(dot_product >> top_k(3)).empty());
}

TEST_CASE("a block shows its own parameters, then its attention's") {
    const AdditiveAttention<double> additive(4, 4, 6, 0);
    const Names weights{"query_weight 8x8", "key_weight 5x4", "value_weight 5x4", "output_weight 8x8"};
    const Names biases{"query_bias 8x1", "key_bias 4x1", "value_bias 4x1", "output_bias 8x1"};
    const Names inner{"attention.query_weight 4x6", "attention.key_weight 4x6", "attention.bias 6x1",
                      "attention.score_weight 6x1"};
    const auto joined = [](const std::vector<Names>& parts) {
        Names all;
        for (const Names& part : parts) all.insert(all.end(), part.begin(), part.end());
        return all;
    };
    MultiHeadShape shape{.d_model = 8, .heads = 2, .kv_heads = 1, .d_memory = 5};
    CHECK(parameters_of(MultiHeadAttention<double, AdditiveAttention<double>>(shape, additive)) ==
          joined({weights, biases, inner}));
    shape.bias = false;
    CHECK(parameters_of(MultiHeadAttention<double>(shape)) == weights);
}

TEST_CASE("visitors of a value that is not const write to it, scalars included") {
    auto attention =
        GeneralAttention<double>(2, 3, 0) >> scale(2) >> alibi(Eigen::Vector2d(1, 2)) >> softmax_with_sink(0.5);
    visit_parameters(attention, [](std::string_view, auto& matrix) { matrix.array() += 1; });
    CHECK(std::get<0>(attention.modifiers.each).factor == 3);
    CHECK(std::get<1>(attention.modifiers.each).slope == Eigen::Vector2d(2, 3));
    CHECK(attention.normalizer.sink == 1.5);
    CHECK(attention.weight == (GeneralAttention<double>(2, 3, 0).weight.array() + 1).matrix());
}

TEST_CASE("a zero gradient has the value's shapes, is 0, and keeps what is no parameter") {
    const auto attention =
        AdditiveAttention<float>(3, 5, 7, 1) >> adaptive_span(9.0, 3.0) >> causal >> softmax_with_sink(0.5);
    const auto gradient = zero_gradient(attention);
    static_assert(std::is_same_v<decltype(gradient), decltype(attention)>);
    CHECK(parameters_of(gradient) == parameters_of(attention));
    visit_parameters(gradient, [](std::string_view name, const auto& matrix) {
        INFO(name);
        CHECK(matrix.isZero(0));
    });
    CHECK(std::get<0>(gradient.modifiers.each).ramp == 3.0);
    CHECK_FALSE(attention.query_weight.isZero());

    const MultiHeadAttention<float> block({.d_model = 8, .heads = 2}, {}, 1);
    CHECK(parameters_of(zero_gradient(block)) == parameters_of(block));
    CHECK(zero_gradient(block).output_weight.isZero(0));
    CHECK(zero_gradient(block).shape().heads == 2);
}

}  // namespace test_parameters
