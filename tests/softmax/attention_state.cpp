// States of parts of the keys merge to that of all, whichever way they are paired, and give the gradients of the whole.

#include <attend/attend.hpp>

#include <limits>
#include <string>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_attention_state {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const Layout layout{
    .queries = 7, .keys = 23, .d_q = 3, .d_k = 3, .d_v = 5, .heads = 6, .kv_heads = 2, .query_offset = 11};

/// Those keys of the operands, which stand `begin` before where they stood: so do the queries.
template <class T>
Operands<T> part_of(const Operands<T>& x, Index begin, Index end) {
    Operands<T> part = x;
    part.layout.keys = end - begin;
    part.layout.query_offset -= begin;
    part.k = x.k.middleRows(begin, end - begin);
    part.v = x.v.middleRows(begin, end - begin);
    return part;
}
template <class A, class T>
AttentionState<T> state_of(const A& attention, const Operands<T>& x) {
    return attention.state(x.query_heads(), x.key_heads(), x.value_heads(), {.query_offset = x.layout.query_offset});
}
template <class T, class Y>
void check_near(const AttentionState<T>& state, const Y& whole, double rounding) {
    CHECK(distance(state.output, whole.out) <= rounding);
    CHECK(distance(state.lse, whole.lse) <= rounding * std::max(1.0, magnitude(whole.lse)));
}

/// Positions matter, a sixth of the rows see nothing of one part or the other, and row 0 of heads sees little.
auto positional() { return scaled_dot_product >> alibi(alibi_slopes(6)) >> (causal & sliding_window(9)); }

}  // namespace

TEST_CASE("states of parts of the keys merge to the whole, in any order and grouping") {
    const Operands<double> x = random_operands(layout, 1);
    const auto check = [&](const auto& attention) {
        const auto whole = forward(attention, x);
        check_near(state_of(attention, x), whole, 0);
        std::vector<AttentionState<double>> parts;
        for (const auto& [begin, end] : {std::pair<Index, Index>{0, 4}, {4, 12}, {12, 12}, {12, 23}})
            parts.push_back(state_of(attention, part_of(x, begin, end)));
        check_near(merge(merge(merge(parts[0], parts[1]), parts[2]), parts[3]), whole, 1e-14);
        check_near(merge(parts[0], merge(parts[1], merge(parts[2], parts[3]))), whole, 1e-14);
        check_near(merge(merge(parts[3], parts[1]), merge(parts[2], parts[0])), whole, 1e-14);
        AttentionState<double> sum(layout.queries, layout.heads, layout.d_v);
        for (const auto& part : parts) sum.merge(part);
        check_near(sum, whole, 1e-14);
    };
    check(positional());
    check(dot_product >> soft_cap(3.0));
    check(cosine(4.0));
}

TEST_CASE("the state of no keys changes no bit") {
    const AttentionState<double> some = state_of(positional(), part_of(random_operands(layout, 2), 0, 6));
    CHECK((some.lse.array() == -infinity).any());
    CHECK((some.lse.array() > -infinity).any());
    AttentionState<double> none(layout.queries, layout.heads, layout.d_v);
    for (const auto& both : {merge(some, none), merge(none, some)}) {
        CHECK(same_bits(both.output, some.output));
        CHECK(same_bits(both.lse, some.lse));
    }
    AttentionState<double> cleared = some;
    cleared.clear();
    CHECK(same_bits(cleared.output, none.output));
    CHECK(same_bits(cleared.lse, none.lse));
    // Beside a row without keys nothing of it is looked at.
    none.output.setConstant(std::numeric_limits<double>::quiet_NaN());
    CHECK(same_bits(merge(some, none).lse, some.lse));
    CHECK(!merge(some, none).output.hasNaN());
}

