// Linear attention and its kin, 8 heads of 64: whole sequences, training, and steps of one token from a cache of
// states. `us_of_token` must not grow with the sequence. `times_by_tokens` is how many times as long the recurrence
// takes token by token. Of forward calls `peak_fraction` counts the products of a chunk, of which some only need a
// triangle.

#include <attend/attend.hpp>

#include <measure.hpp>
#include <mixer/linear_by_tokens.hpp>
#include <peak.hpp>
#include <support/random.hpp>

namespace attend::bench {
namespace {

constexpr Index head_count = 8, d = 64;

/// Operands, whose decays and β lie between 0.6 and 1, and 0 and 0.5.
struct Tokens {
    LinearAttention rule;
    Recurrent<LinearAttention> mixer{rule};
    Recurrent<test::LinearByTokens> by_tokens{test::LinearByTokens{.decay = rule.decay, .delta = rule.delta}};
    Index n, width = mixer.key_width(d);
    RowMatrix<float> q, k, v, dout, out, dq, dk, dv, none{};
    Workspace workspace{};

    Tokens(const LinearAttention& rule_, Index n_) : rule(rule_), n(n_) {
        Random random(1);
        q = test::random_matrix<float>(random, n, head_count * d);
        k = test::random_matrix<float>(random, n, head_count * width, 0.1);
        v = test::random_matrix<float>(random, n, head_count * d);
        dout = test::random_matrix<float>(random, n, head_count * d);
        for (Index h = 0; h < head_count; ++h) {
            auto gates = k.middleCols(h * width + d, width - d);
            gates = -5 * gates.cwiseAbs();
            if (rule.delta) gates.rightCols(1) *= -1;
        }
        out = dq = dv = q, dk = k;
    }
    auto in_heads(const auto& x) const { return heads(x, head_count); }
    template <class M>
    void forward(const M& some) {
        some(in_heads(q), in_heads(k), in_heads(v), out, {.workspace = &workspace});
    }
    template <class M>
    void train(const M& some) {
        forward(some);
        some.backward(in_heads(q), in_heads(k), in_heads(v), in_heads(out), none, in_heads(dout), dq, dk, dv,
                      {.workspace = &workspace});
    }
    double forward_operations() const {
        const double products = rule.delta ? 7 : 5;
        return 2 * products * static_cast<double>(n * head_count * d * d);
    }
    bool agrees() {
        forward(by_tokens);
        const RowMatrix<float> right = out;
        forward(mixer);
        return (out - right).norm() <= 1e-5f * right.norm();
    }
};

void add(const std::string& name, const LinearAttention& rule, Index n) {
    const std::string size = "/n" + std::to_string(n) + "_h8_d64/t1";
    const auto measured = [n](benchmark::State& state, Tokens& tokens, auto&& call) {
        if (!tokens.agrees()) return state.SkipWithError("wrong: the recurrence gives another output");
        const double seconds = timed(state, [&] { call(tokens.mixer); });
        state.counters["us_of_token"] = seconds * 1e6 / static_cast<double>(n);
        state.counters["times_by_tokens"] = times_as_long([&] { call(tokens.by_tokens); }, [&] { call(tokens.mixer); });
    };
    add_benchmark("mixer/forward/" + name + size, [rule, n, measured](benchmark::State& state) {
        Tokens tokens(rule, n);
        measured(state, tokens, [&](const auto& mixer) { tokens.forward(mixer); });
        const double seconds = least_seconds([&] { tokens.forward(tokens.mixer); });
        state.counters["peak_fraction"] = tokens.forward_operations() / seconds / operations_per_second<float>();
    });
    add_benchmark("mixer/train/" + name + size, [rule, n, measured](benchmark::State& state) {
        Tokens tokens(rule, n);
        measured(state, tokens, [&](const auto& mixer) { tokens.train(mixer); });
    });
}

void add_step(const std::string& name, const LinearAttention& rule) {
    add_benchmark("mixer/step/" + name + "/h8_d64/t1", [rule](benchmark::State& state) {
        Tokens tokens(rule, 1);
        auto cache = tokens.mixer.cache<float>(
            {.heads = head_count, .kv_heads = head_count, .d_q = d, .d_k = tokens.width, .d_v = d});
        timed(state, [&] {
            tokens.mixer(tokens.in_heads(tokens.q), tokens.in_heads(tokens.k), tokens.in_heads(tokens.v), cache,
                         tokens.out, {.workspace = &tokens.workspace});
        });
    });
}

const bool added = [] {
    const std::pair<const char*, LinearAttention> rules[] = {
        {"linear", {}},
        {"gated", {.decay = Decay::head}},
        {"gated_by_feature", {.decay = Decay::feature}},
        {"delta_rule", {.delta = true}},
        {"gated_delta_rule", {.decay = Decay::head, .delta = true}},
        {"gated_delta_rule_by_feature", {.decay = Decay::feature, .delta = true}}};
    for (const auto& [name, rule] : rules) {
        for (const Index n : {1024, 4096}) add(name, rule, n);
        add_step(name, rule);
    }
    return true;
}();

}  // namespace
}  // namespace attend::bench
