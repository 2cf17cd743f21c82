// Keys besides those of the call are the same as rows below k and v, which no mask hides.

#include <attend/interchange/torch_extra_keys.hpp>

#include <attend/layer/multi_head.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mask/lengths.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_extra_keys {
namespace {

struct Which {
    bool bias, zero;
};

template <class T, class A>
auto extra_keys(const A& attention, const Layout& layout, const Which& which) {
    using C = Compute<T>;
    auto mixer = torch_extra_keys<C>(
        attention, {.bias_kv = which.bias ? layout.kv_heads * layout.d_k : 0, .zero_attn = which.zero});
    Random random(9);
    mixer.bias_k = random_matrix<C>(random, mixer.bias_k.size(), 1, 2.0);
    mixer.bias_v = random_matrix<C>(random, which.bias ? layout.kv_heads * layout.d_v : 0, 1);
    return mixer;
}

/// The same operands with the other keys as rows behind those of each sequence.
template <class M>
Operands<double> with_rows(const Operands<double>& x, const M& mixer) {
    const Index extra = (mixer.bias_k.size() != 0 ? 1 : 0) + (mixer.zero_attn ? 1 : 0);
    Operands<double> all = x;
    std::vector<Index> offsets = x.layout.key_sequences;
    if (offsets.empty()) offsets = {0, x.layout.keys};
    const Index sequences = std::ssize(offsets) - 1;
    all.layout.keys += extra * sequences;
    all.k.setZero(all.layout.keys, x.k.cols());
    all.v.setZero(all.layout.keys, x.v.cols());
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        const Index begin = offsets[s], rows = offsets[s + 1] - begin, to = begin + extra * static_cast<Index>(s);
        all.k.middleRows(to, rows) = x.k.middleRows(begin, rows);
        all.v.middleRows(to, rows) = x.v.middleRows(begin, rows);
        if (mixer.bias_k.size() == 0) continue;
        all.k.row(to + rows) = mixer.bias_k.transpose();
        all.v.row(to + rows) = mixer.bias_v.transpose();
    }
    if (!x.layout.key_sequences.empty()) {
        for (std::size_t s = 0; s < offsets.size(); ++s) all.layout.key_sequences[s] += extra * static_cast<Index>(s);
    }
    return all;
}

/// An executor that takes the last task first.
struct Backwards {
    Index concurrency() const { return 3; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = count; i-- > 0;) f(i);
    }
};

const std::vector<Layout> layouts = {
    {.queries = 5, .keys = 6},
    {.queries = 1, .keys = 1, .heads = 4, .kv_heads = 2},
    {.queries = 3, .keys = 0, .heads = 2, .kv_heads = 1},
    {.queries = 0, .keys = 4},
    {.queries = 40, .keys = 130, .d_q = 8, .d_k = 8, .d_v = 5, .heads = 4, .kv_heads = 2},
    {.queries = 9, .keys = 12, .heads = 2, .kv_heads = 2, .sequences = {0, 4, 4, 9}, .key_sequences = {0, 7, 10, 12}}};

}  // namespace

TEST_CASE("keys besides are rows below k and v: output, LSE, weights and gradients") {
    const Which which = GENERATE(Which{true, false}, Which{false, true}, Which{true, true}, Which{false, false});
    const Layout layout = GENERATE(from_range(layouts));
    const auto x = random_operands(layout, 1);
    const auto mixer = extra_keys<double>(scaled_dot_product, layout, which);
    const auto all = with_rows(x, mixer);
    const auto y = forward(mixer, x), expected = forward(scaled_dot_product, all);
    const auto d = backward(mixer, x);
    const auto expected_d = backward(scaled_dot_product, all);
    constexpr double rounding = 1e-13;
    CHECK(distance(y.out, expected.out) < rounding);
    CHECK(distance(y.lse, expected.lse) < rounding);
    CHECK(distance(d.dq, expected_d.dq) < rounding);

    std::vector<Index> offsets =
        layout.key_sequences.empty() ? std::vector<Index>{0, layout.keys} : layout.key_sequences;
    const Index extra = (which.bias ? 1 : 0) + (which.zero ? 1 : 0);
    RowMatrix<double> dbias_k = RowMatrix<double>::Zero(1, x.k.cols()),
                      dbias_v = RowMatrix<double>::Zero(1, x.v.cols());
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
        const Index begin = offsets[s], rows = offsets[s + 1] - begin, from = begin + extra * static_cast<Index>(s);
        CHECK(distance(d.dk.middleRows(begin, rows), expected_d.dk.middleRows(from, rows)) < rounding);
        CHECK(distance(d.dv.middleRows(begin, rows), expected_d.dv.middleRows(from, rows)) < rounding);
        if (!which.bias) continue;
        dbias_k += expected_d.dk.row(from + rows);
        dbias_v += expected_d.dv.row(from + rows);
    }
    if (which.bias) {
        CHECK(distance(d.parameters.bias_k.transpose(), dbias_k) < 4 * rounding);
        CHECK(distance(d.parameters.bias_v.transpose(), dbias_v) < 4 * rounding);
    }
    if (layout.key_sequences.empty() && expected.weights.size() > 0) {
        CHECK(distance(y.weights, expected.weights.leftCols(layout.keys)) < rounding);
        CHECK(distance(mixer.extra_weights(x.query_heads(), y.lse), expected.weights.rightCols(extra)) < rounding);
    }
}

