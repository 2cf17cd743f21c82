// Attention over some keys and over the others, merged by their LSEs, is attention over all of them.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_splitting {
namespace {

constexpr double rounding = 1e-14;
const Layout layout{.queries = 5, .keys = 9, .d_v = 4, .query_offset = 2};

/// `attention(part)` narrows the attention to a mask's keys. The parts are the keys before `first`, those from it to
/// before `second`, and the rest; each of the three may be empty.
template <class Narrowed>
void check_three_parts(const Narrowed& attention, Index first, Index second, std::uint64_t seed) {
    CAPTURE(first, second);
    const Operands<double> x = random_operands(layout, seed);
    const auto whole = forward(attention(Everything{}), x);
    const auto a = forward(attention(prefix(first)), x);
    const auto b = forward(attention(~prefix(first) & prefix(second)), x);
    const auto c = forward(attention(~prefix(second)), x);

    RowMatrix<double> ab, ab_lse, out, lse;
    merge(a.out, a.lse, b.out, b.lse, ab, ab_lse);
    merge(ab, ab_lse, c.out, c.lse, out, lse);
    CHECK(distance(out, whole.out) < rounding);
    CHECK(distance(lse, whole.lse) < rounding * magnitude(whole.lse));
}

}  // namespace

TEST_CASE("parts of the keys merge to the whole") {
    const auto positions = [](auto part) { return scaled_dot_product >> alibi(0.2) >> (causal & part); };
    const auto window = [](auto part) { return dot_product >> soft_cap(3.0) >> sliding_window(2, 1) >> part; };
    const AdditiveAttention<double> additive(3, 3, 4, 5);
    std::uint64_t seed = 1;
    for (const Index first : {0, 1, 4}) {
        for (const Index second : {4, 7, 9}) {
            check_three_parts(positions, first, second, seed++);
            check_three_parts(window, first, second, seed++);
            check_three_parts([&](auto part) { return additive >> part; }, first, second, seed++);
        }
    }
}

TEST_CASE("a sink belongs to one part") {
    const Operands<double> x = random_operands(layout, 2);
    const auto whole = forward(dot_product >> softmax_with_sink(0.8), x);
    const auto a = forward(dot_product >> prefix(4) >> softmax_with_sink(0.8), x);
    const auto b = forward(dot_product >> ~prefix(4), x);
    RowMatrix<double> out, lse;
    merge(a.out, a.lse, b.out, b.lse, out, lse);
    CHECK(distance(out, whole.out) < rounding);
    CHECK(distance(lse, whole.lse) < rounding * magnitude(whole.lse));
}

TEST_CASE("states that took in the keys of a row one by one merge to that row") {
    const Operands<double> x = random_operands(layout, 3);
    const auto attention = dot_product >> sliding_window(3, 2);
    const auto whole = forward(attention, x);
    for (Index i = 0; i < layout.queries; ++i) {
        SoftmaxState<double> left(layout.d_v), right(layout.d_v);
        for (Index j = 0; j < layout.keys; ++j) {
            if (attention.mask({.query = layout.query_offset + i, .key = j})) {
                (j < 4 ? left : right).absorb(x.q.row(i).dot(x.k.row(j)), x.v.row(j));
            }
        }
        const SoftmaxState<double> both = merge(left, right);
        CHECK(distance(both.finish(), whole.out.row(i)) < rounding);
        CHECK(std::abs(both.lse() - whole.lse(i, 0)) < rounding * magnitude(whole.lse));
    }
}

}  // namespace test_splitting
