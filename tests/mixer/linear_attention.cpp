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

TEST_CASE("decays of 0, strong ones and -infinity are like any other") {
    const double infinity = std::numeric_limits<double>::infinity();
    for (const LinearAttention& mixer : family()) {
        if (mixer.decay == Decay::none) continue;
        CAPTURE(static_cast<int>(mixer.decay), mixer.delta);
        Operands<double> x = gated_operands(mixer, {.queries = 150, .keys = 150, .d_q = 9, .d_v = 5}, 2);
        const double strong[] = {0, -50, -1e4, -infinity, -0.1, -700};
        for (Index j = 0; j < 150; ++j) {
            const double decay = strong[j * j % 6];
            if (j < 100) {
                x.k(j, 9) = decay;
                if (mixer.decay == Decay::feature) x.k(j, 9 + 4) = decay, x.k(j, 9 + 8) = strong[j % 6];
            }
        }
        const auto plain = by_tokens(mixer);
        const Mixed<double> y = mix(plain, x);
        REQUIRE(y.out.allFinite());
        CHECK(distance(mix(recurrent(mixer), x).out, y.out) <= 1e-14 * magnitude(y.out));
        CHECK(worst(mix_backward(recurrent(mixer), x), mix_backward(plain, x)) <= 1e-13);
    }
}

TEST_CASE("a chunk's tokens know nothing of NaN or infinity in those behind them") {
    const double bad = GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
    for (const LinearAttention& mixer : family()) {
        for (const bool in_value : {true, false}) {
            CAPTURE(bad, static_cast<int>(mixer.decay), mixer.delta, in_value);
            const Layout layout{.queries = 100, .keys = 100, .d_q = 4, .d_v = 3, .heads = 2};
            const Operands<double> x = gated_operands(mixer, layout, 3);
            Operands<double> spoilt = x;
            (in_value ? spoilt.v : spoilt.k)(70, 1) = bad;
            const auto some = recurrent(mixer);
            const Mixed<double> y = mix(some, x), y_spoilt = mix(some, spoilt);
            CHECK(same_bits(y_spoilt.out.topRows(70), y.out.topRows(70)));
            CHECK(!y_spoilt.out.row(70).allFinite());
            const auto d = mix_backward(some, x), d_spoilt = mix_backward(some, spoilt);
            CHECK(same_bits(d_spoilt.dq.topRows(70), d.dq.topRows(70)));
            CHECK(!d_spoilt.dq.row(70).allFinite());
        }
    }
}

TEST_CASE("a state carries a sequence on, and its gradient back") {
    for (const LinearAttention& mixer : family()) {
        CAPTURE(static_cast<int>(mixer.decay), mixer.delta);
        const Layout layout{.queries = 100, .keys = 100, .d_q = 5, .d_v = 4, .heads = 4, .kv_heads = 2};
        const Operands<double> x = gated_operands(mixer, layout, 4);
        const auto some = recurrent(mixer);
        const Mixed<double> y = mix(some, x);
        const auto d = mix_backward(some, x);
        const Shape shape{.heads = 4, .kv_heads = 2, .d_q = 5, .d_k = mixer.key_width(5), .d_v = 4};
        std::vector<RecurrentCache<double>> states{some.cache<double>(shape)};
        const std::vector<Index> cuts{0, 1, 2, 40, 100};
        for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
            const Operands<double> part = rows_of(x, cuts[i], cuts[i + 1] - cuts[i], cuts[i], cuts[i + 1] - cuts[i]);
            Matrix out;
            states.push_back(states.back());
            some(part.query_heads(), part.key_heads(), part.value_heads(), states.back(), out);
            CHECK(distance(out, y.out.middleRows(cuts[i], cuts[i + 1] - cuts[i])) <= 1e-13);
            CHECK(states.back().tokens() == cuts[i + 1]);
        }
        auto dstates = some.cache<double>(shape);
        for (std::size_t i = cuts.size() - 1; i-- > 0;) {
            const Index begin = cuts[i], count = cuts[i + 1] - begin;
            const Operands<double> part = rows_of(x, begin, count, begin, count);
            Matrix dq, dk, dv;
            some.backward(part.query_heads(), part.key_heads(), part.value_heads(), states[i], heads(part.dout, 4), dq,
                          dk, dv, dstates);
            CHECK(distance(dq, d.dq.middleRows(begin, count)) <= 1e-12);
            CHECK(distance(dk, d.dk.middleRows(begin, count)) <= 1e-12);
            CHECK(distance(dv, d.dv.middleRows(begin, count)) <= 1e-12);
        }
    }
}

