// Every golden attention in double: output, weights, LSE and all gradients, with operands in any memory and by any
// executor. needs: openmp needs: threads

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <golden/attention_cases.hpp>
#include <golden/gapped.hpp>
#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_attention {
namespace {

struct Operands {
    RowMatrix<double> q, k, v, dout;

    explicit Operands(const Case& c)
        : q(c.in("q").matrix<double>()),
          k(c.in("k").matrix<double>()),
          v(c.in("v").matrix<double>()),
          dout(c.in("dout").matrix<double>()) {}
};

struct Results {
    RowMatrix<double> out{}, lse{}, weights{}, dq{}, dk{}, dv{};
    std::map<std::string, RowMatrix<double>> dparameters{};  ///< by their golden names
};

// A matrix as the kind of memory under test, what a call takes of it, and what it holds afterwards.
template <class Memory>
Memory& operand(Memory& matrix) {
    return matrix;
}
StridedView<double> operand(Gapped& memory) { return memory.view(); }
const auto& content(const auto& matrix) { return matrix; }
RowMatrix<double> content(const Gapped& memory) {
    CHECK(memory.gaps_are_untouched());
    return memory.matrix();
}
template <class Memory>
Memory zeros(Index rows, Index columns) {
    return Memory(RowMatrix<double>(RowMatrix<double>::Zero(rows, columns)));
}

/// Forward and backward with every operand and result in a `Memory` of its own.
template <class Memory, class Attention>
Results run(const Case& c, const Attention& attention, const Operands& x) {
    const Index query_offset = c.integer("query_offset", 0);
    Memory q(x.q), k(x.k), v(x.v), dout(x.dout);
    auto out = zeros<Memory>(x.q.rows(), x.v.cols()), lse = zeros<Memory>(x.q.rows(), 1);
    auto weights = zeros<Memory>(x.q.rows(), x.k.rows());
    attention(operand(q), operand(k), operand(v), operand(out), {.lse = operand(lse), .query_offset = query_offset});
    // The weights in a call of their own: a call for the output alone may run by another kernel.
    auto again = zeros<Memory>(x.q.rows(), x.v.cols());
    attention(operand(q), operand(k), operand(v), operand(again),
              {.weights = operand(weights), .query_offset = query_offset});
    CHECK(distance(content(again), content(out)) <= 1e-13 * magnitude(content(out)));

    auto dq = zeros<Memory>(x.q.rows(), x.q.cols()), dk = zeros<Memory>(x.k.rows(), x.k.cols());
    auto dv = zeros<Memory>(x.v.rows(), x.v.cols());
    Attention gradient = zero_gradient(attention);
    attention.backward(operand(q), operand(k), operand(v), operand(out), operand(lse), operand(dout), operand(dq),
                       operand(dk), operand(dv), {.gradient = &gradient, .query_offset = query_offset});
    Results results{content(out), content(lse), content(weights), content(dq), content(dk), content(dv)};
    visit_golden_parameters(c, gradient,
                            [&](const std::string& name, const auto& matrix) { results.dparameters[name] = matrix; });
    return results;
}

/// The operands twice, as a batch of two sequences. Without the parameters' gradients, which would keep threads out of
/// backward.
template <class Attention>
Results run_twice(const Case& c, const Attention& attention, const Operands& x, attend::detail::ExecutorRef executor) {
    const Index query_offset = c.integer("query_offset", 0), n_q = x.q.rows(), n_kv = x.k.rows();
    const Sequences queries = sequences({0, n_q, 2 * n_q}), keys = sequences({0, n_kv, 2 * n_kv});
    const RowMatrix<double> q = x.q.replicate(2, 1), k = x.k.replicate(2, 1), v = x.v.replicate(2, 1),
                            dout = x.dout.replicate(2, 1);
    Results y;
    RowMatrix<double> again;
    const auto call = [&](Output<double> out, Output<double> lse, Output<double> weights) {
        attention(q, k, v, out,
                  {.executor = executor,
                   .lse = lse,
                   .weights = weights,
                   .query_offset = query_offset,
                   .sequences = queries,
                   .key_sequences = keys});
    };
    call(y.out, y.lse, {});
    call(again, {}, y.weights);
    attention.backward(
        q, k, v, y.out, y.lse, dout, y.dq, y.dk, y.dv,
        {.executor = executor, .query_offset = query_offset, .sequences = queries, .key_sequences = keys});
    return y;
}

/// `many` holds `copies` of what `one` holds, below each other.
void check_copies(const Results& one, const Results& many, Index copies) {
    CHECK(same_bits(many.out, one.out.replicate(copies, 1)));
    CHECK(same_bits(many.lse, one.lse.replicate(copies, 1)));
    CHECK(same_bits(many.weights, one.weights.replicate(copies, 1)));
    CHECK(same_bits(many.dq, one.dq.replicate(copies, 1)));
    CHECK(same_bits(many.dk, one.dk.replicate(copies, 1)));
    CHECK(same_bits(many.dv, one.dv.replicate(copies, 1)));
    for (const auto& [name, gradient] : many.dparameters) {
        INFO(name);
        CHECK(same_bits(gradient, one.dparameters.at(name)));
    }
}

}  // namespace

TEST_CASE("golden attentions: output, weights, LSE and every gradient, with the same bits however they are called") {
    const Case c = GENERATE(from_range(attention_cases()));
    INFO(c.name);
    Comparison comparison(c);
    with_attention<double>(c, [&](auto attention) {
        load_parameters(c, attention);
        const Operands x(c);
        const Results one = run<RowMatrix<double>>(c, attention, x);
        comparison.check("out", one.out);
        comparison.check("weights", one.weights);
        if (c.outputs.count("lse") != 0) comparison.check("lse", one.lse);
        comparison.check("dq", one.dq);
        comparison.check("dk", one.dk);
        comparison.check("dv", one.dv);
        for (const auto& [name, gradient] : one.dparameters) comparison.check("d" + name, gradient);

        check_copies(one, run<Eigen::MatrixXd>(c, attention, x), 1);
        check_copies(one, run<Gapped>(c, attention, x), 1);
        check_copies(one, run_twice(c, attention, x, serial), 2);
        Eigen::ThreadPool pool(2);
        check_copies(one, run_twice(c, attention, x, thread_pool(pool)), 2);
#if defined(_OPENMP)
        check_copies(one, run_twice(c, attention, x, openmp(2)), 2);
#endif
    });
    comparison.finish();
}

}  // namespace test_attention
