// Every golden attention in float, forward: at most twice the error of a plain float expression, and one rounding (law
// 10).

#include <golden/attention_cases.hpp>
#include <golden/golden.hpp>
#include <golden/naive_attention.hpp>

using namespace attend;
using namespace attend::test;

TEST_CASE("golden attentions in float are as exact as a plain float expression") {
    const Case c = GENERATE(from_range(attention_cases()));
    Comparison comparison(c);
    const NaiveAttention naive(c);
    with_attention<float>(c, [&](auto attention) {
        load_parameters(c, attention);
        Eigen::MatrixXf out, weights;
        Eigen::VectorXf lse;
        attention(c.in("q").matrix<float>(), c.in("k").matrix<float>(), c.in("v").matrix<float>(), out,
                  {.lse = lse, .weights = weights, .query_offset = c.integer("query_offset", 0)});
        comparison.check_float("out", out, naive.out);
        comparison.check_float("weights", weights, naive.weights);
        if (c.outputs.count("lse") != 0) comparison.check_float("lse", lse, naive.lse);
    });
}
