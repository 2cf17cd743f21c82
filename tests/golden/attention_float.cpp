// Every golden attention in float, forward: at most twice the error of a plain float expression, and one rounding (law
// 10).

#include <golden/attention_cases.hpp>
#include <golden/golden.hpp>
#include <golden/naive_attention.hpp>

using namespace attend;
using namespace attend::test;

namespace test_attention_float {

TEST_CASE("golden attentions in float are as exact as a plain float expression") {
    const Case c = GENERATE(from_range(attention_cases()));
    Comparison comparison(c);
    const NaiveAttention naive(c);
    with_attention<float>(c, [&](auto attention) {
        load_parameters(c, attention);
        const RowMatrix<float> q = c.in("q").matrix<float>(), k = c.in("k").matrix<float>(),
                               v = c.in("v").matrix<float>();
        const Index query_offset = c.integer("query_offset", 0);
        Eigen::MatrixXf out, again, weights;
        Eigen::VectorXf lse;
        attention(q, k, v, out, {.lse = lse, .query_offset = query_offset});
        attention(q, k, v, again, {.weights = weights, .query_offset = query_offset});
        const double out_error = comparison.error("out", naive.out);
        const double weights_error = comparison.error("weights", naive.weights);
        comparison.check_float("out", out, out_error);
        // With the weights, outputs are sums of the weights' errors, and of one naive row these may cancel by luck.
        comparison.check_float("out", again, std::max(out_error, weights_error));
        comparison.check_float("weights", weights, weights_error);
        if (c.outputs.count("lse") != 0) comparison.check_float("lse", lse, comparison.error("lse", naive.lse));
    });
}

}  // namespace test_attention_float
