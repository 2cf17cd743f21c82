// Mixers of a user's own inside a multi-head block: values, gradients, training, and what is refused.

#include <attend/layer/multi_head.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mixer/linear_attention.hpp>
#include <attend/mixer/recurrent.hpp>

#include <cmath>

#include <mixer/gated_memory.hpp>
#include <mixer/running_mean.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_block {
namespace {

using Matrix = RowMatrix<double>;
using MeanBlock = MultiHeadAttention<double, Recurrent<RunningMean>>;
using MemoryBlock = MultiHeadAttention<double, Recurrent<GatedMemory>>;

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}
MeanBlock mean_block(const MultiHeadShape& shape, bool causal = true) {
    return MeanBlock(shape, recurrent(RunningMean{.causal = causal, .decay = 0.25}), 1);
}
/// Its keys hold a decay of each feature and a beta, as logits.
auto linear_block(const MultiHeadShape& shape) {
    return multi_head<double>(shape, gated_delta_rule(Decay::feature, KeyGates::logits, FeatureMap::unit), 1);
}
MemoryBlock memory_block(const MultiHeadShape& shape) {
    return MemoryBlock(shape, recurrent(GatedMemory{.gate = Eigen::Vector3d(0.5, -0.3, 0.8)}), 1);
}

struct Inputs {
    Matrix x, memory{};  ///< memory is empty for self-attention
    std::vector<Index> sequences{}, key_sequences{};
    Index query_offset = 0;

    template <class Block>
    Matrix forward(const Block& block, MultiHeadTape<double>* tape = nullptr) const {
        Matrix y;
        const typename Block::Options options{.tape = tape,
                                              .query_offset = query_offset,
                                              .sequences = attend::detail::SequencesRef(std::span(sequences)),
                                              .key_sequences = attend::detail::SequencesRef(std::span(key_sequences))};
        if (memory.rows() > 0) {
            block.forward(x, memory, y, options);
        } else {
            block.forward(x, y, options);
        }
        return y;
    }
};

template <class Block>
void check_gradients_of_block(Block block, Inputs in) {
    Random random(3);
    visit_parameters(block, [&](std::string_view, auto& matrix) {  // biases of 0 would hide a mistake
        for (double& value : matrix.reshaped()) value += random_number(random, 0.3);
    });
    const Matrix dy = random_matrix<double>(random, in.x.rows(), in.x.cols());
    MultiHeadTape<double> tape;
    in.forward(block, &tape);
    Matrix dx, dmemory;
    Block gradient = zero_gradient(block);
    if (in.memory.rows() > 0) {
        block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});
    } else {
        block.backward(tape, dy, dx, {.gradient = &gradient});
    }
    const Loss loss(
        [&] {
            Outputs<double> y;
            y.out = in.forward(block);
            return y;
        },
        dy);
    check_slopes(loss, span_of(in.x), span_of(dx), "dx");
    check_slopes(loss, span_of(in.memory), span_of(dmemory), "dmemory");
    std::vector<std::span<double>> gradients;
    visit_parameters(gradient, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(
        block, [&](std::string_view name, auto& matrix) { check_slopes(loss, span_of(matrix), gradients[i++], name); });
}

/// A mixer by the two calls alone, which it leaves to an attention.
struct OtherAttention {
    using Inner = decltype(scaled_dot_product >> causal);
    static constexpr bool has_weights = true;
    Inner inner = scaled_dot_product >> causal;

    template <class T>
    void operator()(const StridedView<T>& q, const StridedView<T>& k, const StridedView<T>& v, Output<double> out,
                    const ForwardOptions<double>& options) const {
        inner(q, k, v, out, options);
    }
    template <class Q, class Key, class V, class Out, class Lse, class DOut>
    void backward(const Q& q, const Key& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                  Output<double> dq, Output<double> dk, Output<double> dv,
                  const BackwardOptions<OtherAttention>& options) const {
        inner.backward(q, k, v, out, lse, dout, dq, dk, dv,
                       {.workspace = options.workspace,
                        .executor = options.executor,
                        .query_offset = options.query_offset,
                        .sequences = options.sequences,
                        .key_sequences = options.key_sequences,
                        .dropout = options.dropout});
    }
};

}  // namespace

