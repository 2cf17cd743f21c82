// needs: threads
//
// Linear attention: figures from PyTorch, the laws of mixers, and its own recurrence token by token.

#include <attend/mixer/key_gates.hpp>
#include <attend/mixer/linear_attention.hpp>

#include <cmath>
#include <limits>

#include <golden/golden.hpp>
#include <mixer/laws.hpp>
#include <mixer/linear_by_tokens.hpp>

using namespace attend;
using namespace attend::test;

namespace test_linear_attention {
namespace {

using Matrix = RowMatrix<double>;

/// Decays between −1 and 0 and β between 0 and 1, keys short enough for the delta rule to be stable.
template <class T = double>
Operands<T> gated_operands(const LinearAttention& mixer, const Layout& shape, std::uint64_t seed) {
    Layout layout = shape;
    layout.d_k = mixer.key_width(layout.d_q);
    Operands<double> x = random_operands<double>(layout, seed);
    Index d = layout.d_q;
    for (Index h = 0; h < layout.kv_heads; ++h) {
        auto k = x.k.middleCols(h * layout.d_k, layout.d_k);
        k.leftCols(d) /= std::sqrt(static_cast<double>(d));
        k.rightCols(layout.d_k - d) = -k.rightCols(layout.d_k - d).cwiseAbs() / 2;
        if (mixer.delta) k.rightCols(1) = -k.rightCols(1);
    }
    return x.cast<T>();
}
std::vector<LinearAttention> family() {
    std::vector<LinearAttention> all;
    for (const Decay decay : {Decay::none, Decay::head, Decay::feature})
        for (const bool delta : {false, true}) all.push_back({.decay = decay, .delta = delta});
    return all;
}
Recurrent<LinearByTokens> by_tokens(const LinearAttention& mixer) {
    return recurrent(LinearByTokens{.causal = mixer.causal, .decay = mixer.decay, .delta = mixer.delta});
}

/// A case of one head, of as many sequences as its tensors have.
void check_golden(const Case& c) {
    const std::string rule = c.attributes.at("rule");
    const Tensor& k = c.in("k");
    const Index n = k.shape[0], d = k.shape[1];
    const bool gated = c.has_in("decay"), delta = c.has_in("beta");
    REQUIRE((gated == rule.starts_with("gated") && delta == rule.ends_with("delta")));
    const Decay decay = !gated ? Decay::none : c.in("decay").columns() == 1 ? Decay::head : Decay::feature;
    const auto mixer = recurrent(LinearAttention{.decay = decay, .delta = delta});
    const auto matrix = [&](const std::string& name) {
        return c.has_in(name) ? c.in(name).matrix<double>() : Matrix();
    };
    const Matrix q = matrix("q"), v = matrix("v"), dout = matrix("dout");
    const Matrix keys = join_keys(mixer.mixer, k.matrix<double>(), matrix("decay"), Matrix(matrix("beta").transpose()));
    auto past = mixer.cache<double>({.d_q = d, .d_k = keys.cols(), .d_v = v.cols()});
    past.state(0, 0) = c.in("state").matrix<double>();
    auto cache = past, dstates = past;
    dstates.reset();
    Matrix out, dq, dk, dv;
    mixer(q, keys, v, cache, out);
    mixer.backward(q, keys, v, past, dout, dq, dk, dv, dstates);
    CHECK(cache.tokens() == n);
    const auto apart = split_keys(mixer.mixer, dk, d);
    Comparison comparison(c);
    comparison.check("out", out), comparison.check("present_state", cache.state(0, 0));
    comparison.check("dq", dq), comparison.check("dk", apart.k), comparison.check("dv", dv);
    comparison.check("dstate", dstates.state(0, 0));
    if (gated) comparison.check("ddecay", apart.decay);
    if (delta) comparison.check("dbeta", apart.beta);
    comparison.finish();
}

template <class T>
double worst(const Gradients<T, Recurrent<LinearAttention>>& a, const Gradients<double, Recurrent<LinearByTokens>>& b) {
    return std::max({distance(a.dq.template cast<double>(), b.dq) / magnitude(b.dq),
                     distance(a.dk.template cast<double>(), b.dk) / magnitude(b.dk),
                     distance(a.dv.template cast<double>(), b.dv) / magnitude(b.dv)});
}

}  // namespace

TEST_CASE("PyTorch's figures of every rule, from a state on, with all gradients") {
    for (const Case& c : golden_cases_of("linear_attention")) {
        INFO(c.name);
        check_golden(c);
    }
}

TEST_CASE("linear attention is a mixer, causal or of all keys, by any rule") {
    const bool causal = GENERATE(true, false);
    for (LinearAttention mixer : family()) {
        CAPTURE(causal, static_cast<int>(mixer.decay), mixer.delta);
        mixer.causal = causal, mixer.gates = KeyGates::logits;
        mixer.features = mixer.delta ? FeatureMap::unit : FeatureMap::plain;
        check_laws(recurrent(mixer), causal);
    }
}

TEST_CASE("chunks give what the recurrence gives token by token") {
    for (const LinearAttention& mixer : family()) {
        for (const Index offset : {0, 70, -30}) {
            CAPTURE(static_cast<int>(mixer.decay), mixer.delta, offset);
            const Layout layout{
                .queries = 200, .keys = 230, .d_q = 20, .d_v = 18, .heads = 4, .kv_heads = 2, .query_offset = offset};
            const Operands<double> x = gated_operands(mixer, layout, 1);
            const auto plain = by_tokens(mixer);
            const Mixed<double> y = mix(plain, x);
            const auto d = mix_backward(plain, x);
            CHECK(distance(mix(recurrent(mixer), x).out, y.out) <= 1e-13 * magnitude(y.out));
            CHECK(worst(mix_backward(recurrent(mixer), x), d) <= 1e-13);
        }
    }
}

}  // namespace test_linear_attention
