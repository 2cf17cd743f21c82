// What a composition is called is how one writes it: each case is a source text that must come back from its value.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <attend/attend.hpp>
#include <attend/interchange/torch_masks.hpp>
#include <mixer/running_mean.hpp>
#include <support/catch.hpp>

using namespace attend;

namespace test_to_string {

/// A part that says how it is spelled, one that has a `to_string`, and one that says nothing.
struct Shift {
    static constexpr Kind kind = Kind::modifier;
    double by = 0;
    auto spelled(const auto& say) const { return say("test::shift", by); }
    auto operator()(auto s, auto) const { return s + decltype(s)(by); }
};
struct Halves {
    static constexpr Kind kind = Kind::mask;
    bool operator()(const Position& p) const { return p.key % 2 == 0; }
};
inline std::string to_string(const Halves&) { return "halves"; }
struct Nameless {
    static constexpr Kind kind = Kind::modifier;
    auto operator()(auto s, auto) const { return s; }
};

namespace {

/// A source text without the blanks that a line broken behind a parenthesis leaves.
std::string on_one_line(std::string text) {
    for (std::size_t at; (at = text.find("( ")) != std::string::npos;) text.erase(at + 1, 1);
    return text;
}
#define CHECK_SPELLED(...) CHECK(to_string(__VA_ARGS__) == on_one_line(#__VA_ARGS__))

constexpr std::uint64_t seed = 3;

}  // namespace

TEST_CASE("a composition is spelled as it is written") {
    CHECK_SPELLED(scaled_dot_product >> softmax);
    CHECK_SPELLED(dot_product >> softmax);
    CHECK_SPELLED(scaled_dot_product >> alibi(0.125) >> causal >> softmax);
    CHECK_SPELLED(ScaledDotProductAttention(0.25) >> soft_cap(30) >> softmax);
    CHECK_SPELLED(cosine(10) >> scale(0.5) >> adaptive_span(100, 32) >> sparsemax);
    CHECK_SPELLED(GeneralAttention<float>(3, 5, seed) >> entmax15);
    CHECK_SPELLED(AdditiveAttention<double>(3, 5, 7, seed) >> top_k(8));
    CHECK_SPELLED(GeneralAttention<Eigen::bfloat16>(3, 5, seed) >> softmax);
    CHECK_SPELLED(LocationSensitiveAttention<float>({.d_q = 3, .d_k = 5, .hidden = 7}, seed) >> softmax);
    CHECK_SPELLED(LocationSensitiveAttention<float>(
                      {.d_q = 3, .d_k = 5, .hidden = 7, .filters = 4, .radius = 2, .history = History::sum}, seed) >>
                  softmax);
    CHECK_SPELLED(RmsNormAttention<float>(64) >> sigmoid(-2.5));
    CHECK_SPELLED(RmsNormAttention<float>(64, RmsNorm{.epsilon = 0.001}) >> softmax);
    CHECK_SPELLED(RmsNormAttention<float>(64, RmsNorm{}, 0.5) >> softmax_with_sink(0.5));
}

TEST_CASE("an attention to which no normalizer was given has softmax, and one without a mask has none") {
    CHECK(to_string(scaled_dot_product) == "scaled_dot_product >> softmax");
    CHECK(to_string(scaled_dot_product >> causal) == "scaled_dot_product >> causal >> softmax");
    CHECK(to_string(scaled_dot_product >> causal >> prefix(4)) ==
          "scaled_dot_product >> (causal & prefix(4)) >> softmax");
}

TEST_CASE("masks and their combinations are spelled as they are written") {
    CHECK_SPELLED(causal);
    CHECK_SPELLED(sliding_window(256));
    CHECK_SPELLED(sliding_window(3, 0));
    CHECK_SPELLED(sliding_window(-1, 2));
    CHECK_SPELLED(sliding_window(-1, -1));
    CHECK_SPELLED(prefix(7));
    CHECK_SPELLED(chunked(256));
    CHECK_SPELLED(chunked(256, 1));
    CHECK_SPELLED(dilated(4));
    CHECK_SPELLED(lengths({17, 40}));
    CHECK_SPELLED(documents({0, 17, 40}));
    CHECK_SPELLED(tree({-1, 0, 0, 1}, 12));
    CHECK_SPELLED(tree({-1, 0, 0, 1}, {12, 40}));
    CHECK_SPELLED(neighbourhood({.rows = 8, .columns = 9}, {.rows = 1, .columns = 2}));
    CHECK_SPELLED(
        neighbourhood({.rows = 8, .columns = 9, .depth = 5}, {.rows = 1, .columns = 2, .depth = 1}, Border::shift));
    CHECK_SPELLED((causal & sliding_window(3)));
    CHECK_SPELLED((causal | prefix(3)));
    CHECK_SPELLED(((causal & ~dilated(2)) | prefix(3)));
    CHECK_SPELLED(~(causal | prefix(3)));
}

TEST_CASE("matrices are told by their shapes, long lists by their length, and formulas not at all") {
    const Eigen::MatrixXf m = Eigen::MatrixXf::Zero(8, 6);
    using Flags = Eigen::Matrix<bool, -1, -1>;
    CHECK(to_string(bias(m)) == "bias(8x6)");
    CHECK(to_string(bias(m, 4)) == "bias(8x6, 4)");
    CHECK(to_string(bias(strided(m.data(), {2, 1, 4, 6}, {24, 24, 6, 1}))) == "bias(strided(2 sequences x 4x6))");
    CHECK(to_string(alibi(alibi_slopes(4))) == "alibi(4x1)");
    CHECK(to_string(relative_bias(Eigen::MatrixXf::Zero(32, 4))) == "relative_bias(32x4)");
    CHECK(to_string(relative_bias(m, {.buckets = 8, .max_distance = 20, .bidirectional = false})) ==
          "relative_bias(8x6, {.buckets = 8, .max_distance = 20, .bidirectional = false})");
    CHECK(to_string(local_p(Eigen::MatrixXd::Zero(4, 1), 2.5)) == "local_p(4x1, 2.5)");
    CHECK(to_string(local_p(Eigen::MatrixXd::Zero(4, 1), 2.5, 2)) == "local_p(4x1, 2.5, 2)");
    CHECK(to_string(row_bias(m)) == "row_bias(8x6)");
    CHECK(to_string(column_bias(m, 2)) == "column_bias(8x6, 2)");
    CHECK(to_string(row_column_bias(m, m)) == "row_column_bias(8x6, 8x6)");
    CHECK(to_string(dense_mask(Flags::Zero(3, 4))) == "dense_mask(3x4)");
    CHECK(to_string(block_sparse(Flags::Zero(3, 4), 64, 32)) == "block_sparse(3x4, 64, 32)");
    CHECK(to_string(block_sparse(Flags::Zero(6, 4), 64, 32, 2)) == "block_sparse(6x4, 64, 32, 2)");
    CHECK(to_string(compiled(causal, {.queries = 4, .keys = 6})) == "compiled(..., {.queries = 4, .keys = 6})");
    CHECK(to_string(torch_key_padding_mask(Flags::Zero(2, 5))) == "torch_key_padding_mask(2x5)");
    CHECK(to_string(torch_attn_mask(m)) == "torch_attn_mask(8x6)");
    CHECK(to_string(lengths(std::vector<Index>(17, 1))) == "lengths(17x1)");
    const auto formulas = score([](auto q, auto k) { return q * k; }) >> modifier([](auto s, auto) { return s; }) >>
                          mask([](Position) { return true; });
    CHECK(to_string(formulas) == "score(...) >> modifier(...) >> mask(...) >> softmax");
}

TEST_CASE("numbers are spelled so that they are read back, by no more digits than that takes") {
    for (const double number : {0.1, 1.0 / 3, 1e300, 5e-324, 123456789.125, -0.0, 30.0}) {
        const std::string text = to_string(scale(number));
        INFO(text);
        CHECK(std::strtod(text.c_str() + 6, nullptr) == number);
    }
    CHECK_SPELLED(scale(0.1));
    CHECK_SPELLED(scale(30));
    CHECK_SPELLED(scale(0.30000000000000004));
}

TEST_CASE("blocks and mixers are spelled as they are written") {
    CHECK_SPELLED(multi_head<float>({.d_model = 512, .heads = 8}, scaled_dot_product >> causal >> softmax));
    CHECK_SPELLED(multi_head<double>({.d_model = 64,
                                      .heads = 8,
                                      .kv_heads = 2,
                                      .d_head = 16,
                                      .d_memory = 5,
                                      .d_value_memory = 7,
                                      .bias = false,
                                      .rope = Rope{},
                                      .qk_norm = RmsNorm{},
                                      .gate = OutputGate::headwise},
                                     dot_product >> softmax));
    CHECK_SPELLED(multi_head<float>(
        {.d_model = 8,
         .heads = 2,
         .rope =
             Rope{.layout = RopeLayout::interleaved, .width = 2, .base = 500, .frequencies = {0.5}, .magnitude = 1.5},
         .gate = OutputGate::elementwise},
        scaled_dot_product >> softmax));
    CHECK_SPELLED(multi_head<float>({.d_model = 8, .heads = 2}, recurrent(LinearAttention{})));
    CHECK_SPELLED(recurrent(LinearAttention{.causal = false,
                                            .decay = Decay::feature,
                                            .delta = true,
                                            .gates = KeyGates::logits,
                                            .features = FeatureMap::unit,
                                            .scale = 0.5}));
    CHECK(to_string(linear_attention) == "recurrent(LinearAttention{})");
    CHECK(to_string(gated_linear_attention()) == "recurrent(LinearAttention{.decay = Decay::head})");
    CHECK(to_string(recurrent(test::RunningMean())) == "recurrent(mixer)");
}

TEST_CASE("a part of a user's own says itself how it is spelled, or is a word for its kind") {
    CHECK(to_string(scaled_dot_product >> Shift{0.5} >> Nameless{} >> (Halves{} & causal)) ==
          "scaled_dot_product >> test::shift(0.5) >> modifier >> (halves & causal) >> softmax");
    CHECK(attend::to_string(Nameless{}) == "modifier");
}

}  // namespace test_to_string
