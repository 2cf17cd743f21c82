// Law 9: a step of training on a long sequence takes memory that grows with its length, measured from outside.

#include <attend/attend.hpp>

#include <cstdio>

#if defined(__unix__)
#include <sys/resource.h>
#endif

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_linear_memory {

#if defined(__unix__)
namespace {

/// The most memory that this process has held so far, in bytes.
double peak_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    return static_cast<double>(usage.ru_maxrss);
#else
    return 1024 * static_cast<double>(usage.ru_maxrss);
#endif
}

}  // namespace

TEST_CASE("16 384 tokens train in a small part of the memory of their score matrix") {
    constexpr Index n = 16384, d = 16;
    const auto attention = scaled_dot_product >> alibi(0.01) >> causal;
    const Operands<float> x = random_operands<float>({.queries = n, .keys = n, .d_q = d, .d_k = d, .d_v = d}, 1);
    auto gradient = zero_gradient(attention);
    RowMatrix<float> out, dq, dk, dv;
    Eigen::VectorXf lse;
    const double before = peak_bytes();
    attention(x.q, x.k, x.v, out, {.lse = lse});
    attention.backward(x.q, x.k, x.v, out, lse, x.dout, dq, dk, dv, {.gradient = &gradient});
    const double used = peak_bytes() - before, matrix = static_cast<double>(n) * n * sizeof(float);
    std::printf("n %td, d %td: forward and backward took %.1f MiB more; one score matrix has %.0f MiB\n", n, d,
                used / 0x1p20, matrix / 0x1p20);
    CHECK(used > 0);  // otherwise something before took more, and this says nothing
    CHECK(used < matrix / 16);
    // The first query sees itself alone: its weight is 1, and the scores have no gradient.
    CHECK(dq.row(0).cwiseAbs().maxCoeff() <= 1e-6F);
    CHECK(dv.row(n - 1).allFinite());
    CHECK(distance(dv.colwise().sum(), x.dout.colwise().sum()) <= 1e-3 * magnitude(x.dout.colwise().sum()));
}
#endif

}  // namespace test_linear_memory