TEST_CASE("a state is what a call gives of sources, batches and 16-bit operands too") {
    const Operands<float> x = random_operands<float>(layout, 3);
    KvCache<float> cache({.heads = 2, .d_k = 3, .d_v = 5, .capacity = 30});
    cache.append(x.k, x.v);
    Layout at_the_end = layout;
    at_the_end.query_offset = layout.keys - layout.queries;
    Operands<float> y = x;
    y.layout = at_the_end;
    const auto state = positional().state(x.query_heads(), cache), same = state_of(positional(), y);
    CHECK(same_bits(state.output, same.output));
    CHECK(same_bits(state.lse, same.lse));

    const Operands<Eigen::half> half = x.cast<Eigen::half>();
    const auto whole = forward(positional(), half.cast<double>());
    AttentionState<Eigen::half> merged = state_of(positional(), part_of(half, 0, 10));
    merged.merge(state_of(positional(), part_of(half, 10, 23)));
    // Each part is rounded once, and so is their sum; values are at most 1.
    CHECK(distance(merged.output.cast<double>(), whole.out) <= 2 * 0x1p-11);
    CHECK(distance(merged.lse, whole.lse) <= 1e-5);
}

TEST_CASE("a sink is added once, when all keys are in") {
    const Operands<double> x = random_operands(layout, 4);
    const auto attention = positional();
    const Eigen::VectorXd logits = Eigen::VectorXd::LinSpaced(6, -3, 2);
    const auto merged = [&] {
        return merge(state_of(attention, part_of(x, 0, 9)), state_of(attention, part_of(x, 9, 23)));
    };
    AttentionState<double> state = merged();
    state.add_sink(0.7);
    check_near(state, forward(attention >> softmax_with_sink(0.7), x), 1e-14);
    state = merged();
    state.add_sink(logits);
    check_near(state, forward(attention >> softmax_with_sink(logits), x), 1e-14);
    state.clear();
    state.add_sink(0.7);
    CHECK((state.lse.array() == -infinity).all());
    CHECK((state.output.array() == 0).all());
    CHECK(refusal([&] { state.add_sink(Eigen::Vector2d(1, 2)); }) ==
          "add_sink: sink (2 values) must have one value a head, there are 6 heads");
}

TEST_CASE("gradients of parts, with the merged output and LSE, are those of the whole") {
    const Operands<double> x = random_operands(layout, 5);
    const auto attention = positional();
    const auto whole = backward(attention, x);
    constexpr Index split = 9;
    AttentionState<double> state = state_of(attention, part_of(x, 0, split));
    state.merge(state_of(attention, part_of(x, split, layout.keys)));
    Gradients<double, std::remove_const_t<decltype(attention)>> d{.parameters = zero_gradient(attention)};
    RowMatrix<double> dk(layout.keys, 6), dv(layout.keys, 10);
    dk.setZero(), dv.setZero();
    for (const auto& [begin, end] : {std::pair<Index, Index>{0, split}, {split, layout.keys}}) {
        const Operands<double> part = part_of(x, begin, end);
        attention.backward(part.query_heads(), part.key_heads(), part.value_heads(), heads(state.output, 6), state.lse,
                           heads(x.dout, 6), d.dq, dk.middleRows(begin, end - begin), dv.middleRows(begin, end - begin),
                           {.gradient = &d.parameters, .query_offset = part.layout.query_offset});
    }
    CHECK(distance(d.dq, whole.dq) <= 1e-14 * magnitude(whole.dq));
    CHECK(distance(dk, whole.dk) <= 1e-14 * magnitude(whole.dk));
    CHECK(distance(dv, whole.dv) <= 1e-14 * magnitude(whole.dv));
    CHECK(distance(parameters_of(d.parameters), parameters_of(whole.parameters)) <=
          1e-13 * magnitude(parameters_of(whole.parameters)));
}

TEST_CASE("states and results of many heads that do not fit are refused in words") {
    AttentionState<double> state(3, 2, 4);
    CHECK(refusal([&] { state.merge(AttentionState<double>(3, 4, 2)); }) ==
          "merge: the states have outputs a (3x8) of 2 heads and b (3x8) of 4");
    CHECK(refusal([&] { state.merge(AttentionState<double>()); }) ==
          "merge: the states have outputs a (3x8) of 2 heads and b (0x0) of 0");
    CHECK(refusal([] { AttentionState<float>(3, 0, 4); }) ==
          "state: needs rows, at least one head and a width, got 3, 0 and 4");
    RowMatrix<double> out, lse;
    const RowMatrix<double> three = RowMatrix<double>::Zero(3, 3);
    CHECK(refusal([&] { merge(state.output, three, state.output, three, out, lse); }) ==
          "merge: lse_a (3x3) and lse_b (3x3) must have an entry for each head of the 3 rows of out_a (3x8)");
    CHECK(out.size() == 0);
}

}  // namespace test_attention_state
