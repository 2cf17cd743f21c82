// Law 10: the error against a double reference is at most twice that of the naive expression of the same precision,
// plus one rounding. Prints the table.

#include <attend/attend.hpp>

#include <cmath>
#include <cstdio>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_accuracy {
namespace {

/// What one writes with Eigen and nothing else.
Eigen::MatrixXf naive(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k, const Eigen::MatrixXf& v) {
    const Eigen::MatrixXf s = q * k.transpose() / std::sqrt(static_cast<float>(q.cols()));
    const Eigen::MatrixXf p = (s.colwise() - s.rowwise().maxCoeff()).array().exp();
    return p.rowwise().sum().cwiseInverse().asDiagonal() * (p * v);
}

struct Row {
    Index queries, keys, d_k, d_v;
    double spread;  ///< factor on the queries: from nearly uniform weights to nearly one key a query
};

struct Errors {
    double ours = 0, theirs = 0, rounding = 0;
};

/// The largest errors of one draw of operands.
Errors errors(const Row& row, std::uint64_t seed) {
    Operands<float> x = random_operands<float>(
        {.queries = row.queries, .keys = row.keys, .d_q = row.d_k, .d_k = row.d_k, .d_v = row.d_v}, seed);
    x.q *= static_cast<float>(row.spread);
    const Operands<double> exact = x.cast<double>();
    const RowMatrix<double> s = exact.q * exact.k.transpose() / std::sqrt(static_cast<double>(row.d_k));
    const auto reference = plain_attention(row.queries, exact.v, [&](Index i, Index j) { return s(i, j); });
    return {distance(scaled_dot_product(x.q, x.k, x.v), reference.out), distance(naive(x.q, x.k, x.v), reference.out),
            std::numeric_limits<float>::epsilon() / 2 * reference.out.cwiseAbs().maxCoeff()};
}

/// Errors are sums of roundings that fall by chance: of one draw either side may be three times the other's. So means
/// are compared.
void check(const Row& row) {
    constexpr int draws = 20;
    Errors mean;
    for (int seed = 1; seed <= draws; ++seed) {
        const Errors e = errors(row, static_cast<std::uint64_t>(seed));
        mean.ours += e.ours / draws;
        mean.theirs += e.theirs / draws;
        mean.rounding += e.rounding / draws;
    }
    std::printf("%8td %8td %5td %5td %8g %12.3g %12.3g\n", row.queries, row.keys, row.d_k, row.d_v, row.spread,
                mean.ours, mean.theirs);
    CHECK(mean.ours <= 2 * mean.theirs + mean.rounding);
}

}  // namespace

TEST_CASE("errors in float are at most twice those of the naive expression, plus one rounding") {
    std::printf("%8s %8s %5s %5s %8s %12s %12s\n", "queries", "keys", "d_k", "d_v", "spread", "error", "naive");
    for (const Row& row : {Row{1, 1, 1, 1, 1},
                           {1, 64, 16, 16, 1},
                           {7, 33, 5, 3, 1},
                           {64, 64, 64, 64, 1},
                           {64, 64, 64, 64, 0.01},
                           {64, 64, 64, 64, 30},
                           {128, 512, 64, 64, 1},
                           {16, 4096, 32, 32, 1},
                           {16, 4096, 32, 32, 10},
                           {256, 256, 256, 8, 3}}) {
        check(row);
    }
}

}  // namespace test_accuracy
