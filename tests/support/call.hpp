#pragma once
/// \file
/// Whole calls: operands from a seed, and everything that an attention makes of them, forward and backward.

#include <cstdint>
#include <string>
#include <vector>

#include <attend/attention.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

namespace attend::test {

/// Heads stand side by side; without offsets there is one sequence.
struct Layout {
    Index queries = 5, keys = 6;
    Index d_q = 3, d_k = 3, d_v = 2;  ///< of one head
    Index heads = 1, kv_heads = 1;
    Index query_offset = 0;
    std::vector<Index> sequences{}, key_sequences{};
    Dropout dropout{};
};

template <class T>
struct Operands {
    RowMatrix<T> q{}, k{}, v{}, dout{};
    Layout layout{};
    RowMatrix<Compute<T>> dlse{};  ///< empty: none

    auto query_heads() const { return heads(q, layout.heads); }
    auto key_heads() const { return heads(k, layout.kv_heads); }
    auto value_heads() const { return heads(v, layout.kv_heads); }

    template <class U>
    Operands<U> cast() const {
        return {q.template cast<U>(),
                k.template cast<U>(),
                v.template cast<U>(),
                dout.template cast<U>(),
                layout,
                dlse.template cast<Compute<U>>()};
    }
};

template <class T = double>
Operands<T> random_operands(const Layout& layout, std::uint64_t seed) {
    Random random(seed);
    Operands<T> x{.layout = layout};
    x.q = random_matrix<T>(random, layout.queries, layout.heads * layout.d_q, 2.0);
    x.k = random_matrix<T>(random, layout.keys, layout.kv_heads * layout.d_k, 2.0);
    x.v = random_matrix<T>(random, layout.keys, layout.kv_heads * layout.d_v);
    x.dout = random_matrix<T>(random, layout.queries, layout.heads * layout.d_v);
    return x;
}

template <class T>
struct Outputs {
    RowMatrix<T> out;
    RowMatrix<Compute<T>> lse, weights;
};

template <class T, class A>
Outputs<T> forward(const A& attention, const Operands<T>& x, attend::detail::ExecutorRef executor = serial) {
    Outputs<T> y;
    attention(x.query_heads(), x.key_heads(), x.value_heads(), y.out,
              {.executor = executor,
               .lse = y.lse,
               .weights = y.weights,
               .query_offset = x.layout.query_offset,
               .sequences = attend::detail::SequencesRef(std::span(x.layout.sequences)),
               .key_sequences = attend::detail::SequencesRef(std::span(x.layout.key_sequences)),
               .dropout = x.layout.dropout});
    return y;
}

template <class T, class A>
struct Gradients {
    RowMatrix<T> dq{}, dk{}, dv{};
    A parameters;
};

/// Adds into `d`, whose empty matrices become the operands' shapes.
template <class T, class A>
void add_gradients(const A& attention, const Operands<T>& x, const Outputs<T>& y, Gradients<T, A>& d,
                   attend::detail::ExecutorRef executor = serial) {
    attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, x.layout.heads), y.lse,
                       heads(x.dout, x.layout.heads), d.dq, d.dk, d.dv,
                       {.executor = executor,
                        .gradient = &d.parameters,
                        .dlse = x.dlse.size() == 0 ? attend::detail::AnyInput() : attend::detail::AnyInput(x.dlse),
                        .query_offset = x.layout.query_offset,
                        .sequences = attend::detail::SequencesRef(std::span(x.layout.sequences)),
                        .key_sequences = attend::detail::SequencesRef(std::span(x.layout.key_sequences)),
                        .dropout = x.layout.dropout});
}
template <class T, class A>
Gradients<T, A> backward(const A& attention, const Operands<T>& x, attend::detail::ExecutorRef executor = serial) {
    Gradients<T, A> d{.parameters = zero_gradient(attention)};
    add_gradients(attention, x, forward(attention, x), d, executor);
    return d;
}

/// All parameters of a value in one column, in the order of `visit_parameters`.
template <class Value>
Eigen::VectorXd parameters_of(const Value& value) {
    std::vector<double> all;
    visit_parameters(value, [&](std::string_view, const auto& matrix) {
        for (const auto x : matrix.reshaped()) all.push_back(static_cast<double>(x));
    });
    return Eigen::Map<const Eigen::VectorXd>(all.data(), static_cast<Index>(all.size()));
}

/// The name of the first result that is not the same to the last bit, or nothing.
template <class T>
std::string first_difference(const Outputs<T>& a, const Outputs<T>& b) {
    return !same_bits(a.out, b.out)           ? "out"
           : !same_bits(a.lse, b.lse)         ? "lse"
           : !same_bits(a.weights, b.weights) ? "weights"
                                              : "";
}
template <class T, class A>
std::string first_difference(const Gradients<T, A>& a, const Gradients<T, A>& b) {
    if (!same_bits(parameters_of(a.parameters), parameters_of(b.parameters))) return "parameters";
    return !same_bits(a.dq, b.dq) ? "dq" : !same_bits(a.dk, b.dk) ? "dk" : !same_bits(a.dv, b.dv) ? "dv" : "";
}

}  // namespace attend::test
