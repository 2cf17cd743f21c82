// The largest final score of each row against plain loops in double.

#include <attend/insight/largest_score.hpp>

#include <cmath>
#include <limits>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_largest_score {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// `final_score(product, row, key)`, −∞ where there is no such pair.
template <class T, class A, class F>
void check(const A& attention, const Layout& layout, F&& final_score) {
    CAPTURE(layout.queries, layout.keys, layout.heads);
    const KnownWeights<T, A> known(attention, layout);
    const Operands<T>& x = known.x;
    auto largest = largest_score<T>();
    known.show_to({largest});
    REQUIRE(largest.values().rows() == layout.queries);
    REQUIRE(largest.values().cols() == layout.heads);
    double worst = 0;
    for (Index head = 0; head < layout.heads; ++head) {
        double of_head = -infinity;
        for (Index row = 0; row < layout.queries; ++row) {
            double most = -infinity, size = 0;
            for (Index key = 0; key < layout.keys; ++key) {
                double product = 0;
                const Index kv = head / (layout.heads / layout.kv_heads);
                for (Index a = 0; a < layout.d_q; ++a)
                    product += static_cast<double>(x.q(row, head * layout.d_q + a)) *
                               static_cast<double>(x.k(key, kv * layout.d_k + a));
                most = std::max(most, final_score(product, row + layout.query_offset, key));
                size = std::max(size, std::abs(product));
            }
            const auto got = static_cast<double>(largest.values()(row, head));
            of_head = std::max(of_head, got);
            if (most == -infinity) {
                CHECK(got == -infinity);
            } else {
                worst = std::max(
                    worst, std::abs(got - most) /
                               (rounding_of<T> * 16 * (static_cast<double>(4 * layout.d_q) + size + std::abs(most))));
            }
        }
        CHECK(static_cast<double>(largest.of_heads()[head]) == of_head);
    }
    CHECK(worst <= 1);
}

}  // namespace

TEMPLATE_TEST_CASE("the largest score is that behind modifiers and mask", "", float, double) {
    for (const Layout& layout : insight_layouts()) {
        if (!layout.sequences.empty()) continue;
        const double factor = 1 / std::sqrt(static_cast<double>(layout.d_q));
        const auto scaled = [&](double s, Index, Index) { return factor * s; };
        check<TestType>(scaled_dot_product, layout, scaled);
        check<TestType>(scaled_dot_product >> top_k(2), layout, scaled);
        const auto causal_only = [&](double s, Index query, Index key) {
            return key <= query ? factor * s : -infinity;
        };
        check<TestType>(scaled_dot_product >> causal >> sparsemax, layout, causal_only);
        check<TestType>(scaled_dot_product >> causal >> sigmoid(1.f), layout, causal_only);
        check<TestType>(dot_product >> alibi(0.5f) >>
                            mask([](Position p) { return (p.query + p.key) % 3 == 0 && p.query % 4 != 1; }) >>
                            softmax_with_sink(1.f),
                        layout, [](double s, Index query, Index key) {
                            return (query + key) % 3 == 0 && query % 4 != 1 ? s - 0.5 * static_cast<double>(query - key)
                                                                            : -infinity;
                        });
    }
}

TEST_CASE("NaN in a visible key shows in its rows and heads alone, wherever it stands") {
    Random random(4);
    for (const Index rows : {2, 80}) {
        for (const Index bad : {0, 17, 79}) {
            CAPTURE(rows, bad);
            RowMatrix<float> k = random_matrix<float>(random, 80, 8), out;
            const RowMatrix<float> q = random_matrix<float>(random, rows, 8), v = random_matrix<float>(random, 80, 8);
            k(bad, 1) = std::numeric_limits<float>::quiet_NaN();  // of the first head
            auto largest = largest_score<float>();
            dot_product(heads(q, 2), heads(k, 2), heads(v, 2), out, {.insight = largest});
            CHECK(largest.values().col(0).array().isNaN().all());
            CHECK(!largest.values().col(1).array().isNaN().any());
            CHECK(std::isnan(largest.of_heads()[0]));
            CHECK(!std::isnan(largest.of_heads()[1]));
        }
    }
}

}  // namespace test_largest_score
