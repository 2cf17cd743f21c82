// What a cover tells of tiles saves work and changes nothing: a mask gives the output's bits that its pairs alone give,
// and those of q, k and v, of whole tiles that are hidden and of tiles that some of the queries see in part.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_hidden_keys {
namespace {

template <class T>
Operands<T> operands(Index queries, Index keys, Index d_v, Index offset) {
    return random_operands<T>({.queries = queries,
                               .keys = keys,
                               .d_q = 20,
                               .d_k = 20,
                               .d_v = d_v,
                               .heads = 4,
                               .kv_heads = 2,
                               .query_offset = offset},
                              static_cast<std::uint64_t>(queries + keys));
}

template <class T, class Compose>
void check(const AnyMask& mask, const Operands<T>& x, Compose&& compose) {
    const auto covered = compose(mask);
    const auto by_pairs = compose(mask.pairs());
    CHECK(first_difference(forward(covered, x), forward(by_pairs, x)) == "");
    const auto d = backward(covered, x);
    const auto e = backward(by_pairs, x);
    CHECK((same_bits(d.dq, e.dq) && same_bits(d.dk, e.dk) && same_bits(d.dv, e.dv)));
    const Eigen::VectorXd parameters = parameters_of(e.parameters);  // summed up in another order
    const double rounding = static_cast<double>(std::numeric_limits<T>::epsilon());
    CHECK(distance(parameters_of(d.parameters), parameters) <= 256 * rounding * magnitude(parameters));
}

/// Masks that cut tiles in all the ways: at their ends, their beginnings, both, in the middle, into nothing.
template <class T, class Compose>
void check_masks(const Operands<T>& x, Compose&& compose) {
    for (const AnyMask& mask :
         {AnyMask::of(causal), AnyMask::of(causal & sliding_window(20)), AnyMask::of(sliding_window(3, 5)),
          AnyMask::of(~causal), AnyMask::of(documents({0, 9, 50, 75, 76, 130})),
          AnyMask::of(causal & documents({0, 9, 50, 75, 76, 130})), AnyMask::of(prefix(13) | sliding_window(7, 0))})
        check(mask, x, compose);
}

}  // namespace

TEMPLATE_TEST_CASE("covers change no bit", "", float, double) {
    using T = TestType;
    const auto plain = [](const AnyMask& mask) { return scaled_dot_product >> mask; };
    for (const Index queries : {33, 64, 130}) {
        for (const Index offset : {0, 11, -40}) {
            CAPTURE(queries, offset);
            check_masks(operands<T>(queries, 130, 24, offset), plain);
        }
    }
}

TEST_CASE("covers change no bit whatever an attention is composed of") {
    const Operands<double> x = operands<double>(100, 130, 7, 0);
    check_masks(x, [](const AnyMask& mask) { return dot_product >> alibi(0.3) >> soft_cap(5.0) >> mask; });
    const RowMatrix<double> table = RowMatrix<double>::Random(32, 4);
    check_masks(x, [&](const AnyMask& mask) { return scaled_dot_product >> relative_bias(table) >> mask; });
    check_masks(x, [](const AnyMask& mask) { return scaled_dot_product >> mask >> softmax_with_sink(0.5); });
    check_masks(x, [](const AnyMask& mask) { return scaled_dot_product >> mask >> sigmoid(-3.0); });
    check_masks(x, [](const AnyMask& mask) { return scaled_dot_product >> mask >> sparsemax; });
    check_masks(x, [](const AnyMask& mask) { return AdditiveAttention<double>(20, 20, 9, 1) >> mask; });
    Operands<double> dropped = x;
    dropped.layout.dropout = {.rate = 0.3, .seed = 5};
    check_masks(dropped, [](const AnyMask& mask) { return scaled_dot_product >> mask; });
}

TEST_CASE("covers change no bit where what is hidden is not finite") {
    Operands<float> x = operands<float>(130, 130, 24, 0);
    x.v(70, 3) = std::numeric_limits<float>::quiet_NaN();
    x.v(129, 30) = std::numeric_limits<float>::infinity();
    const auto compose = [](const AnyMask& mask) { return scaled_dot_product >> mask; };
    const auto y = forward(compose(AnyMask::of(causal)), x);
    CHECK(first_difference(y, forward(compose(AnyMask::of(causal).pairs()), x)) == "");
    CHECK(y.out.topRows(70).allFinite());
    CHECK(!y.out.row(70).allFinite());
}

}  // namespace test_hidden_keys
