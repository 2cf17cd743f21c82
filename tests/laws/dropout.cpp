// needs: threads
//
// Dropout: forward, weights and backward agree on what is dropped, whatever the tiles, splits and threads.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_dropout {
namespace {

constexpr Dropout some{.rate = 0.4, .seed = 99};

// The same few attentions throughout, since each type of one costs a second of compiling.
const auto capped = dot_product >> soft_cap(2.0) >> causal >> softmax_with_sink(0.2);
const auto by_pairs = scaled_dot_product >> sigmoid(-1.0);
const auto whole_rows = AdditiveAttention<double>(3, 3, 4, 5) >> alibi(0.1) >> entmax15;
const auto in_float = scaled_dot_product >> causal;

/// out = weights · v, head by head, with the weights that the call tells.
template <class A>
void check_weights_are_used(const A& attention, Layout layout) {
    layout.dropout = some;
    const Operands<double> x = random_operands(layout, 1);
    const auto y = forward(attention, x);
    const Index group = layout.heads / layout.kv_heads;
    CHECK((y.weights.array() == 0).count() > 0);
    for (Index h = 0; h < layout.heads; ++h) {
        const RowMatrix<double> out = y.weights.middleRows(h * layout.queries, layout.queries) *
                                      x.v.middleCols(h / group * layout.d_v, layout.d_v);
        CHECK(distance(y.out.middleCols(h * layout.d_v, layout.d_v), out) <= 1e-13 * magnitude(out));
    }
}

}  // namespace

TEST_CASE("the output is made of the weights that are kept") {
    const auto check_shapes = [](const auto& attention) {
        check_weights_are_used(attention, {.queries = 1, .keys = 70, .heads = 2, .kv_heads = 1});
        check_weights_are_used(attention, {.queries = 70, .keys = 130, .heads = 4, .kv_heads = 2, .query_offset = 3});
        check_weights_are_used(attention, {.queries = 1, .keys = 2100});
    };
    check_shapes(scaled_dot_product);
    check_shapes(capped);
    check_shapes(by_pairs);
    check_shapes(whole_rows);
}

TEST_CASE("gradients are those of what was kept") {
    const Layout grouped{.queries = 5, .keys = 7, .heads = 4, .kv_heads = 2, .query_offset = 2, .dropout = some};
    const Layout ragged{.queries = 5,
                        .keys = 8,
                        .heads = 2,
                        .kv_heads = 1,
                        .sequences = {0, 2, 2, 5},
                        .key_sequences = {0, 3, 4, 8},
                        .dropout = some};
    for (const Layout& layout : {grouped, ragged}) {
        check_gradients(scaled_dot_product, random_operands(layout, 2));
        check_gradients(capped, random_operands(layout, 3));
        check_gradients(by_pairs, random_operands(layout, 4));
        check_gradients(whole_rows, random_operands(layout, 15));
    }
}

TEST_CASE("threads and runs drop the same weights") {
    Eigen::ThreadPool pool(2);
    Layout layout{.queries = 150, .keys = 150, .heads = 2, .kv_heads = 1, .dropout = some};
    const Operands<float> x = random_operands<float>(layout, 6);
    CHECK(first_difference(forward(in_float, x, thread_pool(pool)), forward(in_float, x)) == "");
    CHECK(first_difference(backward(in_float, x, thread_pool(pool)), backward(in_float, x)) == "");
}

TEST_CASE("a rate of 0 changes no bit") {
    Operands<float> x = random_operands<float>({.queries = 70, .keys = 80, .heads = 2, .kv_heads = 1}, 7);
    const auto y = forward(in_float, x);
    const auto d = backward(in_float, x);
    x.layout.dropout = {.rate = 0, .seed = 5};
    CHECK(first_difference(forward(in_float, x), y) == "");
    CHECK(first_difference(backward(in_float, x), d) == "");
}

TEST_CASE("a rate that a block refuses leaves its tape as it was") {
    const MultiHeadAttention<double> block({.d_model = 6, .heads = 2}, {}, 3);
    Random random(9);
    const RowMatrix<double> x = random_matrix<double>(random, 5, 6), dy = random_matrix<double>(random, 5, 6);
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx, dx_after;
    block.forward(x, y, {.tape = &tape, .dropout = some});
    block.backward(tape, dy, dx);
    CHECK(refusal([&] { block.forward(2 * x, y, {.tape = &tape, .dropout = {.rate = 1}}); }) ==
          "dropout: the rate must be at least 0 and below 1, got 1");
    block.backward(tape, dy, dx_after);
    CHECK(same_bits(dx_after, dx));
}

TEST_CASE("a block's tape remembers what was dropped") {
    const MultiHeadAttention<double> block({.d_model = 6, .heads = 2}, {}, 3);
    Random random(8);
    RowMatrix<double> x = random_matrix<double>(random, 5, 6), dy = random_matrix<double>(random, 5, 6), y, dx;
    MultiHeadTape<double> tape;
    const auto loss = [&] {
        block.forward(x, y, {.tape = &tape, .dropout = some});
        return y.cwiseProduct(dy).sum();
    };
    loss();
    block.backward(tape, dy, dx);
    for (Index i = 0; i < x.size(); ++i) {
        double& value = x.data()[i];
        const double centre = value, step = 1e-5;
        value = centre + step;
        const double above = loss();
        value = centre - step;
        const double slope = (above - loss()) / (2 * step);
        value = centre;
        CHECK(std::abs(slope - dx.data()[i]) <= 1e-8);
    }
}

}  // namespace test_dropout