TEST_CASE("no mask hides them: a query that sees no key of its own sees those") {
    const Layout layout{.queries = 4, .keys = 5};
    const auto x = random_operands(layout, 2);
    const auto hides_all = scaled_dot_product >> lengths({0});
    const auto both = extra_keys<double>(hides_all, layout, {true, true});
    auto hidden = x;
    hidden.k.setConstant(std::numeric_limits<double>::quiet_NaN());
    hidden.v.setConstant(std::numeric_limits<double>::quiet_NaN());
    const auto y = forward(both, hidden);
    const Operands<double> none{
        .q = x.q, .k = x.k.topRows(0), .v = x.v.topRows(0), .dout = x.dout, .layout = {.queries = 4, .keys = 0}};
    const auto expected = forward(extra_keys<double>(scaled_dot_product, layout, {true, true}), none);
    CHECK(distance(y.out, expected.out) < 1e-15);
    CHECK(distance(y.lse, expected.lse) < 1e-15);
    const auto zeros = forward(extra_keys<double>(hides_all, layout, {false, true}), hidden);
    CHECK(zeros.out.isZero(0));
    CHECK(zeros.lse.isZero(0));
    CHECK(zeros.weights.isZero(0));
}

TEST_CASE("in float and 16 bits they are as exact as the attention itself") {
    const Layout layout{.queries = 20, .keys = 30, .d_q = 16, .d_k = 16, .d_v = 16, .heads = 2, .kv_heads = 2};
    const auto exact = random_operands(layout, 3);
    const auto check = [&]<class T>(T, double rounding) {
        const auto x = exact.cast<T>();
        const auto mixer = extra_keys<T>(scaled_dot_product, layout, {true, true});
        auto in_double = extra_keys<double>(scaled_dot_product, layout, {true, true});
        in_double.bias_k = mixer.bias_k.template cast<double>(),
        in_double.bias_v = mixer.bias_v.template cast<double>();
        const auto rounded = x.template cast<double>();
        const auto expected = forward(in_double, rounded);
        const auto expected_d = backward(in_double, rounded);
        const auto d = backward(mixer, x);
        // Rounded where the attention ends, and again where the other keys are added.
        CHECK(distance(forward(mixer, x).out, expected.out) <= 2 * rounding * magnitude(expected.out));
        CHECK(distance(d.parameters.bias_v, expected_d.parameters.bias_v) <=
              8 * rounding * magnitude(expected_d.parameters.bias_v));
    };
    check(float(), 0x1p-22);
    check(Eigen::half(), 0x1p-11);
    check(Eigen::bfloat16(), 0x1p-8);
}

TEST_CASE("the bits of a sequence depend on itself alone, and not on threads") {
    const Layout layout = layouts[4];
    const auto x = random_operands<float>(layout, 4);
    const auto mixer = extra_keys<float>(scaled_dot_product >> causal, layout, {true, true});
    CHECK(first_difference(forward(mixer, x, Backwards()), forward(mixer, x)).empty());
    CHECK(first_difference(backward(mixer, x, Backwards()), backward(mixer, x)).empty());

    auto twice = x;
    twice.layout.queries *= 2, twice.layout.keys *= 2;
    twice.layout.sequences = {0, 40, 80}, twice.layout.key_sequences = {0, 130, 260};
    twice.q = x.q.replicate(2, 1), twice.k = x.k.replicate(2, 1), twice.v = x.v.replicate(2, 1);
    twice.dout = x.dout.replicate(2, 1);
    CHECK(same_bits(forward(mixer, twice).out.bottomRows(40), forward(mixer, x).out));
    CHECK(same_bits(backward(mixer, twice).dk.topRows(130), backward(mixer, x).dk));
}

TEST_CASE("a block of them adds into gradients, and refuses in words") {
    auto block =
        multi_head<float>({.d_model = 8, .heads = 2}, torch_extra_keys<float>(scaled_dot_product, {.bias_kv = 8}));
    block.attention.bias_k.setRandom(), block.attention.bias_v.setRandom();
    Random random(5);
    const RowMatrix<float> x = random_matrix<float>(random, 6, 8), dy = random_matrix<float>(random, 6, 8);
    RowMatrix<float> y, dx, weights;
    MultiHeadTape<float> tape;
    auto once = zero_gradient(block), twice = zero_gradient(block);
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx, {.gradient = &once});
    const RowMatrix<float> dx_once = dx;
    for (int i = 0; i < 2; ++i) block.backward(tape, dy, dx, {.gradient = &twice});
    CHECK(distance(dx, 3 * dx_once) < 1e-5);
    CHECK(distance(twice.attention.bias_k, 2 * once.attention.bias_k) < 1e-5);
    CHECK(distance(twice.attention.bias_v, 2 * once.attention.bias_v) < 1e-5);

    const auto refused = [&](const MultiHeadOptions<float>& options) {
        return refusal([&] { block.forward(x, y, options); });
    };
    CHECK(refused({.dropout = {.rate = 0.5}}) == "dropout: torch_extra_keys have none: leave it out");
    CHECK(refused({.weights = weights, .weight_rows = query_rows({1})}) ==
          "weight_rows: torch_extra_keys give the weights of all rows");
    block.attention.bias_k.resize(7);
    CHECK(refused({}) ==
          "torch_extra_keys: bias_k and bias_v have 7 and 8 numbers, but 2 key/value heads have 8 and 8");
    CHECK(refusal([] { torch_extra_keys<float>(scaled_dot_product, {.bias_kv = -1}); }) ==
          "torch_extra_keys: bias_kv must be a width, got -1");
}

}  // namespace test_torch_extra_keys