TEST_CASE("the last queries alone read a state, and none leave it right") {
    const LinearAttention mixer{.decay = Decay::head, .delta = true};
    const auto some = recurrent(mixer);
    const Operands<double> x = gated_operands(mixer, {.queries = 70, .keys = 70, .d_q = 5, .d_v = 4}, 5);
    const Mixed<double> y = mix(some, x);
    for (const Index asked : {0, 1, 7, 69}) {
        CAPTURE(asked);
        auto cache = some.cache<double>({.d_q = 5, .d_k = 7, .d_v = 4}), all = cache;
        Matrix out, whole;
        some(x.q.bottomRows(asked), x.k, x.v, cache, out);
        some(x.q, x.k, x.v, all, whole);
        CHECK(distance(out, y.out.bottomRows(asked)) <= 1e-14);
        CHECK(same_bits(cache.state(0, 0), all.state(0, 0)));
    }
}

TEST_CASE("logits and feature maps are what they are of gates and features") {
    const FeatureMap map = GENERATE(FeatureMap::elu, FeatureMap::unit);
    const Decay decay = GENERATE(Decay::head, Decay::feature);
    const LinearAttention plain{.decay = decay, .delta = true};
    LinearAttention mapped = plain;
    mapped.features = map, mapped.gates = KeyGates::logits;
    constexpr Index d = 4;
    const Operands<double> x = gated_operands(plain, {.queries = 20, .keys = 20, .d_q = d, .d_v = 3}, 6);
    const auto value = [&](const Matrix& rows) {
        Matrix y = rows;
        for (Index i = 0; i < y.rows(); ++i)
            for (Index c = 0; c < d; ++c)
                y(i, c) = map == FeatureMap::unit ? rows(i, c) / std::sqrt(rows.row(i).head(d).squaredNorm() + 1e-6)
                          : rows(i, c) > 0        ? rows(i, c) + 1
                                                  : std::exp(rows(i, c));
        for (Index i = 0; i < y.rows(); ++i)
            for (Index c = d; c < y.cols(); ++c) {
                const double sigmoid = 1 / (1 + std::exp(-rows(i, c)));
                y(i, c) = c + 1 == y.cols() ? sigmoid : std::log(sigmoid);
            }
        return y;
    };
    Operands<double> by_hand = x;
    by_hand.q = value(x.q), by_hand.k = value(x.k);
    CHECK(distance(mix(recurrent(mapped), x).out, mix(recurrent(plain), by_hand).out) <= 1e-14);
    // dx = the gradient of value(x), by differences of five points in each number.
    const auto d_plain = mix_backward(recurrent(plain), by_hand);
    const auto d_mapped = mix_backward(recurrent(mapped), x);
    const auto check = [&](const Matrix& at, const Matrix& dvalue, const Matrix& given) {
        Matrix slopes = Matrix::Zero(at.rows(), at.cols());
        constexpr double step = 1e-3;
        for (Index c = 0; c < at.cols(); ++c) {
            const auto moved = [&](double steps) {
                Matrix there = at;
                there.col(c).array() += steps * step;
                return value(there);
            };
            const Matrix slope = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step);
            slopes.col(c) = slope.cwiseProduct(dvalue).rowwise().sum();
        }
        for (Index i = 0; i < at.rows(); ++i)  // elu has a kink in its second derivative
            if ((at.row(i).head(d).array().abs() < 3 * step).any()) slopes.row(i) = given.row(i);
        CHECK(distance(slopes, given) <= 1e-10 * magnitude(slopes));
    };
    check(x.q, d_plain.dq, d_mapped.dq);
    check(x.k, d_plain.dk, d_mapped.dk);
}

