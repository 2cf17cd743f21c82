// Parts of an attention refuse arguments that make no sense where they are made, and calls that they do not fit before
// anything is written.

#include <attend/attend.hpp>

#include <functional>
#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_part_errors {
namespace {

/// A call of 4 queries and 6 keys with 2 heads, of a part that does not fit.
template <class A>
std::string refused_call(const A& attention) {
    const Operands<double> x = random_operands({.queries = 4, .keys = 6, .heads = 2, .kv_heads = 2}, 1);
    RowMatrix<double> out, dq, dk, dv, lse = RowMatrix<double>::Zero(4, 2);
    const auto forward_text = refusal([&] { attention(x.query_heads(), x.key_heads(), x.value_heads(), out); });
    const auto backward_text = refusal([&] {
        attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(x.dout, 2), lse, heads(x.dout, 2), dq,
                           dk, dv);
    });
    CHECK(forward_text == backward_text);
    if (!forward_text.empty()) CHECK((out.size() == 0 && dq.size() == 0 && dk.size() == 0 && dv.size() == 0));
    return forward_text;
}

const Eigen::VectorXd two = Eigen::VectorXd::Ones(2), three = Eigen::VectorXd::Ones(3);

Eigen::MatrixXd ones(Index rows, Index columns) { return Eigen::MatrixXd::Ones(rows, columns); }
RowMatrix<bool> truths(Index rows, Index columns) { return RowMatrix<bool>::Constant(rows, columns, true); }

const Eigen::MatrixXd memory = ones(8, 6);
const RowMatrix<bool> keep_memory = truths(4, 6);

/// One of every part, all of which fit the call: a case changes one. An attention for each would take a second to
/// compile.
struct Parts {
    Alibi<Eigen::VectorXd> slopes = alibi(two);
    AdaptiveSpan<Eigen::VectorXd> spans = adaptive_span(two, 1.0);
    RelativeBias<double> relative = relative_bias(ones(32, 1));
    DenseBias<double> biases = bias(ones(4, 6));
    BiasView<double> bias_view = bias(strided(memory.data(), {1, 2, 4, 6}, {0, 24, 6, 1}));
    DenseMask keep = dense_mask(truths(4, 6)), hidden = keep;
    DenseMaskView keep_view = dense_mask(strided(keep_memory.data(), {1, 1, 4, 6}, {0, 0, 6, 1}));
    Lengths valid = lengths({6});
    BlockSparse sparse = block_sparse(truths(1, 1), 4, 6);
    Documents packed = documents({0, 6});
    SlidingWindow window = sliding_window(-1, -1);
    SoftmaxWithSink<Eigen::VectorXd> sink = softmax_with_sink(two);
};
std::string refused_parts(const std::function<void(Parts&)>& change) {
    Parts p;
    change(p);
    return refused_call(dot_product >> p.slopes >> p.spans >> p.relative >> p.biases >> p.bias_view >>
                        ((causal | ~p.hidden) & p.keep & p.keep_view & p.valid & p.sparse & p.packed & p.window) >>
                        p.sink);
}

}  // namespace

TEST_CASE("a parameter a head needs as many as there are heads") {
    CHECK(refused_parts([](Parts& p) { p.slopes = alibi(three); }) ==
          "alibi: slope (3 values) must have one value a head, there are 2 heads");
    CHECK(refused_parts([](Parts& p) { p.spans = adaptive_span(three, 1.0); }) ==
          "adaptive_span: span (3 values) must have one value a head, there are 2 heads");
    CHECK(refused_parts([](Parts& p) { p.sink = softmax_with_sink(three); }) ==
          "softmax_with_sink: sink (3 values) must have one value a head, there are 2 heads");
    CHECK(refused_call(dot_product >> sigmoid(three)) ==
          "sigmoid: bias (3 values) must have one value a head, there are 2 heads");
    CHECK(refused_parts([](Parts& p) { p.relative = relative_bias(ones(32, 3)); }) ==
          "relative_bias: table (32x3) must have one column, or one for each of the 2 heads");
    CHECK(refused_parts([](Parts& p) { p.biases = bias(ones(12, 6), 3); }) == "bias: holds 3 heads, the call has 2");
    CHECK(refused_parts([](Parts& p) { p.slopes = alibi(Eigen::Vector2d(0.1, 0.2)); }) == "");
}

TEST_CASE("biases and masks of pairs need the shape of the pairs") {
    CHECK(refused_parts([](Parts& p) { p.biases = bias(ones(6, 4)); }) ==
          "bias (6x4) must be 4x6: a row a query, a column a key");
    CHECK(refused_parts([](Parts& p) { p.biases = bias(ones(6, 6), 2); }) ==
          "bias (6x6) must be 8x6: a row a query and head, a column a key");
    CHECK(refused_parts([](Parts& p) { p.keep = dense_mask(truths(6, 4)); }) ==
          "dense_mask (6x4) must be 4x6: a row a query, a column a key");
    CHECK(refused_parts([](Parts& p) {
              p.bias_view = bias(strided(memory.data(), {1, 3, 4, 6}, {0, 0, 6, 1}));
          }) == "bias (3 heads x 4x6) must be 2 heads x 4x6, or 1 where it serves all");
    CHECK(refused_parts([](Parts& p) {
              p.keep_view = dense_mask(strided(keep_memory.data(), {1, 1, 4, 5}, {0, 0, 6, 1}));
          }) == "dense_mask (4x5) must be 2 heads x 4x6, or 1 where it serves all");
    // A part inside a composed mask is asked too.
    CHECK(refused_parts([](Parts& p) { p.hidden = dense_mask(truths(4, 4)); }) ==
          "dense_mask (4x4) must be 4x6: a row a query, a column a key");
}

