#include <attend/attend.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/plain.hpp>
#include <support/scores.hpp>

using namespace attend;
using namespace attend::test;

namespace test_attention {
namespace {

/// A user's parts: the library knows them only by core/concepts.hpp.
namespace user {

/// s = Σ_a weight_a q_a k_a, with a parameter.
struct WeighedProduct {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::elementwise;

    Eigen::VectorXd weight;

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight); }
    void check(const Shape& shape) const {
        attend::detail::require(shape.d_q == weight.size() && shape.d_k == weight.size(), "weighed product: needs ",
                                weight.size(), " features");
    }
    template <class X>
    X pair(const X& q, const X& k, Index a) const {
        return X(weight[a]) * q * k;
    }
    void pair_backward(std::floating_point auto q, std::floating_point auto k, Index a, std::floating_point auto ds,
                       WeighedProduct& gradient) const {
        gradient.weight[a] += static_cast<double>(ds * q * k);
    }
};

/// s + shift · s², with a parameter.
struct Bend {
    static constexpr Kind kind = Kind::modifier;

    double shift = 0;

    static void parameters(auto& self, auto&& visit) { visit("shift", self.shift); }
    auto operator()(auto s, auto) const { return s + decltype(s)(shift) * s * s; }
    template <class T, class P>
    void backward(T s, const P&, T ds_out, Bend& gradient) const {
        gradient.shift += static_cast<double>(sum(ds_out * s * s));
    }
};

/// Keeps the pairs of one colour of a chessboard.
struct Chessboard {
    static constexpr Kind kind = Kind::mask;

    bool operator()(const Position& p) const { return (p.query + p.key) % 2 == 0; }
};

/// p = relu(s) / n (Wortsman et al. 2023), with a temperature.
struct MeanRelu {
    static constexpr Kind kind = Kind::normalizer;

    double temperature = 1;

    static void parameters(auto& self, auto&& visit) { visit("temperature", self.temperature); }
    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        const T factor = static_cast<T>(temperature) / static_cast<T>(row.size());
        for (T& s : row) s = s > T(0) ? factor * s : T(0);
        return T(0);
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T, const RowPosition&, MeanRelu* gradient) const {
        const T factor = static_cast<T>(temperature) / static_cast<T>(p.size());
        for (std::size_t j = 0; j < p.size(); ++j) {
            if (gradient != nullptr && p[j] > T(0))
                gradient->temperature += static_cast<double>(dp[j] * p[j]) / temperature;
            dp[j] = p[j] > T(0) ? factor * dp[j] : T(0);
        }
    }
};

/// A softmax with a learned temperature.
struct Tempered {
    static constexpr Kind kind = Kind::normalizer;

    double temperature = 1;

    static void parameters(auto& self, auto&& visit) { visit("temperature", self.temperature); }
    template <class T>
    T normalize(std::span<T> row, const RowPosition&) const {
        T largest = -std::numeric_limits<T>::infinity();
        for (T& s : row) largest = std::max(largest, s *= static_cast<T>(temperature));
        const T sum = exponentials(row, largest);
        for (T& p : row) p /= std::max(sum, std::numeric_limits<T>::min());
        return largest + std::log(sum);
    }
    template <class T>
    void backward(std::span<const T> p, std::span<T> dp, T lse, const RowPosition&, Tempered* gradient) const {
        T delta = 0;
        for (std::size_t j = 0; j < p.size(); ++j) delta += p[j] * dp[j];
        for (std::size_t j = 0; j < p.size(); ++j) {
            const T ds = p[j] * (dp[j] - delta);
            if (gradient != nullptr && p[j] > T(0))
                gradient->temperature += static_cast<double>(ds * (std::log(p[j]) + lse)) / temperature;
            dp[j] = ds * static_cast<T>(temperature);
        }
    }
};

}  // namespace user
}  // namespace

TEST_CASE("composition is a type") {
    using Capped = Modifiers<SoftCap, Alibi<double>>;
    STATIC_REQUIRE(std::is_same_v<decltype(scaled_dot_product >> soft_cap(30.f) >> alibi(0.1f) >> causal >> sparsemax),
                                  Attention<ScaledDotScore, Capped, Causal, Sparsemax>>);
    STATIC_REQUIRE(
        std::is_same_v<decltype(dot_product >> causal >> softmax), Attention<DotScore, Modifiers<>, Causal, Softmax>>);
    STATIC_REQUIRE(std::is_same_v<decltype(dot_product >> (causal | prefix(2))),
                                  Attention<DotScore, Modifiers<>, MaskOr<Causal, Prefix>, DefaultSoftmax>>);
    STATIC_REQUIRE(std::is_same_v<decltype(ScaledDotScore(0.5) >> causal), decltype(scaled_dot_product >> causal)>);
    STATIC_REQUIRE(std::is_same_v<decltype(Attention(DotScore())), DotProductAttention>);
}

