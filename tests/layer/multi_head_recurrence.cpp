// Blocks of linear attention: their keys are wider by what gates them, and they generate from state to state.

#include <attend/layer/multi_head.hpp>
#include <attend/mixer/linear_attention.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_recurrence {
namespace {

using Matrix = RowMatrix<double>;
using Block = MultiHeadAttention<double, Recurrent<LinearAttention>>;

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}
Block block_of(Decay decay = Decay::head, const MultiHeadShape& shape = {.d_model = 12, .heads = 4, .kv_heads = 2}) {
    Block block(shape, gated_delta_rule(decay, KeyGates::logits, FeatureMap::unit), 1);
    Random random(2);
    visit_parameters(block, [&](std::string_view, auto& matrix) {  // biases of 0 would hide a mistake
        for (double& value : matrix.reshaped()) value += random_number(random, 0.3);
    });
    return block;
}
bool same_states(const RecurrentCache<double>& a, const RecurrentCache<double>& b) {
    bool same = true;
    for (Index s = 0; s < a.sequences(); ++s) {
        same = same && a.tokens(s) == b.tokens(s);
        for (Index h = 0; h < a.heads(); ++h) same = same && same_bits(a.state(s, h), b.state(s, h));
    }
    return same;
}

}  // namespace

TEST_CASE("a block's keys hold its gates, which no position turns") {
    const Decay decay = GENERATE(Decay::head, Decay::feature);
    const Block block = block_of(decay, {.d_model = 16, .heads = 4, .kv_heads = 2, .rope = Rope{}});
    const Index width = decay == Decay::head ? 4 + 2 : 4 + 4 + 1;
    CHECK((block.shape().d_key == width && block.key_weight.cols() == 2 * width));
    const Matrix x = rows_of(9, 16, 3);
    Matrix q = x * block.query_weight, k = x * block.key_weight, v = x * block.value_weight, context;
    q.rowwise() += block.query_bias.transpose(), k.rowwise() += block.key_bias.transpose();
    v.rowwise() += block.value_bias.transpose();
    Rope{}(heads(q, 4));
    for (Index h = 0; h < 2; ++h) {
        Matrix features = k.middleCols(h * width, 4);
        Rope{}(features);
        k.middleCols(h * width, 4) = features;
    }
    block.attention(heads(q, 4), heads(k, 2), heads(v, 2), context);
    Matrix y = context * block.output_weight;
    y.rowwise() += block.output_bias.transpose();
    CHECK(distance(block(x), y) <= 1e-14 * magnitude(y));
}

TEST_CASE("steps, prompts and ragged batches give what all tokens at once give") {
    for (const bool turns : {false, true}) {
        MultiHeadShape shape{.d_model = 16, .heads = 4, .kv_heads = 2};
        if (turns) shape.rope = Rope{};
        const Block block = block_of(Decay::feature, shape);
        const Matrix a = rows_of(90, 16, 4), b = rows_of(7, 16, 5), all_a = block(a), all_b = block(b);
        auto cache = block.cache(2);
        Matrix y, x(83 + 2, 16), last;
        x << a.topRows(83), b.topRows(2);
        block.step(x, cache, y, {.sequences = sequences({0, 83, 85})});
        CHECK(distance(y.topRows(83), all_a.topRows(83)) <= 1e-13);
        CHECK(distance(y.bottomRows(2), all_b.topRows(2)) <= 1e-13);
        const auto before = cache;
        for (Index i = 0; i < 4; ++i) {
            Matrix both(2, 16), out;
            both << a.row(83 + i), b.row(2 + i);
            block.step(both, cache, out);
            CHECK(distance(out.row(0), all_a.row(83 + i)) <= 1e-13);
            CHECK(distance(out.row(1), all_b.row(2 + i)) <= 1e-13);
        }
        auto prompts = before;
        x.resize(5, 16), x << a.middleRows(83, 5);
        last.setConstant(2, 16, 7);
        block.prefill(x, prompts, last, {.sequences = sequences({0, 5, 5})});
        CHECK(distance(last.row(0), all_a.row(87)) <= 1e-13);
        CHECK((last.row(1).array() == 7).all());
        CHECK((prompts.tokens(0) == 88 && prompts.tokens(1) == 2));
        auto remembered = before;
        block.remember(x, remembered, {.sequences = sequences({0, 5, 5})});
        CHECK(same_states(remembered, prompts));
        prompts.copy(0, 1), prompts.reset(0);
        CHECK((prompts.tokens(0) == 0 && prompts.tokens(1) == 88 && prompts.state(0, 1).isZero(0)));
        Matrix next(2, 16), out;
        next << a.row(0), a.row(88);
        block.step(next, prompts, out);
        CHECK(distance(out.row(0), all_a.row(0)) <= 1e-13);
        CHECK(distance(out.row(1), all_a.row(88)) <= 1e-13);
    }
}

TEST_CASE("a step that is refused changes nothing") {
    const Block block = block_of();
    auto cache = block.cache(2);
    Matrix y, x = rows_of(2, 12, 6), small = Matrix::Constant(1, 12, 7);
    block.step(x, cache, y);
    const auto before = cache;
    auto other = block_of(Decay::head, {.d_model = 8, .heads = 2}).cache(2);
    const auto refused = [&](auto&& call) {
        const std::string text = refusal(call);
        CHECK((same_states(cache, before) && (small.array() == 7).all()));
        return text;
    };
    CHECK(refused([&] { block.step(rows_of(3, 12, 7), cache, y); }) ==
          "step: x has 3 rows for the cache's 2 sequences: one each, or give sequences");
    CHECK(refused([&] { block.step(x, other, y); }) ==
          "the cache holds 2 sequences with 2 states of 4x4, but the call has 2 with 2 of 3x3");
    CHECK(refused([&] { block.step(x, cache, small); }) == "y (1x12) must be 2x12, or empty to be resized");
    CHECK(refused([&] { block.step(x, cache, y, {.query_offset = 1}); }) ==
          "step: the cache says where queries stand and how many keys a sequence has: leave query_offset and "
          "key_sequences out");
    CHECK(refused([&] { block.step(x, cache, y, {.weights = small}); }) ==
          "weights: this mixer has none: leave them out");
    std::vector<std::byte> buffer(64);
    Workspace workspace{std::span(buffer)};
    const Matrix y_before = y;
    CHECK_THROWS_AS(block.step(x, cache, y, {.workspace = &workspace}), std::length_error);
    CHECK((same_states(cache, before) && same_bits(y, y_before)));
    CHECK(refusal([&] { Block({.d_model = 8, .heads = 2, .d_key = 4}, block.attention); }) ==
          "multi_head: the mixer's keys have 6 columns a head, not d_key 4: leave it out");
}

}  // namespace test_multi_head_recurrence