TEST_CASE("a mixer may be any two calls: one that hands them on to an attention gives its bits, weights and all") {
    const MultiHeadShape shape{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3};
    const MultiHeadAttention<double, OtherAttention> other(shape, {}, 1);
    const MultiHeadAttention<double, OtherAttention::Inner> block(shape, other.attention.inner, 1);
    const Matrix x = rows_of(7, 6, 2);
    Matrix y, weights, dx, other_y, other_weights, other_dx;
    MultiHeadTape<double> tape;
    const Dropout dropout{.rate = 0.2, .seed = 3};
    block.forward(x, y, {.tape = &tape, .weights = weights, .dropout = dropout});
    block.backward(tape, y, dx);
    other.forward(x, other_y, {.tape = &tape, .weights = other_weights, .dropout = dropout});
    other.backward(tape, y, other_dx);
    CHECK((same_bits(y, other_y) && same_bits(weights, other_weights) && same_bits(dx, other_dx)));
}

TEST_CASE("a block of a running mean projects the means of projected values") {
    auto block = mean_block({.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3});
    block.value_bias = rows_of(6, 1, 2), block.output_bias = rows_of(6, 1, 3);
    const Matrix x = rows_of(5, 6, 4);
    const double r = 1 / (1 + std::exp(-0.25));
    Matrix y(5, 6);
    for (Index i = 0; i < 5; ++i) {
        double context[12] = {};
        for (Index h = 0; h < 4; ++h) {
            for (Index c = 0; c < 3; ++c) {
                double sum = 0, weights = 0;
                for (Index j = 0; j <= i; ++j) {
                    double v = block.value_bias[h / 2 * 3 + c];
                    for (Index a = 0; a < 6; ++a) v += x(j, a) * block.value_weight(a, h / 2 * 3 + c);
                    sum += std::pow(r, static_cast<double>(i - j)) * v;
                    weights += std::pow(r, static_cast<double>(i - j));
                }
                context[h * 3 + c] = sum / weights;
            }
        }
        for (Index a = 0; a < 6; ++a) {
            y(i, a) = block.output_bias[a];
            for (Index c = 0; c < 12; ++c) y(i, a) += context[c] * block.output_weight(c, a);
        }
    }
    CHECK(distance(block(x), y) <= 1e-13);
    CHECK(same_bits(block(x, x), block(x)));
}

TEST_CASE("gradients of a block and of its mixer's parameters: self, cross, ragged, groups of heads, RoPE") {
    const MultiHeadShape shape{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3},
        turned{.d_model = 6, .heads = 2, .d_head = 3, .d_memory = 4, .rope = Rope{.width = 2}},
        parts{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3, .qk_norm = RmsNorm{}, .gate = OutputGate::headwise};
    Inputs self{.x = rows_of(6, 6, 4)}, ragged = self,
                                        cross{.x = rows_of(5, 6, 5), .memory = rows_of(8, 4, 6), .query_offset = 2};
    ragged.sequences = {0, 1, 1, 6};
    check_gradients_of_block(mean_block(shape), self);
    check_gradients_of_block(memory_block(shape), self);
    check_gradients_of_block(memory_block(shape), ragged);
    check_gradients_of_block(linear_block(shape), self);
    check_gradients_of_block(linear_block(shape), ragged);
    check_gradients_of_block(memory_block(parts), ragged);
    check_gradients_of_block(linear_block(parts), ragged);
    check_gradients_of_block(memory_block(turned), cross);
    check_gradients_of_block(linear_block(turned), cross);
    check_gradients_of_block(mean_block(turned, false), cross);
    cross.sequences = {0, 2, 5}, cross.key_sequences = {0, 5, 8};
    check_gradients_of_block(memory_block(turned), cross);
}