TEST_CASE("attentions without run-time parts compose at compile time") {
    constexpr auto attention = cosine(4.0) >> causal >> softmax;
    STATIC_REQUIRE(attention.scale == 4.0);
    STATIC_REQUIRE_FALSE(attention.mask({.query = 1, .key = 2}));
}

TEST_CASE("composing leaves the attention that it starts from as it was") {
    const GeneralAttention<double> general(3, 3, 1);
    const auto capped = general >> soft_cap(2.0);
    auto changed = capped >> causal;
    changed.weight.setZero();
    std::get<0>(changed.modifiers.each).cap = 9.0;
    CHECK(capped.weight == general.weight);
    CHECK(std::get<0>(capped.modifiers.each).cap == 2.0);
}

TEST_CASE("a second mask narrows the first") {
    const Operands<double> x = random_operands({.queries = 6, .keys = 6}, 1);
    CHECK(first_difference(forward(dot_product >> causal >> sliding_window(3), x),
                           forward(dot_product >> (causal & sliding_window(3)), x)) == "");
}

TEST_CASE("softmax is what an attention does when no normalizer is given") {
    const Operands<double> x = random_operands({.queries = 6, .keys = 6}, 2);
    CHECK(first_difference(forward(dot_product >> causal >> softmax, x), forward(dot_product >> causal, x)) == "");
}

TEST_CASE("the ready-made attentions are softmax attentions of their scores") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 3);
    const auto check = [&](const auto& attention) {
        const auto scores = scores_of(attention, x.q, x.k);
        const auto expected = plain_attention(4, x.v, [&](Index i, Index j) { return scores(i, j); });
        CHECK(distance(attention(x.q, x.k, x.v), expected.out) < 1e-14);
    };
    check(dot_product);
    check(scaled_dot_product);
    check(cosine(3.0));
    check(GeneralAttention<double>(3, 3, 1));
    check(AdditiveAttention<double>(3, 3, 4, 1));
}

TEST_CASE("the example of V = [[1,2],[3,4],[5,6]] and q = [1,2]") {
    const Eigen::MatrixXd v{{1, 2}, {3, 4}, {5, 6}};
    const Eigen::RowVectorXd q{{1, 2}};
    Eigen::RowVectorXd weights, out;
    dot_product(q, v, v, out, {.weights = weights});
    const double sum = 1 + std::exp(-6.0) + std::exp(-12.0);  // scores 5, 11, 17
    CHECK(distance(weights, Eigen::RowVector3d(std::exp(-12.0), std::exp(-6.0), 1.0) / sum) < 1e-15);
    CHECK(distance(out, weights * v) < 1e-15);
}

TEST_CASE("a user's parts compute, train and compose with the library's") {
    const user::WeighedProduct product{Eigen::Vector3d(0.5, -1.0, 2.0)};
    const Layout layout{.queries = 4, .keys = 6, .heads = 2, .kv_heads = 1};
    const Operands<double> x = random_operands(layout, 4);
    check_gradients(product >> user::Bend{0.3} >> soft_cap(3.0) >> (causal | user::Chessboard{}), x);
    check_gradients(dot_product >> user::Chessboard{} >> user::MeanRelu{0.7}, x);
    check_gradients(dot_product >> user::Chessboard{} >> user::Tempered{0.7}, x);

    const Operands<double> one = random_operands({.queries = 4, .keys = 6}, 5);
    const auto y = forward(product >> user::Bend{0.3} >> user::Chessboard{}, one);
    const auto expected = plain_attention(4, one.v, [&](Index i, Index j) {
        const double s = (one.q.row(i).array() * one.k.row(j).array() * product.weight.transpose().array()).sum();
        return (i + j) % 2 == 0 ? s + 0.3 * s * s : -std::numeric_limits<double>::infinity();
    });
    CHECK(distance(y.out, expected.out) < 1e-14);
    CHECK_THROWS_WITH(
        (product >> causal)(RowMatrix<double>(one.q.leftCols(2)), RowMatrix<double>(one.k.leftCols(2)), one.v),
        "attend: weighed product: needs 3 features");
}

TEST_CASE("a user's normalizer decides the weights") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 6}, 6);
    const auto y = forward(dot_product >> user::MeanRelu{}, x);
    CHECK(distance(y.weights, (x.q * x.k.transpose()).cwiseMax(0.0) / 6.0) < 1e-15);
    const auto tempered = forward(dot_product >> user::Tempered{0.7}, x),
               scaled = forward(dot_product >> scale(0.7), x);
    CHECK(distance(tempered.weights, scaled.weights) < 1e-15);
}

}  // namespace test_attention
