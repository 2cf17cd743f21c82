// Law 10 for numbers of 16 bits: the error against a double reference of the same operands is at most twice that of the
// naive expression that computes in float and rounds its result once; so is that of gradients. Prints the tables.

#include <attend/attend.hpp>

#include <array>
#include <cmath>
#include <cstdio>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_accuracy_of_16_bits {
namespace {

struct Row {
    Index queries, keys, d_k, d_v;
    double spread;  ///< factor on the queries: from nearly uniform weights to nearly one key a query
};

/// Errors are sums of roundings that fall by chance: of one draw either side may be much larger. So means are compared.
template <class X>
void check(const Row& row) {
    constexpr int draws = 20;
    double ours = 0, theirs = 0;
    for (int seed = 1; seed <= draws; ++seed) {
        const Layout layout{.queries = row.queries, .keys = row.keys, .d_q = row.d_k, .d_k = row.d_k, .d_v = row.d_v};
        Operands<float> wide = random_operands<float>(layout, static_cast<std::uint64_t>(seed));
        wide.q *= static_cast<float>(row.spread);
        const Operands<X> x = wide.cast<X>();
        wide = x.template cast<float>();
        const Operands<double> exact = wide.cast<double>();
        const RowMatrix<double> s = exact.q * exact.k.transpose() / std::sqrt(static_cast<double>(row.d_k));
        const auto reference = plain_attention(row.queries, exact.v, [&](Index i, Index j) { return s(i, j); });
        ours += (scaled_dot_product(x.q, x.k, x.v).template cast<double>() - reference.out).norm() / draws;
        theirs +=
            (expression_in_float(wide.q, wide.k, wide.v).template cast<X>().template cast<double>() - reference.out)
                .norm() /
            draws;
    }
    std::printf("%8td %8td %5td %5td %8g %12.3g %12.3g\n", row.queries, row.keys, row.d_k, row.d_v, row.spread, ours,
                theirs);
    CHECK(ours <= 2 * theirs);
}

constexpr std::array<const char*, 3> names{"dq", "dk", "dv"};

/// The gradients of q, k and v in C, as one writes them with Eigen and nothing else; weights are rounded to W before
/// they are multiplied.
template <class W, class C>
std::array<RowMatrix<C>, 3> plain_gradients(const Operands<C>& x) {
    const C scale = 1 / std::sqrt(static_cast<C>(x.q.cols()));
    const RowMatrix<C> s = scale * (x.q * x.k.transpose());
    RowMatrix<C> p = (s.colwise() - s.rowwise().maxCoeff()).array().exp();
    const ColumnVector<C> sums = p.rowwise().sum();
    p = sums.cwiseInverse().asDiagonal() * p;
    const RowMatrix<C> dp = x.dout * x.v.transpose();
    const ColumnVector<C> delta = (p.array() * dp.array()).rowwise().sum();
    const RowMatrix<C> ds = scale * (p.array() * (dp.colwise() - delta).array()).matrix();
    const auto weights = [](const RowMatrix<C>& w) { return RowMatrix<C>(w.template cast<W>().template cast<C>()); };
    return {ds * x.k, ds.transpose() * x.q, weights(p).transpose() * x.dout};
}

/// Gradients as outputs of D: of 16 bits, or of float.
template <class X, class D>
void check_gradients(const Row& row) {
    constexpr int draws = 8;
    std::array<double, 3> ours{}, theirs{}, rounding{};  // a rounding of what is not rounded to 16 bits
    for (int seed = 1; seed <= draws; ++seed) {
        const Layout layout{.queries = row.queries, .keys = row.keys, .d_q = row.d_k, .d_k = row.d_k, .d_v = row.d_v};
        Operands<float> wide = random_operands<float>(layout, static_cast<std::uint64_t>(seed));
        wide.q *= static_cast<float>(row.spread);
        const Operands<X> x = wide.cast<X>();
        wide = x.template cast<float>();
        RowMatrix<X> out;
        RowMatrix<float> lse;
        scaled_dot_product(x.q, x.k, x.v, out, {.lse = lse});
        RowMatrix<D> dq, dk, dv;
        scaled_dot_product.backward(x.q, x.k, x.v, out, lse, x.dout, dq, dk, dv);

        const auto exact = plain_gradients<double>(wide.cast<double>());
        // Engines that round weights to bfloat16 show where results are not.
#if defined(ATTEND_AVX512_BF16) || defined(ATTEND_ARM_BF16)
        using W = std::conditional_t<std::is_same_v<X, Eigen::bfloat16> && std::is_same_v<D, float>, X, float>;
#else
        using W = float;
#endif
        const auto naive = plain_gradients<W>(wide);
        const std::array<const RowMatrix<D>*, 3> got{&dq, &dk, &dv};
        for (std::size_t i = 0; i < 3; ++i) {
            ours[i] += (got[i]->template cast<double>() - exact[i]).norm() / draws;
            if (std::is_same_v<D, float>) rounding[i] += 0x1p-24 * exact[i].norm() / draws;
            theirs[i] += (naive[i].template cast<D>().template cast<double>() - exact[i]).norm() / draws;
        }
    }
    for (std::size_t i = 0; i < 3; ++i) {
        std::printf("%8td %8td %5td %5td %8g %12.3g %12.3g %s\n", row.queries, row.keys, row.d_k, row.d_v, row.spread,
                    ours[i], theirs[i], names[i]);
        CAPTURE(row.queries, row.keys, names[i]);
        CHECK(ours[i] <= 2 * theirs[i] + rounding[i]);
    }
}

constexpr Row rows_of_gradients[] = {{1, 64, 16, 16, 1},     {7, 33, 5, 3, 1},      {80, 64, 64, 64, 1},
                                     {80, 64, 64, 64, 0.01}, {80, 64, 64, 64, 4},   {80, 64, 64, 64, 30},
                                     {128, 512, 40, 33, 1},  {300, 200, 64, 64, 1}, {200, 150, 24, 20, 1}};

}  // namespace

TEMPLATE_TEST_CASE("errors of gradients in 16 bits are at most twice those of the naive expression, rounded once", "",
                   Eigen::half, Eigen::bfloat16) {
    for (const Row& row : rows_of_gradients) {
        check_gradients<TestType, TestType>(row);
        check_gradients<TestType, float>(row);
    }
}

TEMPLATE_TEST_CASE("errors in 16 bits are at most twice those of the naive expression in float, rounded once", "",
                   Eigen::half, Eigen::bfloat16) {
    std::printf("%8s %8s %5s %5s %8s %12s %12s\n", "queries", "keys", "d_k", "d_v", "spread", "error", "naive");
    for (const Row& row : {Row{1, 64, 16, 16, 1},
                           {7, 33, 5, 3, 1},
                           {80, 64, 64, 64, 1},
                           {80, 64, 64, 64, 0.01},
                           {80, 64, 64, 64, 30},
                           {128, 512, 128, 128, 1},
                           {128, 512, 40, 33, 1},
                           {100, 2048, 32, 32, 1},
                           {100, 2048, 32, 32, 10},
                           {200, 150, 24, 20, 1},  // the last block has one packet of lanes
                           {256, 256, 256, 16, 3}}) {
        check<TestType>(row);
    }
}

}  // namespace test_accuracy_of_16_bits