TEST_CASE("a ragged batch is a call for each of its sequences") {
    const auto block = memory_block({.d_model = 6, .heads = 2});
    const Inputs all{.x = rows_of(9, 6, 2), .sequences = {0, 4, 4, 9}};
    const Matrix y = all.forward(block);
    const auto one = [&](Index begin, Index rows) { return block(Matrix(all.x.middleRows(begin, rows))); };
    // The projections round rows in packs, so that their bits depend on the rows beside them.
    CHECK(distance(y.topRows(4), one(0, 4)) <= 1e-14);
    CHECK(distance(y.bottomRows(5), one(4, 5)) <= 1e-14);
}

TEST_CASE("a block trains its mixer too: each row of the target is a mean that forgets slowly") {
    auto block = mean_block({.d_model = 4, .heads = 2});
    const Matrix x = rows_of(24, 4, 7);
    Matrix target = Matrix::Zero(24, 4), sum = Matrix::Zero(1, 4), y;
    double weight = 0;
    for (Index i = 0; i < 24; ++i) {
        sum = 0.9 * sum + x.row(i), weight = 0.9 * weight + 1;
        target.row(i) = sum / weight;
    }
    MultiHeadTape<double> tape;
    const auto loss = [&] {
        block.forward(x, y, {.tape = &tape});
        return (y - target).squaredNorm() / 24;
    };
    const double first = loss();
    for (int step = 0; step < 400; ++step) {
        loss();
        auto gradient = zero_gradient(block);
        Matrix dx;
        block.backward(tape, 2 * (y - target) / 24, dx, {.gradient = &gradient});
        std::vector<Eigen::Map<const Eigen::VectorXd>> slopes;
        visit_parameters(gradient,
                         [&](std::string_view, auto& matrix) { slopes.emplace_back(matrix.data(), matrix.size()); });
        std::size_t i = 0;
        visit_parameters(block, [&](std::string_view, auto& matrix) {
            Eigen::Map<Eigen::VectorXd>(matrix.data(), matrix.size()) -= 0.5 * slopes[i++];
        });
    }
    const double last = loss(), rate = 1 / (1 + std::exp(-block.attention.mixer.decay));
    CAPTURE(first, last, rate);
    CHECK(last <= 0.01 * first);
    CHECK(std::abs(rate - 0.9) <= 0.05);
}

TEST_CASE("what only weights have is refused of a mixer without, before anything is written") {
    const auto block = mean_block({.d_model = 6, .heads = 2});
    const Matrix x = rows_of(5, 6, 2), before = Matrix::Constant(5, 6, 7);
    Matrix y = before, weights;
    MultiHeadTape<double> tape;
    CHECK(refusal([&] { block.forward(x, y, {.tape = &tape, .weights = weights}); }) ==
          "weights: this mixer has none: leave them out");
    CHECK(refusal([&] { block.forward(x, y, {.tape = &tape, .dropout = {.rate = 0.5}}); }) ==
          "dropout: this mixer has no weights to drop: leave it out");
    const auto wide = memory_block({.d_model = 8, .heads = 2});
    CHECK(refusal([&] { wide.forward(rows_of(5, 8, 2), weights, {.tape = &tape}); }) ==
          "gated memory: q and k must have 3 columns a head, not 4 and 4");
    CHECK((weights.size() == 0 && tape.x.size() == 0 && tape.q.size() == 0 && same_bits(y, before)));
}

TEST_CASE("a tape holds no LSE of such a mixer, and is not one of an attention's calls") {
    const auto block = mean_block({.d_model = 6, .heads = 2});
    const MultiHeadAttention<double> attention({.d_model = 6, .heads = 2});
    const Matrix x = rows_of(5, 6, 2);
    Matrix y, dx;
    MultiHeadTape<double> tape;
    block.forward(x, y, {.tape = &tape});
    CHECK(tape.lse.size() == 0);
    CHECK(refusal([&] { attention.backward(tape, y, dx); }) ==
          "backward: the tape holds no call of this block: its lse (5x0) must be 5x2");
    attention.forward(x, y, {.tape = &tape});
    CHECK(refusal([&] { block.backward(tape, y, dx); }) ==
          "backward: the tape holds no call of this block: its lse (5x2) must be 5x0");
    CHECK(dx.size() == 0);
}

}  // namespace test_block
