// Blocks that read a source of keys of a user's own give what the same keys and values give as a memory, forward and
// backward, and what a source computes them from trains.

#include <attend/attend.hpp>

#include <source/sources.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_source {
namespace {

template <class A>
void check(const A& attention, const MultiHeadShape& shape) {
    using Block = MultiHeadAttention<double, A>;
    const Block block(shape, attention, 1);
    Random random(2);
    const RowMatrix<double> x = random_matrix<double>(random, 5, shape.d_model),
                            dy = random_matrix<double>(random, 5, shape.d_model),
                            memory = random_matrix<double>(random, 70, shape.d_model);
    // What the block makes of the memory stands in the tape.
    MultiHeadTape<double> tape, of_source;
    RowMatrix<double> y, dx, dmemory, weights, some;
    block.forward(x, memory, y, {.tape = &tape, .weights = weights, .query_offset = 60});
    Block gradient = zero_gradient(block), own = zero_gradient(block);
    block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});

    Pages<double> source(block.shape().kv_heads, block.shape().d_head, block.shape().d_head);
    source.add(tape.k, tape.v);
    RowMatrix<double> y_of_source, dx_of_source;
    block.forward(x, source, y_of_source,
                  {.tape = &of_source, .weights = some, .weight_rows = query_rows({2}), .query_offset = 60});
    CHECK(same_bits(y, y_of_source));
    CHECK(same_bits(y, block(x, source, {.query_offset = 60})));
    CHECK(same_bits(RowMatrix<double>(some.row(0)), RowMatrix<double>(weights.row(2))));
    GatheredRows<double> rows(source);
    block.backward(of_source, dy, dx_of_source, source, rows, {.gradient = &own});
    CHECK(same_bits(dx, dx_of_source));
    CHECK(same_bits(rows.dk[0], tape.dk));
    CHECK(same_bits(rows.dv[0], tape.dv));
    CHECK(same_bits(own.query_weight, gradient.query_weight));
    CHECK(same_bits(own.output_weight, gradient.output_weight));
    CHECK(same_bits(own.output_bias, gradient.output_bias));
    CHECK(own.key_weight.isZero());
}

}  // namespace

TEST_CASE("a block gives on a source what it gives on the memory") {
    check(scaled_dot_product >> causal, {.d_model = 6, .heads = 2});
    check(scaled_dot_product >> softmax_with_sink(0.5), {.d_model = 8, .heads = 4, .kv_heads = 2, .d_head = 3});
}

TEST_CASE("keys that are computed on the fly train through a block") {
    const MultiHeadAttention<double, DotProductAttention> block({.d_model = 5, .heads = 1}, dot_product, 1);
    Random random(3);
    const RowMatrix<double> x = random_matrix<double>(random, 3, 5), dy = random_matrix<double>(random, 3, 5);
    const Waves waves{0.3, 40, 5};
    MultiHeadTape<double> tape;
    RowMatrix<double> y, dx;
    block.forward(x, waves, y, {.tape = &tape});
    WavesGradient gradient{waves};
    block.backward(tape, dy, dx, waves, gradient);
    const auto loss = [&](double rate, const RowMatrix<double>& at) {
        return block(at, Waves{rate, 40, 5}).cwiseProduct(dy).sum();
    };
    const double h = 1e-5;
    const double slope =
        (8 * (loss(0.3 + h, x) - loss(0.3 - h, x)) - (loss(0.3 + 2 * h, x) - loss(0.3 - 2 * h, x))) / (12 * h);
    CHECK(std::abs(slope - gradient.rate) <= 1e-7 * (1 + std::abs(slope)));
    RowMatrix<double> ahead = x, behind = x;
    ahead(1, 2) += h, behind(1, 2) -= h;
    CHECK(std::abs((loss(0.3, ahead) - loss(0.3, behind)) / (2 * h) - dx(1, 2)) <= 1e-8);
}

TEST_CASE("a source that is not the block's is refused in words, and so is another tape") {
    const MultiHeadAttention<double> block({.d_model = 6, .heads = 2});
    const RowMatrix<double> x = RowMatrix<double>::Ones(3, 6), rows = RowMatrix<double>::Ones(4, 6);
    RowMatrix<double> y, dx;
    Pages<double> one_head(1, 6, 6), fits(2, 3, 3);
    one_head.add(rows, rows), fits.add(rows, rows);
    CHECK(refusal([&] { block.forward(x, one_head, y); }) ==
          "the source has 1 heads with values of width 6, but the block has 2 key/value heads of width 3");
    CHECK(y.size() == 0);
    MultiHeadTape<double> tape;
    block.forward(x, rows, y, {.tape = &tape});
    GatheredRows<double> gradients(fits);
    CHECK(refusal([&] { block.backward(tape, x, dx, fits, gradients); }) ==
          "backward: the tape holds no call with a source of keys");
    auto memory = block.prepare(rows);
    block.forward(x, memory, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, x, dx, fits, gradients); }) ==
          "backward: the tape holds no call with a source of keys");
    block.forward(x, fits, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, x, dx, memory); }) ==
          "backward: the tape holds no call with a prepared memory");
    CHECK(refusal([&] { block.backward(tape, x, dx); }).find("backward: the tape holds") == 0);
    block.backward(tape, x, dx, fits, gradients);
    CHECK(dx.rows() == 3);
}

}  // namespace test_multi_head_source