TEST_CASE("lengths need one for each sequence, no longer than the keys") {
    CHECK(refused_parts([](Parts& p) { p.valid = lengths({3, 4}); }) == "lengths: 2 lengths for 1 sequences");
    CHECK(refused_parts([](Parts& p) { p.valid = lengths({7}); }) == "lengths: a length of 7 is more than the 6 keys");
    CHECK(refused_parts([](Parts& p) { p.valid = lengths({6}); }) == "");
}

TEST_CASE("modifiers refuse arguments that make no sense") {
    CHECK(refusal([] { soft_cap(0.0); }) == "soft_cap: the cap must be above 0, got 0");
    CHECK(refusal([] { soft_cap(-1.5); }) == "soft_cap: the cap must be above 0, got -1.5");
    CHECK(refusal([] { adaptive_span(4.0, 0.0); }) == "adaptive_span: the ramp must be above 0, got 0");
    CHECK(refusal([] { alibi_slopes(0); }) == "alibi_slopes: needs at least one head, got 0");
    CHECK(refusal([] { bias(ones(5, 6), 2); }) == "bias: 2 heads do not divide the rows of values (5x6)");
    CHECK(refusal([] { bias(ones(5, 6), 0); }) == "bias: 0 heads do not divide the rows of values (5x6)");
    CHECK(refusal([] { relative_bias(ones(31, 1)); }) == "table (31x1) must have a row for each of the 32 buckets");
    CHECK(refusal([] { relative_bias(ones(2, 1), {.buckets = 2}); }) ==
          "relative_bias: needs at least 4 buckets and a max_distance above half of them, got 2 buckets and "
          "max_distance 128");
    CHECK(refusal([] { relative_bias(ones(8, 1), {.buckets = 8, .max_distance = 4, .bidirectional = false}); }) ==
          "relative_bias: needs at least 2 buckets and a max_distance above half of them, got 8 buckets and "
          "max_distance 4");
}

TEST_CASE("masks refuse arguments that make no sense") {
    CHECK(refusal([] { sliding_window(0); }) == "sliding_window: the window must hold at least one key, got 0");
    CHECK(refusal([] { sliding_window(-3); }) == "sliding_window: the window must hold at least one key, got -3");
    CHECK(refusal([] { sliding_window(-2, 1); }) ==
          "sliding_window: widths must be at least 0, or -1 for unbounded, got left -2 and right 1");
    CHECK(refusal([] { sliding_window(1, -2); }) ==
          "sliding_window: widths must be at least 0, or -1 for unbounded, got left 1 and right -2");
    CHECK(refusal([] { prefix(-1); }) == "prefix: the length must not be negative, got -1");
    CHECK(refusal([] { lengths({2, -1}); }) == "lengths: a length must not be negative, got -1");
    CHECK(refusal([] { documents({}); }) ==
          "documents: needs offsets: where each document begins, then the end of the last");
    CHECK(refusal([] { documents({0, 5, 4}); }) == "documents: offsets must not decrease, but 4 follows 5");
    CHECK(refusal([] { block_sparse(truths(2, 2), 0, 4); }) ==
          "block_sparse: block sizes must be above 0, got 0 and 4");
}

TEST_CASE("normalizers and executors refuse arguments that make no sense") {
    CHECK(refusal([] { top_k(0); }) == "top_k: k must be above 0, got 0");
    CHECK(refusal([] { openmp(0); }) == "openmp: needs at least one thread, got 0");
}

TEST_CASE("parts whose members were assigned in other shapes are refused") {
    CHECK(refused_parts([](Parts& p) { p.relative.table = ones(8, 1); }) ==
          "table (8x1) must have a row for each of the 32 buckets");
    CHECK(refused_parts([](Parts& p) { p.sparse.key_block = 0; }) ==
          "block_sparse: block sizes must be above 0, got 4 and 0");
    CHECK(refused_parts([](Parts& p) { p.packed.offsets.clear(); }) ==
          "documents: needs offsets: where each document begins, then the end of the last");
    CHECK(refused_parts([](Parts& p) {
              p.window = {-1, std::numeric_limits<Index>::min()};
          }) ==
          "sliding_window: widths must be from -4611686018427387903 to 4611686018427387903, got left -1 and right "
          "-9223372036854775808");
    CHECK(refusal([] { relative_bias(ones(32, 1), {.max_distance = std::numeric_limits<Index>::max()}); }) ==
          "relative_bias: max_distance must be at most 16777216, got 9223372036854775807");
    CHECK(refusal([] { t5_bucket(3, {.buckets = 0}); }) ==
          "t5_bucket: needs at least 4 buckets and a max_distance above half of them, got 0 buckets and max_distance "
          "128");
}

}  // namespace test_part_errors
