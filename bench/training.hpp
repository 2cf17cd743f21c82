#pragma once
/// \file
/// Operands and gradients of a training step, and what its gradients must agree with.

#include <optional>
#include <string>

#include <attention_benchmark.hpp>
#include <support/row_by_row.hpp>

namespace attend::bench {

/// What forward and backward need beside the operands. Gradients are added to, call after call.
template <class T>
struct TrainingOperands : Operands<T> {
    using Tensor = bench::Tensor<T, Contiguous::order>;

    Tensor dout, dq, dk, dv;
    bench::Tensor<Compute<T>, Contiguous::order> lse;

    explicit TrainingOperands(const Shape& s, int threads_ = 1) : TrainingOperands(s, threads_, Random(2)) {}

    template <class Attention>
    void forward(const Attention& attention) {
        attention(this->q.view, this->k.view, this->v.view, this->out.view,
                  {.workspace = &this->workspace, .executor = openmp(this->threads), .lse = lse.view});
    }
    template <class Attention>
    void backward(const Attention& attention, Attention* gradient) {
        attention.backward(this->q.view, this->k.view, this->v.view, this->out.view, lse.view, dout.view, dq.view,
                           dk.view, dv.view,
                           {.workspace = &this->workspace, .executor = openmp(this->threads), .gradient = gradient});
    }
    /// Gradients as they are before a first call.
    void clear() {
        for (Tensor* gradient : {&dq, &dk, &dv}) gradient->storage.setZero();
    }

private:
    TrainingOperands(const Shape& s, int threads_, Random random)
        : Operands<T>(s, threads_),
          dout(Contiguous::tensor<T>(s.sequences, s.heads, s.queries, s.d_v, random)),
          dq(Contiguous::tensor<T>(s.sequences, s.heads, s.queries, s.d_q, random)),
          dk(Contiguous::tensor<T>(s.sequences, s.kv_heads, s.keys, s.d_k, random)),
          dv(Contiguous::tensor<T>(s.sequences, s.kv_heads, s.keys, s.d_v, random)),
          lse(Contiguous::tensor<Compute<T>>(s.sequences, s.heads, s.queries, 1, random)) {}
};

/// The gradients of q, k and v of the first head of the first sequence, below each other, by naive code in C.
template <class C, class X, class Attention>
Matrix<C> naive_gradients(const X& x, const Attention& attention) {
    test::Head<C> head{.q = x.q.head(0, 0).template cast<C>(),
                       .k = x.k.head(0, 0).template cast<C>(),
                       .v = x.v.head(0, 0).template cast<C>(),
                       .dout = x.dout.head(0, 0).template cast<C>()};
    test::add_gradients_row_by_row(attention, head, static_cast<Attention*>(nullptr));
    Matrix<C> d(head.q.rows() + 2 * head.k.rows(), head.q.cols());
    d << head.dq, head.dk, head.dv;
    return d;
}

/// Law 10 for the gradients of one head, of as many queries as keys and no grouped heads.
template <class T, class Attention>
double share_of_allowed_gradient_error(TrainingOperands<T>& x, const Attention& attention) {
    x.clear();
    x.forward(attention);
    x.backward(attention, static_cast<Attention*>(nullptr));
    Matrix<T> d(3 * x.q.view.rows, x.q.view.columns);
    d << x.dq.head(0, 0), x.dk.head(0, 0), x.dv.head(0, 0);
    return share_of_allowed_error<T>(d, naive_gradients<Compute<T>>(x, attention),
                                     naive_gradients<Exact<T>>(x, attention));
}

/// Forward and backward, with the gradients of the parameters. `report(state, operands, seconds)` may add counters.
template <class T, class Attention, class Report = decltype(no_report)>
benchmark::internal::Benchmark* add_training(const std::string& name, const Shape& shape, int threads,
                                             const Attention& attention, Report report = {}) {
    const auto run = [=, share = std::optional<double>()](benchmark::State& state) mutable {
        TrainingOperands<T> x(shape, threads);
        if (!share) share = share_of_allowed_gradient_error(x, attention);
        if (!holds(state, *share)) return;
        Attention gradient = zero_gradient(attention);
        const auto step = [&] {
            x.forward(attention);
            x.backward(attention, &gradient);
        };
        step();  // warms the workspace
        report(state, x, timed(state, step));
    };
    return add_benchmark(name, run)->Unit(benchmark::kMillisecond);
}

}  // namespace attend::bench
