// Law 10 for queries of 16 bits on caches: the error against a double reference of the queries and of what the cache
// gives back is at most twice that of the naive expression that computes in float, rounds its result once, and its
// weights once where the engine does. Prints the table.

#include <attend/attend.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_accuracy_of_caches {
namespace {

/// Means over draws: of one alone either side may be much larger.
template <class X, class Stored>
void check(Index queries, Index keys, Index width, float spread, const char* stored) {
    constexpr int draws = 20;
    double ours = 0, theirs = 0;
    for (int seed = 1; seed <= draws; ++seed) {
        auto wide = random_operands<float>({.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = width},
                                           static_cast<std::uint64_t>(seed));
        const RowMatrix<X> q = (wide.q * spread).cast<X>();
        KvCache<float, Stored> cache({.d_k = width, .capacity = keys});
        cache.append(wide.k, wide.v);
        std::vector<float> room(static_cast<std::size_t>(keys * width));
        const auto rows = [&](const RowBlock<float>& from) {
            return RowMatrix<float>(Eigen::Map<const RowMatrix<float>>(from.data, keys, width));
        };
        wide.q = q.template cast<float>();
        wide.k = rows(cache.key_rows(0, 0, 0, keys, room.data()));
        wide.v = rows(cache.value_rows(0, 0, 0, keys, room.data()));
        const Operands<double> exact = wide.cast<double>();
        const RowMatrix<double> s = exact.q * exact.k.transpose() / std::sqrt(static_cast<double>(width));
        const auto reference = plain_attention(queries, exact.v, [&](Index i, Index j) { return s(i, j); });
        RowMatrix<X> out(queries, width);
        scaled_dot_product(q, cache, out);
        ours += (out.template cast<double>() - reference.out).norm() / draws;
        theirs +=
            (expression_in_float(wide.q, wide.k, wide.v).template cast<X>().template cast<double>() - reference.out)
                .norm() /
            draws;
    }
    std::printf("%6s %8td %8td %5td %8g %12.3g %12.3g\n", stored, queries, keys, width, static_cast<double>(spread),
                ours, theirs);
    CHECK(ours <= 2 * theirs);
}

}  // namespace

TEMPLATE_TEST_CASE("queries of 16 bits on a cache are off by at most twice what the naive expression is", "",
                   Eigen::half, Eigen::bfloat16) {
    std::printf("%6s %8s %8s %5s %8s %12s %12s\n", "store", "queries", "keys", "width", "spread", "error", "naive");
    for (const Index queries : {1, 4, 40}) {
        for (const float spread : {0.01F, 1.F, 30.F}) {
            check<TestType, float>(queries, 300, 64, spread, "float");
            check<TestType, Eigen::bfloat16>(queries, 300, 64, spread, "bf16");
            check<TestType, Eigen::bfloat16>(queries, 70, 33, spread, "bf16");
            check<TestType, Eigen::half>(queries, 300, 64, spread, "half");
            check<TestType, std::int8_t>(queries, 300, 40, spread, "int8");
            check<TestType, Float8E4M3>(queries, 300, 64, spread, "e4m3");
            check<TestType, Float8E5M2>(queries, 300, 64, spread, "e5m2");
            check<TestType, Int4>(queries, 300, 70, spread, "int4");
        }
    }
}

}  // namespace test_accuracy_of_caches
