// Multi-head blocks of many shapes and attentions: gradients of the inputs and of every parameter, by finite
// differences.

#include <variant>

#include <attend/attend.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

namespace {

struct Inputs {
    RowMatrix<double> x, memory;  ///< memory is empty for self-attention
    std::vector<Index> sequences{}, key_sequences{};
    Index query_offset = 0;

    Inputs(const MultiHeadShape& shape, Index rows, Index memory_rows) {
        Random random(2);
        x = random_matrix<double>(random, rows, shape.d_model);
        memory = random_matrix<double>(random, memory_rows, shape.d_memory == 0 ? shape.d_model : shape.d_memory);
    }
    template <class Block>
    Outputs<double> forward(const Block& block, MultiHeadTape<double>* tape = nullptr) const {
        Outputs<double> y;
        const typename Block::Options options{.tape = tape,
                                              .weights = y.weights,
                                              .query_offset = query_offset,
                                              .sequences = attend::detail::SequencesRef(std::span(sequences)),
                                              .key_sequences = attend::detail::SequencesRef(std::span(key_sequences))};
        if (memory.rows() > 0) {
            block.forward(x, memory, y.out, options);
        } else {
            block.forward(x, y.out, options);
        }
        return y;
    }
};

template <class Block>
void check_block(Block block, Inputs in) {
    Random random(3);
    visit_parameters(block, [&](std::string_view, auto& matrix) {  // biases of 0 would hide a mistake
        for (double& value : matrix.reshaped()) value += random_number(random, 0.3);
    });
    const RowMatrix<double> dy = random_matrix<double>(random, in.x.rows(), in.x.cols());
    MultiHeadTape<double> tape;
    in.forward(block, &tape);
    RowMatrix<double> dx, dmemory;
    Block gradient = zero_gradient(block);
    if (in.memory.rows() > 0) {
        block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});
    } else {
        block.backward(tape, dy, dx, {.gradient = &gradient});
    }

    const Loss loss([&] { return in.forward(block); }, dy);
    check_slopes(loss, span_of(in.x), span_of(dx), "dx");
    check_slopes(loss, span_of(in.memory), span_of(dmemory), "dmemory");
    std::vector<std::span<double>> gradients;
    visit_parameters(gradient, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(
        block, [&](std::string_view name, auto& matrix) { check_slopes(loss, span_of(matrix), gradients[i++], name); });
}

/// A score that is paired by dot products, chosen when it runs: a block takes many seconds to compile for each score.
struct DotPairedScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    std::variant<ScaledDotScore, CosineScore, GeneralScore<double>> chosen;

    static void parameters(auto& self, auto&& visit) {
        std::visit([&](auto& score) { visit("", score); }, self.chosen);
    }
    void check(const Shape& shape) const {
        std::visit([&](const auto& score) { attend::detail::check_part(score, shape); }, chosen);
    }
    Index features(Index, Index d_k) const { return d_k; }

    template <class Rows, class Mapped>
    void map_queries(const Rows& q, Mapped& mapped) const {
        std::visit([&](const auto& score) { score.map_queries(q, mapped); }, chosen);
    }
    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        if (const auto* score = std::get_if<CosineScore>(&chosen)) {
            score->map_keys(k, mapped);
        } else {
            mapped = k;
        }
    }
    template <class Rows, class Mapped, class Gradient>
    void map_queries_backward(const Rows& q, const Mapped& dmapped, Gradient& dq, DotPairedScore* gradient) const {
        std::visit(
            [&]<class S>(const S& score) {
                score.map_queries_backward(q, dmapped, dq, gradient ? &std::get<S>(gradient->chosen) : nullptr);
            },
            chosen);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_keys_backward(const Rows& k, const Mapped& dmapped, Gradient& dk, DotPairedScore* gradient) const {
        if (const auto* score = std::get_if<CosineScore>(&chosen)) {
            score->map_keys_backward(k, dmapped, dk, gradient ? &std::get<CosineScore>(gradient->chosen) : nullptr);
        } else {
            dk += dmapped;
        }
    }
};

template <class A>
MultiHeadAttention<double, A> block_of(const MultiHeadShape& shape, const A& attention) {
    return MultiHeadAttention<double, A>(shape, attention, 1);
}
/// A block whose attention has every modifier and normalizer with parameters, those that can differ from head to head
/// differing. Keys beyond the last query are seen where `is_causal` is false.
auto block_of(const MultiHeadShape& shape, const DotPairedScore& score, bool is_causal) {
    const auto n = shape.heads;
    const Eigen::VectorXd spans = Eigen::VectorXd::LinSpaced(n, 1.3, 3.4), sinks = Eigen::VectorXd::LinSpaced(n, -1, 2);
    return block_of(shape, score >> soft_cap(2.0) >> alibi(alibi_slopes(n)) >> adaptive_span(spans, 2.0) >>
                               (causal | (is_causal ? sliding_window(0, 0) : sliding_window(-1, -1))) >>
                               softmax_with_sink(sinks));
}

}  // namespace

TEST_CASE("self-attention: grouped heads of their own width, with and without bias") {
    MultiHeadShape shape{.d_model = 6, .heads = 4, .kv_heads = 2, .d_head = 3};
    shape.bias = GENERATE(true, false);
    check_block(block_of(shape, {ScaledDotScore()}, true), Inputs(shape, 5, 0));
}

TEST_CASE("cross-attention to a memory of its own width") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .d_memory = 5};
    check_block(block_of(shape, {ScaledDotScore()}, false), Inputs(shape, 3, 6));
}

TEST_CASE("RoPE in either layout, whole or partial, from any position on") {
    const RopeLayout layout = GENERATE(RopeLayout::half_split, RopeLayout::interleaved);
    const MultiHeadShape shape{
        .d_model = 8, .heads = 2, .kv_heads = 1, .rope = Rope{.layout = layout, .width = 2, .base = 20.0}};
    const auto block = block_of(shape, {ScaledDotScore()}, true);
    Inputs self(shape, 5, 0), cross(shape, 3, 7);
    check_block(block, self);
    cross.query_offset = 4;
    check_block(block, cross);
    self.sequences = {0, 2, 5};
    check_block(block, self);
}

TEST_CASE("additive and general attention inside a block") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2, .kv_heads = 1, .d_head = 3};
    check_block(block_of(shape, AdditiveAttention<double>(3, 3, 4, 5)), Inputs(shape, 3, 5));
    check_block(block_of(shape, {GeneralScore<double>(3, 3, 5)}, true), Inputs(shape, 4, 0));
}

TEST_CASE("what differs from head to head: ALiBi slopes, sinks, spans") {
    const MultiHeadShape shape{.d_model = 8, .heads = 4, .kv_heads = 2};
    check_block(block_of(shape, {CosineScore(3)}, true), Inputs(shape, 5, 0));
    check_block(block_of(shape, {ScaledDotScore()}, false), Inputs(shape, 5, 6));
}

TEST_CASE("ragged batches, self and cross") {
    const MultiHeadShape shape{.d_model = 4, .heads = 2};
    const auto block = block_of(shape, {ScaledDotScore()}, true);
    Inputs self(shape, 6, 0), cross(shape, 5, 8);
    self.sequences = {0, 1, 1, 6};
    check_block(block, self);
    cross.sequences = {0, 2, 5};
    cross.key_sequences = {0, 5, 8};
    check_block(block, cross);
}
