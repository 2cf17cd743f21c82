// Golden decoders whose steps know where those before have looked: outputs, weights, and all gradients through time.

#include <attend/location_decoder.hpp>

#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_decoders {
namespace {

LocationSensitiveAttention<double> attention_of(const Case& c) {
    const bool convolves = c.has_in("filters");
    LocationSensitiveAttention<double> attention(
        LocationScore<double>({.d_q = c.in("queries").columns(),
                               .d_k = c.in("keys").columns(),
                               .hidden = c.in("vscore").columns(),
                               .filters = convolves ? c.in("filters").matrix<double>().rows() : 0,
                               .radius = convolves ? c.integer("radius") : 0,
                               .history = convolves ? History::previous : History::sum},
                              1));
    attention.query_weight = c.in("wq").matrix<double>();
    attention.key_weight = c.in("wk").matrix<double>();
    attention.location_weight = c.in("wf").matrix<double>();
    attention.bias = c.in("b").matrix<double>().row(0);
    attention.score_weight = c.in("vscore").matrix<double>().row(0);
    if (convolves) attention.filters = c.in("filters").matrix<double>();
    return attention;
}

}  // namespace

TEST_CASE("decoders with a history give what PyTorch gives, forward and back through time") {
    std::vector<Case> cases = golden_cases_of("location_sensitive_attention");
    for (Case& c : golden_cases_of("coverage_attention")) cases.push_back(std::move(c));
    CHECK(cases.size() == 2);
    for (const Case& c : cases) {
        Comparison comparison(c);
        const auto attention = attention_of(c);
        const RowMatrix<double> q = c.in("queries").matrix<double>(), k = c.in("keys").matrix<double>(),
                                dout = c.in("dout").matrix<double>();
        LocationDecoder decoder(attention, k, k);
        RowMatrix<double> out(q.rows(), k.cols()), weights(q.rows(), k.rows()), dk, dv;
        RowMatrix<double> dq = RowMatrix<double>::Zero(q.rows(), q.cols());
        for (Index t = 0; t < q.rows(); ++t) decoder.step(q.row(t), out.row(t), {.weights = weights.row(t)});
        for (Index t = q.rows(); t-- > 0;) decoder.backward(dout.row(t), dq.row(t));
        auto gradient = zero_gradient(attention);
        decoder.add_gradients(dk, dv, &gradient);
        comparison.check("out", out);
        comparison.check("weights", weights);
        comparison.check("dqueries", dq);
        comparison.check("dkeys", dk + dv);
        comparison.check("dwq", gradient.query_weight);
        comparison.check("dwk", gradient.key_weight);
        comparison.check("dwf", gradient.location_weight);
        comparison.check("db", gradient.bias);
        comparison.check("dvscore", gradient.score_weight);
        if (c.has_in("filters")) comparison.check("dfilters", gradient.filters);
        comparison.finish();
    }
}

}  // namespace test_decoders
