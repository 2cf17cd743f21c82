#include <attend/normalizer/sink.hpp>

#include <cmath>

#include <support/catch.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_sink {

using Row = std::vector<double>;

TEST_CASE("a sink takes weight as one more score would") {
    const Normalized y = normalized(softmax_with_sink(0.7), {1.0, -2.0, 3.0});
    const Normalized with_key = normalized(softmax, {1.0, -2.0, 3.0, 0.7});
    CHECK(largest_difference(y.weights, {with_key.weights[0], with_key.weights[1], with_key.weights[2]}) < 1e-16);
    CHECK(y.lse == Approx(with_key.lse).epsilon(1e-15));
    CHECK(sum_of(y.weights) == Approx(1.0 - std::exp(0.7 - y.lse)).epsilon(1e-15));
}

TEST_CASE("a sink far above the scores takes all weight, one far below none") {
    CHECK(sum_of(normalized(softmax_with_sink(1000.0), {1.0, 2.0}).weights) == 0.0);
    CHECK(normalized(softmax_with_sink(1000.0), {1.0, 2.0}).lse == 1000.0);
    CHECK(normalized(softmax_with_sink(-infinity), {1.0, 2.0}).weights == normalized(softmax, {1.0, 2.0}).weights);
    CHECK(normalized(softmax_with_sink(-1000.0), {1.0, 2.0}).lse == lse_of({1.0, 2.0}));
}

TEST_CASE("a sink of 0 adds one to the sum: softmax one") {
    const Row p = normalized(softmax_with_sink(0), {0.0, 0.0, 0.0}).weights;
    CHECK(largest_difference(p, {0.25, 0.25, 0.25}) < 1e-16);
}

TEST_CASE("each head has the sink at its place") {
    const auto normalizer = softmax_with_sink(Eigen::Vector2f(0.5f, -2.0f));
    for (const Index head : {0, 1}) {
        const Normalized y = normalized(normalizer, {1.0, 0.0}, {.head = head}),
                         alone = normalized(softmax_with_sink(head == 0 ? 0.5 : -2.0), {1.0, 0.0});
        CHECK(y.weights == alone.weights);
        CHECK(y.lse == alone.lse);
    }
}

}  // namespace test_sink
