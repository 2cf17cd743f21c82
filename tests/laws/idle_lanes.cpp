// Packets are filled up with lanes that hold no query. Whatever a formula makes of nothing there reaches no gradient.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_idle_lanes {
namespace {

/// Every gradient of the first rows alone, and beside more of them whose gradient of the output is 0.
template <class T, class A>
void check_rows_alone(const A& attention, Operands<T> x) {
    const Index most = x.q.rows();
    for (Index queries = 1; queries < most; ++queries) {
        CAPTURE(sizeof(T), queries);
        Operands<T> few = x, many = x;
        few.q = x.q.topRows(queries);
        few.dout = x.dout.topRows(queries);
        many.dout.bottomRows(most - queries).setZero();
        const auto alone = backward(attention, few), beside = backward(attention, many);
        const double tolerance = 64 * std::numeric_limits<T>::epsilon();
        const auto close = [&](const auto& a, const auto& b) {
            return distance(a, b) <= tolerance * (1 + magnitude(b));
        };
        CHECK(close(alone.dq, beside.dq.topRows(queries)));
        CHECK(close(alone.dk, beside.dk));
        CHECK(close(alone.dv, beside.dv));
        CHECK(close(parameters_of(alone.parameters), parameters_of(beside.parameters)));
    }
}

/// s = weight · Σ −q log(q / k), which is NaN where there is no query, and so is what its weight gets.
struct WeightedDivergence {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::elementwise;

    double weight = 0.7;

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight); }
    template <class X>
    X pair(const X& q, const X& k, Index) const {
        using std::log;
        return X(weight) * (-q * log(q / k));
    }
    template <class X>
    void pair_backward(const X& q, const X& k, Index, const X& ds, WeightedDivergence& gradient) const {
        using std::log;
        gradient.weight += static_cast<double>(sum(-ds * q * log(q / k)));
    }
};

/// s ↦ strength · log(s), for scores above 0.
struct Logarithm {
    static constexpr Kind kind = Kind::modifier;

    double strength = 0.8;

    static void parameters(auto& self, auto&& visit) { visit("strength", self.strength); }
    auto operator()(auto s, auto) const {
        using std::log;
        return decltype(s)(strength) * log(s);
    }
    template <class S, class P>
    void backward(S s, const P&, S ds_out, Logarithm& gradient) const {
        using std::log;
        gradient.strength += static_cast<double>(sum(ds_out * log(s)));
    }
};

template <class T>
Operands<T> positive_operands(Index queries, Index query_offset = 0) {
    Operands<T> x = random_operands<T>({.queries = queries, .keys = 5, .query_offset = query_offset}, 2);
    x.q = (x.q.array().abs() + T(0.1)).matrix();
    x.k = (x.k.array().abs() + T(0.1)).matrix();
    return x;
}

template <class T>
Operands<T> with_a_masked_nan(Index queries) {
    Operands<T> x = positive_operands<T>(queries);
    x.k.row(3).setConstant(std::numeric_limits<T>::quiet_NaN());
    x.v.row(3).setConstant(std::numeric_limits<T>::quiet_NaN());
    return x;
}

/// A causal mask hides nothing from queries that stand behind all keys.
constexpr Index behind_all_keys = 5;

}  // namespace

// Each composition takes seconds to compile for each scalar, so that it has one: nothing here depends on which.

TEST_CASE("a score that is undefined at 0 trains on any number of queries") {
    const auto divergence = score([](auto q, auto k) { return -q * log(q / k); });
    check_rows_alone(divergence >> causal >> sigmoid(-1.0), positive_operands<float>(19));
    check_rows_alone(divergence >> causal >> sigmoid(-1.0), positive_operands<float>(19, behind_all_keys));
    check_rows_alone(divergence >> soft_cap(2.0) >> sparsemax, positive_operands<double>(9));
}

TEST_CASE("NaN in a masked key reaches no gradient of any number of queries") {
    check_rows_alone(AdditiveAttention<double>(3, 3, 3, 1) >> prefix(3), with_a_masked_nan<double>(19));
    check_rows_alone(scaled_dot_product >> Logarithm{} >> alibi(0.1) >> (causal & prefix(3)),
                     with_a_masked_nan<float>(19));
}

TEST_CASE("parameters of formulas that are undefined at 0 get their gradient alone") {
    const auto divergence = Attention(WeightedDivergence{}) >> causal;
    check_rows_alone(divergence, positive_operands<float>(19));
    check_rows_alone(divergence, positive_operands<float>(19, behind_all_keys));
    check_rows_alone(scaled_dot_product >> Logarithm{} >> alibi(0.1) >> (causal & prefix(5)),
                     positive_operands<float>(19));
}

}  // namespace test_idle_lanes
