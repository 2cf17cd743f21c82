// Dispatched calls beside those of the header, built for this processor as the rest of this program is. What the
// library adds to a program, bench/README.md tells how to see.
#if defined(ATTEND_BENCH_DISPATCH)
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

#include <string>

#include "measure.hpp"

namespace attend::bench {
namespace {

template <class X>
struct Operands {
    RowMatrix<X> q, k, v, dout, out, dq, dk, dv;
    Eigen::MatrixX<Compute<X>> lse;
    Workspace workspace;

    Operands(Index n, Index d)
        : q(RowMatrix<float>::Random(n, 4 * d).cast<X>()),
          k(RowMatrix<float>::Random(n, 4 * d).cast<X>()),
          v(RowMatrix<float>::Random(n, 4 * d).cast<X>()),
          dout(RowMatrix<float>::Random(n, 4 * d).cast<X>()) {}
    void forward(const auto& attention) {
        attention(heads(q, 4), heads(k, 4), heads(v, 4), out, {.workspace = &workspace, .lse = lse});
    }
    void backward(const auto& attention) {
        attention.backward(heads(q, 4), heads(k, 4), heads(v, 4), out, lse, dout, dq, dk, dv,
                           {.workspace = &workspace});
    }
};

template <class X, class A>
void add_pair(const std::string& name, const A& attention) {
    for (const Index n : {128, 512, 1024}) {
        const auto add = [&](const char* pass, auto call) {
            add_benchmark("dispatch/" + name + "/" + pass + "/n:" + std::to_string(n) + "/d:64",
                          [attention, n, call](benchmark::State& state) {
                              Operands<X> x(n, 64);
                              const auto served = dispatched(attention);
                              x.forward(attention);
                              call(x, served), call(x, attention);
                              const RowMatrix<X> right = x.out;
                              x.out.resize(0, 0);
                              x.forward(served);
                              if ((right.template cast<float>() - x.out.template cast<float>()).norm() >
                                  1e-2f * right.template cast<float>().norm())
                                  state.SkipWithError("the results differ");
                              timed(state, [&] { call(x, served); });
                              state.counters["times_as_long"] =
                                  times_as_long([&] { call(x, served); }, [&] { call(x, attention); });
                          });
        };
        add("forward", [](auto& x, const auto& a) { x.forward(a); });
        add("backward", [](auto& x, const auto& a) { x.backward(a); });
    }
}

const bool added = [] {
    add_pair<float>("plain", scaled_dot_product);
    add_pair<float>("causal", scaled_dot_product >> causal);
    add_pair<float>("cap", scaled_dot_product >> soft_cap(30));
    add_pair<float>("alibi>>causal", scaled_dot_product >> alibi(alibi_slopes(4)) >> causal);
    add_pair<float>("window", scaled_dot_product >> (causal & sliding_window(256)));
    add_pair<float>("documents", scaled_dot_product >> (causal & documents({0, 100, 300, 700, 1024})));
    add_pair<float>("lengths", scaled_dot_product >> lengths({100}));
    add_pair<float>("sink", scaled_dot_product >> causal >> softmax_with_sink(0.5));
    add_pair<double>("double", scaled_dot_product >> causal);
    add_pair<Eigen::bfloat16>("bfloat16", scaled_dot_product >> causal);
    add_pair<Eigen::half>("half", scaled_dot_product >> causal);
    return true;
}();

}  // namespace
}  // namespace attend::bench
#endif