TEST_CASE("16-bit tokens are computed in float, and rounded once") {
    for (const LinearAttention& mixer : family()) {
        const auto x = gated_operands<Eigen::bfloat16>(mixer, {.queries = 70, .keys = 70, .d_q = 6, .d_v = 4}, 7);
        const auto some = recurrent(mixer);
        CHECK(same_bits(mix(some, x).out, mix(some, x.cast<float>()).out.cast<Eigen::bfloat16>()));
        const auto d = mix_backward(some, x);
        const auto exact = mix_backward(some, x.cast<float>());
        CHECK(same_bits(d.dq, exact.dq.cast<Eigen::bfloat16>()));
        CHECK(same_bits(d.dk, exact.dk.cast<Eigen::bfloat16>()));
        CHECK(same_bits(d.dv, exact.dv.cast<Eigen::bfloat16>()));
    }
}

/// In the mean over all numbers: the largest of so many errors is chance.
TEST_CASE("chunks in float are at most twice as wrong as the recurrence in float, and one rounding") {
    for (const LinearAttention& mixer : family()) {
        CAPTURE(static_cast<int>(mixer.decay), mixer.delta);
        const auto x = gated_operands<float>(mixer, {.queries = 300, .keys = 300, .d_q = 32, .d_v = 32}, 8);
        const auto plain = by_tokens(mixer);
        const Operands<double> exact = x.cast<double>();
        const auto check = [](const auto& chunks, const auto& tokens, const Matrix& right) {
            const auto error = [&](const auto& a) { return (a.template cast<double>() - right).norm() / right.norm(); };
            CHECK(error(chunks) <= 2 * error(tokens) + 0x1p-24);
        };
        check(mix(recurrent(mixer), x).out, mix(plain, x).out, mix(plain, exact).out);
        const auto d = mix_backward(plain, exact);
        const auto chunks = mix_backward(recurrent(mixer), x);
        const auto tokens = mix_backward(plain, x);
        check(chunks.dq, tokens.dq, d.dq), check(chunks.dk, tokens.dk, d.dk), check(chunks.dv, tokens.dv, d.dv);
    }
}

TEST_CASE("random shapes, strides, sequences and threads give what the recurrence gives") {
    Random random(9);
    const auto upto = [&](Index most) { return random_index(random, 0, most); };
    for (int round = 0; round < 60; ++round) {
        LinearAttention mixer = family()[static_cast<std::size_t>(upto(5))];
        mixer.causal = upto(3) > 0;
        Layout layout{.d_q = 1 + upto(20), .d_v = 1 + upto(20)};
        layout.kv_heads = 1 + upto(2), layout.heads = layout.kv_heads * (1 + upto(2));
        layout.query_offset = upto(40) - 10;
        layout.sequences = layout.key_sequences = {0};
        for (Index s = 1 + upto(2); s > 0; --s) {
            layout.sequences.push_back(layout.sequences.back() + upto(90));
            layout.key_sequences.push_back(layout.key_sequences.back() + upto(150));
        }
        layout.queries = layout.sequences.back(), layout.keys = layout.key_sequences.back();
        CAPTURE(round, static_cast<int>(mixer.decay), mixer.delta, mixer.causal, layout.queries, layout.keys);
        const Operands<double> x = gated_operands(mixer, layout, 100 + static_cast<std::uint64_t>(round));
        const auto plain = by_tokens(mixer);
        const Threads executor{1 + upto(2)};
        const Mixed<double> y = mix(plain, x);
        CHECK(distance(mix(recurrent(mixer), x, executor).out, y.out) <= 1e-12 * magnitude(y.out));
        CHECK(worst(mix_backward(recurrent(mixer), x, executor), mix_backward(plain, x)) <= 1e-12);
        // Columns for rows, each second one: other strides, the same bits.
        const Mixed<double> own = mix(recurrent(mixer), x);
        const auto spread = [](const Matrix& rows) {
            Eigen::MatrixXd wide(2 * rows.rows(), rows.cols());
            wide.setConstant(std::numeric_limits<double>::quiet_NaN());
            for (Index i = 0; i < rows.rows(); ++i) wide.row(2 * i) = rows.row(i);
            return wide;
        };
        const Eigen::MatrixXd q = spread(x.q), k = spread(x.k), v = spread(x.v);
        const auto every_second = [](const Eigen::MatrixXd& wide, Index heads) {
            const Index d = wide.cols() / heads, n = wide.rows() / 2;
            return strided(wide.data(), {1, heads, n, d}, {0, d * wide.rows(), 2, wide.rows()});
        };
        Matrix out;
        recurrent(mixer)(every_second(q, layout.heads), every_second(k, layout.kv_heads),
                         every_second(v, layout.kv_heads), out,
                         {.query_offset = layout.query_offset,
                          .sequences = offsets_of(layout.sequences),
                          .key_sequences = offsets_of(layout.key_sequences)});
        CHECK(same_bits(out, own.out));
    }
}

