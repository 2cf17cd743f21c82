#include <attend/normalizer/top_k.hpp>

#include <cmath>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/rows.hpp>

using namespace attend;
using namespace attend::test;

namespace test_top_k {

using Row = std::vector<double>;

TEST_CASE("the k largest scores share the weight as by softmax") {
    const Normalized y = normalized(top_k(2), {1.0, 4.0, -2.0, 3.0});
    const Normalized kept = normalized(softmax, {4.0, 3.0});
    CHECK(y.weights == Row{0.0, kept.weights[0], 0.0, kept.weights[1]});
    CHECK(y.lse == Approx(kept.lse).epsilon(1e-15));
}

TEST_CASE("of equal scores the lower key is kept") {
    CHECK(normalized(top_k(2), {5.0, 5.0, 5.0}).weights == Row{0.5, 0.5, 0.0});
    CHECK(normalized(top_k(1), {5.0, 5.0}).weights == Row{1.0, 0.0});
    const Row p = normalized(top_k(3), {1.0, 7.0, 1.0, 7.0, 1.0}).weights;
    CHECK((p[0] > 0 && p[1] > p[0] && p[2] == 0 && p[3] == p[1] && p[4] == 0));
}

TEST_CASE("k = 1 is hard attention: the value of the best key") {
    const Operands<double> x = random_operands({.queries = 6, .keys = 9}, 1);
    const auto y = forward(dot_product >> top_k(1), x);
    const RowMatrix<double> scores = x.q * x.k.transpose();
    for (Index i = 0; i < 6; ++i) {
        Index best;
        CHECK(y.lse(i, 0) == Approx(scores.row(i).maxCoeff(&best)).epsilon(1e-15));
        CHECK(same_bits(y.out.row(i), x.v.row(best)));
    }
}

TEST_CASE("k of all keys or more is softmax") {
    const Row scores{0.5, -1.0, 2.0, 2.0};
    for (const Index k : {4, 5, 1000}) {
        CHECK(normalized(top_k(k), scores).weights == normalized(softmax, scores).weights);
        CHECK(normalized(top_k(k), scores).lse == lse_of(scores));
    }
}

TEST_CASE("absent scores take no place, infinite ones all weight, and NaN spreads") {
    CHECK(normalized(top_k(2), {-infinity, 1.0, -infinity, 1.0}).weights == Row{0.0, 0.5, 0.0, 0.5});
    CHECK(normalized(top_k(3), {-infinity, 1.0}).weights == Row{0.0, 1.0});
    CHECK(normalized(top_k(2), {infinity, 1.0, infinity, infinity}).weights == Row{0.5, 0.0, 0.5, 0.0});
    CHECK(normalized(top_k(2), {-infinity, -infinity}).lse == -infinity);
    for (const double p : normalized(top_k(1), {3.0, std::nan(""), 1.0}).weights) CHECK(std::isnan(p));
}

}  // namespace test_top_k
