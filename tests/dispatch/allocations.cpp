// A dispatched call with a warm workspace takes nothing from the heap.
#include <support/allocations.hpp>

#include <attend/dispatch.hpp>
#include <attend/mask/lengths.hpp>

#include <cstdio>

int main() {
    using namespace attend;
    int failures = 0;
    const auto none = [&](const char* what, const auto& call) {
        call();
        const int count = test::allocations_of(call);
        if (count != 0) ++failures, std::printf("%s allocates %d times\n", what, count);
    };
    const RowMatrix<float> q = RowMatrix<float>::Random(130, 4 * 64), k = RowMatrix<float>::Random(200, 2 * 64);
    const Eigen::VectorXd slopes = alibi_slopes(4), sinks = Eigen::VectorXd::Ones(4);
    const RowMatrix<float> values = RowMatrix<float>::Random(130, 200);
    const auto attention = dispatched(scaled_dot_product >> soft_cap(3) >> alibi(slopes) >> bias(values) >>
                                      (causal & lengths({150})) >> softmax_with_sink(sinks));
    Workspace workspace;
    RowMatrix<float> out, dq, dk, dv;
    Eigen::MatrixXf lse;
    none("a forward call", [&] {
        attention(heads(q, 4), heads(k, 2), heads(k, 2), out,
                  {.workspace = &workspace, .lse = lse, .query_offset = 70});
    });
    none("a backward call", [&] {
        attention.backward(heads(q, 4), heads(k, 2), heads(k, 2), out, lse, out, dq, dk, dv,
                           {.workspace = &workspace, .query_offset = 70});
    });
    KvCache<float, Eigen::bfloat16> cache({.heads = 2, .d_k = 64, .capacity = 300});
    cache.append(k, k);
    RowMatrix<float> step;
    const auto causal_attention = dispatched(scaled_dot_product >> causal);
    none("a call on a cache",
         [&] { causal_attention(heads(q.topRows(1), 4), cache, step, {.workspace = &workspace}); });
    std::printf("%d calls allocate\n", failures);
    return failures;
}
