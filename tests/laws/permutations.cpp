// Keys are a set: permuting them together with their values changes nothing but the order of rounding, as long as no
// part of the attention knows positions.

#include <attend/attend.hpp>

#include <array>
#include <numeric>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_permutations {
namespace {

const Layout layout{.queries = 4, .keys = 7, .d_q = 3, .d_k = 3, .d_v = 4, .heads = 2, .kv_heads = 2};

using Order = std::array<Index, 7>;

/// Rows, or columns, in another order. Not by Eigen's `all`, whose place differs between its versions.
RowMatrix<double> rows_in(const Order& order, const RowMatrix<double>& x) {
    RowMatrix<double> y(x.rows(), x.cols());
    for (std::size_t i = 0; i < order.size(); ++i) y.row(static_cast<Index>(i)) = x.row(order[i]);
    return y;
}
RowMatrix<double> columns_in(const Order& order, const RowMatrix<double>& x) {
    return rows_in(order, x.transpose()).transpose();
}

template <class A>
void check_keys_are_a_set(const A& attention, std::uint64_t seed) {
    const Operands<double> x = random_operands(layout, seed);
    Random random(seed);
    Order order;
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i-- > 1;) std::swap(order[i], order[random() % (i + 1)]);
    Operands<double> permuted = x;
    permuted.k = rows_in(order, x.k);
    permuted.v = rows_in(order, x.v);

    const auto y = forward(attention, x), y_permuted = forward(attention, permuted);
    const auto d = backward(attention, x), d_permuted = backward(attention, permuted);
    constexpr double rounding = 1e-13;
    CHECK(distance(y_permuted.out, y.out) < rounding);
    CHECK(distance(y_permuted.lse, y.lse) < rounding);
    CHECK(distance(y_permuted.weights, columns_in(order, y.weights)) < rounding);
    CHECK(distance(d_permuted.dq, d.dq) < rounding);
    CHECK(distance(d_permuted.dk, rows_in(order, d.dk)) < rounding);
    CHECK(distance(d_permuted.dv, rows_in(order, d.dv)) < rounding);
    CHECK(distance(parameters_of(d_permuted.parameters), parameters_of(d.parameters)) < rounding);
}

}  // namespace

TEST_CASE("permuting keys with their values changes nothing") {
    check_keys_are_a_set(dot_product, 1);
    check_keys_are_a_set(scaled_dot_product >> scale(0.7) >> soft_cap(2.0), 2);
    check_keys_are_a_set(cosine(4.0) >> softmax_with_sink(0.5), 3);
    check_keys_are_a_set(GeneralAttention<double>(3, 3, 4) >> sigmoid(-1.0), 4);
    check_keys_are_a_set(AdditiveAttention<double>(3, 3, 4, 5) >> sparsemax, 5);
    check_keys_are_a_set(score([](auto q, auto k) { return -(q - k) * (q - k); }) >> entmax15, 6);
    check_keys_are_a_set(dot_product >> top_k(3), 7);
}

}  // namespace test_permutations
