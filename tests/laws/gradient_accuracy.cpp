// Law 10 for gradients: the error in float against naive gradients in double is at most twice that of naive ones in
// float, row by row and pair by pair, plus one rounding of the result and one of the LSE, by which every weight is
// formed again where it is at most 16: a rounding of the LSE changes them by |LSE| roundings. Prints the table.

#include <attend/attend.hpp>

#include <cstdio>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/row_by_row.hpp>

using namespace attend;
using namespace attend::test;

namespace test_gradient_accuracy {
namespace {

struct Errors {
    double ours = 0, theirs = 0, rounding = 0;

    template <class A, class B>
    void add(const A& mine, const A& naive, const B& exact, double largest_lse) {
        ours += distance(mine, exact);
        theirs += distance(naive, exact);
        const double once =
            std::numeric_limits<float>::epsilon() / 2 * static_cast<double>(exact.cwiseAbs().maxCoeff());
        rounding += (1 + std::min(largest_lse, 16.0)) * once;
    }
};

template <class T, class A>
Gradients<T, A> naive_gradients(const A& attention, const Operands<T>& x) {
    const Layout& n = x.layout;
    Gradients<T, A> d{.dq = RowMatrix<T>(x.q.rows(), x.q.cols()),
                      .dk = RowMatrix<T>::Zero(x.k.rows(), x.k.cols()),
                      .dv = RowMatrix<T>::Zero(x.v.rows(), x.v.cols()),
                      .parameters = zero_gradient(attention)};
    for (Index head = 0; head < n.heads; ++head) {
        const Index kv_head = head * n.kv_heads / n.heads;
        Head<T> one{.q = x.q.middleCols(head * n.d_q, n.d_q),
                    .k = x.k.middleCols(kv_head * n.d_k, n.d_k),
                    .v = x.v.middleCols(kv_head * n.d_v, n.d_v),
                    .dout = x.dout.middleCols(head * n.d_v, n.d_v),
                    .head = head,
                    .kv_head = kv_head,
                    .query_offset = n.query_offset};
        add_gradients_row_by_row(attention, one, &d.parameters);
        d.dq.middleCols(head * n.d_q, n.d_q) = one.dq;
        d.dk.middleCols(kv_head * n.d_k, n.d_k) += one.dk;
        d.dv.middleCols(kv_head * n.d_v, n.d_v) += one.dv;
    }
    return d;
}

/// Errors fall by chance, so their means over several draws are compared.
template <class A>
void check(const char* name, const A& attention, const Layout& layout) {
    constexpr int draws = 8;
    Errors q, k, v, parameters;
    for (int seed = 1; seed <= draws; ++seed) {
        const Operands<float> x = random_operands<float>(layout, static_cast<std::uint64_t>(seed));
        const auto ours = backward(attention, x), theirs = naive_gradients(attention, x);
        const auto exact = naive_gradients(attention, x.cast<double>());
        const double lse = static_cast<double>(forward(attention, x).lse.cwiseAbs().maxCoeff());
        q.add(ours.dq, theirs.dq, exact.dq, lse);
        k.add(ours.dk, theirs.dk, exact.dk, lse);
        v.add(ours.dv, theirs.dv, exact.dv, lse);
        if (parameters_of(exact.parameters).size() > 0) {
            parameters.add(parameters_of(ours.parameters), parameters_of(theirs.parameters),
                           parameters_of(exact.parameters), lse);
        }
    }
    std::printf("%-28s %4td %4td", name, layout.queries, layout.keys);
    for (const Errors& e : {q, k, v, parameters}) {
        std::printf("  %9.2g %9.2g", e.ours / draws, e.theirs / draws);
        CHECK(e.ours <= 2 * e.theirs + e.rounding);
    }
    std::printf("\n");
}

}  // namespace

TEST_CASE("errors of gradients in float are at most twice those of naive gradients in float, plus one rounding") {
    std::printf("%-28s %4s %4s  %19s  %19s  %19s  %19s\n", "error in float, naive's", "n_q", "n_kv", "dq", "dk", "dv",
                "parameters");
    const Layout small{.queries = 20, .keys = 30, .d_q = 16, .d_k = 16, .d_v = 16, .heads = 2, .kv_heads = 1};
    const Layout large{
        .queries = 150, .keys = 200, .d_q = 32, .d_k = 32, .d_v = 24, .heads = 2, .kv_heads = 2, .query_offset = 50};
    for (const Layout& layout : {small, large}) {
        CAPTURE(layout.queries);
        const auto d = layout.d_q;
        check("scaled_dot", scaled_dot_product, layout);
        check("scaled_dot causal", scaled_dot_product >> causal, layout);
        check("scaled_dot alibi cap", scaled_dot_product >> alibi(alibi_slopes(2)) >> soft_cap(5.0), layout);
        check("scaled_dot bias window",
              scaled_dot_product >> bias(Eigen::MatrixXd::Random(layout.queries, layout.keys)) >> sliding_window(60),
              layout);
        check("scaled_dot span sink",
              scaled_dot_product >> adaptive_span(20.0, 30.0) >> causal >> softmax_with_sink(0.5), layout);
        check("scaled_dot lambda", scaled_dot_product >> modifier([](auto s, auto p) {
                                       return s + 0.3 * sin(s) - tanh(0.1 * decltype(s)(p.query - p.key));
                                   }),
              layout);
        check("scaled_dot sigmoid", scaled_dot_product >> sigmoid(-3.0), layout);
        check("cosine", cosine(5.0) >> causal, layout);
        check("general", GeneralAttention<double>(d, d, 5), layout);
        check("additive", AdditiveAttention<double>(d, d, 24, 5) >> causal, layout);
    }
}

}  // namespace test_gradient_accuracy
