// An online normalizer of a user's own, softmax with temperatures that train, in attentions and blocks, forward and
// backward; it is never given a row whole.

#include <attend/attend.hpp>

#include <support/block_gradients.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/plain.hpp>

#include "folds.hpp"

using namespace attend;
using namespace attend::test;

namespace test_own_fold {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a fold of one's own gives what its formula says, for few and many queries and keys") {
    static_assert(Fold<Tempered> && !RowNormalizer<Tempered>);
    const Tempered tempered{Eigen::Vector2d(0.5, 1.75)};
    for (const Index queries : {1, 2, 7, 70}) {
        for (const Index keys : {1, 70, 2500}) {
            const Operands<double> x = random_operands(Layout{.queries = queries,
                                                              .keys = keys,
                                                              .d_q = 4,
                                                              .d_k = 4,
                                                              .heads = 2,
                                                              .kv_heads = 2,
                                                              .query_offset = keys - queries},
                                                       1);
            const auto y = forward(dot_product >> causal >> tempered, x);
            for (Index head = 0; head < 2; ++head) {
                CAPTURE(queries, keys, head);
                const auto plain =
                    plain_attention(queries, RowMatrix<double>(x.v.middleCols(2 * head, 2)), [&](Index i, Index j) {
                        const double s = x.q.row(i).segment(4 * head, 4).dot(x.k.row(j).segment(4 * head, 4));
                        return j > x.layout.query_offset + i ? -infinity : tempered.beta[head] * s;
                    });
                CHECK(distance(y.out.middleCols(2 * head, 2), plain.out) < 1e-14);
                CHECK(distance(y.weights.middleRows(head * queries, queries), plain.weights) < 1e-14);
                for (Index i = 0; i < queries; ++i)
                    CHECK((y.lse(i, head) == plain.lse(i, 0) || std::abs(y.lse(i, head) - plain.lse(i, 0)) < 1e-13));
            }
        }
    }
}

TEST_CASE("its gradients, and those of its temperatures, agree with differences") {
    const Tempered tempered{Eigen::Vector4d(0.5, 1.75, 1, 0.8)};
    Operands<double> x = random_operands({.queries = 5, .keys = 9, .heads = 4, .kv_heads = 2, .query_offset = 4}, 2);
    check_gradients(scaled_dot_product >> soft_cap(2.0) >> causal >> tempered, x);
    check_gradients(AdditiveAttention<double>(3, 3, 4, 1) >> tempered, x);
    x.dlse = RowMatrix<double>::Random(5, 4);
    check_gradients(scaled_dot_product >> tempered, x);
    // Rows whose LSE is large.
    x.q *= 40;
    check_gradients(scaled_dot_product >> tempered, x);
}

TEST_CASE("a sink of infinity takes all weight, and one of minus infinity none") {
    const Operands<double> x = random_operands({.queries = 3, .keys = 5}, 4);
    const auto all = scaled_dot_product >> softmax_with_sink(infinity);
    const auto y = forward(all, x);
    CHECK(y.out.isZero());
    CHECK((y.lse.array() == infinity).all());
    const auto d = backward(all, x);
    CHECK(d.dq.isZero());
    CHECK(d.dv.isZero());
    CHECK(d.parameters.normalizer.sink == 0);
    CHECK(distance(forward(scaled_dot_product >> softmax_with_sink(-infinity), x).out,
                   forward(scaled_dot_product, x).out) < 1e-15);
}

TEST_CASE("it trains in a block") {
    const MultiHeadShape shape{.d_model = 6, .heads = 2, .kv_heads = 1};
    const auto attention = scaled_dot_product >> causal >> Tempered{Eigen::Vector2d(0.5, 1.75)};
    check_block(MultiHeadAttention<double, std::remove_const_t<decltype(attention)>>(shape, attention, 1),
                BlockInputs(shape, 5, 0));
}

}  // namespace test_own_fold
