// Small shapes, where setting up costs more than computing.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

void add(Index queries, Index keys, Index width) {
    const auto make = [=] {
        return Operands<float>({.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = width});
    };
    const std::string name = "q" + std::to_string(queries) + "_k" + std::to_string(keys) + "_d" + std::to_string(width);
    add_pair("small", name, make, scaled_dot_product, scaled_dot_scores);
}

/// Operands of fixed sizes, in the storage order that Eigen has by default.
template <int queries, int keys, int width>
void add_fixed() {
    struct Fixed {
        Eigen::Matrix<float, queries, width> q = Eigen::Matrix<float, queries, width>::Random(), out;
        Eigen::Matrix<float, keys, width> k = Eigen::Matrix<float, keys, width>::Random(),
                                          v = Eigen::Matrix<float, keys, width>::Random();
    };
    const std::string name =
        "fixed_q" + std::to_string(queries) + "_k" + std::to_string(keys) + "_d" + std::to_string(width);
    add_benchmark("small/" + name, [](benchmark::State& state) {
        Fixed x;
        timed(state, [&] { scaled_dot_product(x.q, x.k, x.v, x.out); });
    });
    add_benchmark("naive/" + name, [](benchmark::State& state) {
        Fixed x;
        const Rows rows = all_rows(queries);
        timed(state, [&] { x.out = naive_attention(x.q, x.k, x.v, rows, scaled_dot_scores); });
    });
}

/// Forward done, the gradients of q, k and v, against the formulas in Eigen with the weights that are there already.
void add_backward(Index queries, Index keys, Index width) {
    using M = Matrix<float>;
    struct Pass {
        M q, k, v, out, dout, dq, dk, dv, weights;
        ColumnVector<float> lse;
        Workspace workspace;

        Pass(Index n, Index m, Index d)
            : q(M::Random(n, d)),
              k(M::Random(m, d)),
              v(M::Random(m, d)),
              dout(M::Random(n, d)),
              dq(M::Zero(n, d)),
              dk(M::Zero(m, d)),
              dv(M::Zero(m, d)) {
            scaled_dot_product(q, k, v, out, {.lse = lse, .weights = weights});
        }
    };
    const std::string name =
        "backward_q" + std::to_string(queries) + "_k" + std::to_string(keys) + "_d" + std::to_string(width);
    add_benchmark("small/" + name, [=](benchmark::State& state) {
        Pass x(queries, keys, width);
        timed(state, [&] {
            scaled_dot_product.backward(x.q, x.k, x.v, x.out, x.lse, x.dout, x.dq, x.dk, x.dv,
                                        {.workspace = &x.workspace});
        });
    });
    add_benchmark("naive/" + name, [=](benchmark::State& state) {
        Pass x(queries, keys, width);
        timed(state, [&] {
            const float scale = 1 / std::sqrt(static_cast<float>(width));
            const M ds = scale * x.weights.array() *
                         ((x.dout * x.v.transpose()).colwise() - x.dout.cwiseProduct(x.out).rowwise().sum()).array();
            x.dv.noalias() += x.weights.transpose() * x.dout;
            x.dq.noalias() += ds * x.k;
            x.dk.noalias() += ds.transpose() * x.q;
        });
    });
}

const bool added = [] {
    add(1, 1, 1);
    add(2, 2, 2);
    add(4, 4, 8);
    add(1, 32, 64);
    add(8, 8, 16);
    add(16, 16, 32);
    add(32, 32, 64);
    add_fixed<1, 1, 1>();
    add_fixed<2, 2, 2>();
    add_fixed<4, 4, 8>();
    add_backward(1, 1, 1);
    add_backward(4, 4, 8);
    add_backward(8, 8, 16);
    add_backward(1, 32, 64);
    add_backward(16, 16, 32);
    return true;
}();

}  // namespace
}  // namespace attend::bench