TEST_CASE("what does not fit is refused by name") {
    const auto some = gated_delta_rule(Decay::feature);
    const Matrix q = Matrix::Ones(4, 3), k = Matrix::Ones(4, 7), v = Matrix::Ones(4, 2);
    Matrix out, dq, dk, dv;
    CHECK(refusal([&] { some(q, q, v, out); }) ==
          "linear attention: k must have 7 columns a head, the 3 of q, 3 of decay and 1 of beta, not 3");
    CHECK(refusal([&] { recurrent(LinearAttention{.scale = std::nan("")})(q, q, v, out); }) ==
          "linear attention: the scale must be a finite number, not nan");
    CHECK(refusal([&] { linear_attention(Matrix(4, 0), Matrix(4, 0), v, out); }) ==
          "linear attention: q must have at least one column a head");
    auto cache = some.cache<double>({.d_q = 3, .d_k = 7, .d_v = 2});
    auto two = some.cache<double>({.sequences = 2, .d_q = 3, .d_k = 7, .d_v = 2});
    CHECK(refusal([&] { some(q, k, v, two, out); }) ==
          "the cache holds 2 sequences with 1 states of 3x2, but the call has 1 with 1 of 3x2");
    CHECK(refusal([&] { some(q, k, v, cache, out, {.query_offset = 2}); }) ==
          "query_offset: queries of a call on states stand at the latest keys: leave it out");
    CHECK(refusal([&] { some(q, k.topRows(3), v.topRows(3), cache, out); }) ==
          "sequence 0 has 4 queries, but only 3 keys that they could stand at");
    CHECK(refusal([&] { some.backward(q, k, v, cache, v, dq, dk, dv, cache); }) ==
          "dstates are the very states that the call started from");
    CHECK(refusal([&] { some.backward(q, k, v, cache, v, dq, dk, dv, two); }) ==
          "dstates holds 2 sequences with 1 states of 3x2, but the call has 1 with 1 of 3x2");
    auto narrow = recurrent(LinearAttention{}).cache<double>({.d_q = 3, .d_k = 3, .d_v = 2});
    const auto states = narrow.state(0, 0);
    CHECK(refusal([&] { linear_attention(q.topRows(3), q.topRows(3), v.topRows(3), narrow, narrow.state(0, 0)); }) ==
          "out (3x2) aliases the cache (3x2): give the call memory of its own to write to");
    CHECK(refusal([&] { linear_attention(q.topRows(3), q.topRows(3), states, narrow, out); }) ==
          "the cache (3x2) aliases v (3x2): give the call memory of its own to write to");
    CHECK((narrow.tokens() == 0 && cache.tokens() == 0 && cache.state(0, 0).isZero(0) && out.size() == 0 &&
           dq.size() == 0));
}

TEST_CASE("backward holds a state for each chunk of 64 keys, forward one") {
    const auto bytes = [&](Index keys, Pass pass) {
        const Shape shape{.queries = keys, .keys = keys, .d_q = 16, .d_k = 16, .d_v = 16};
        return static_cast<Index>(linear_attention.workspace_bytes<float>(shape, 1, pass));
    };
    constexpr Index state = 16 * 16 * sizeof(float);
    CHECK(bytes(6400, Pass::forward) == bytes(64, Pass::forward));
    CHECK(bytes(6400, Pass::backward) == bytes(64, Pass::backward) + 99 * state);
}

}  // namespace test_linear_attention
