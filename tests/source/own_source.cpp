// Keys and values that are computed on the fly, in attentions and with gradients of what they are computed from.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/plain.hpp>

#include "sources.hpp"

using namespace attend;
using namespace attend::test;

namespace test_own_source {

TEST_CASE("keys that stand nowhere are attended to, and what they are computed from trains") {
    for (const Index queries : {1, 6, 70}) {
        const Waves waves{0.3, 90, 5};
        Random random(4);
        RowMatrix<double> q = random_matrix<double>(random, queries, 5),
                          dout = random_matrix<double>(random, queries, 5);
        RowMatrix<double> k(90, 5), v(90, 5);
        for (Index i = 0; i < 90; ++i) {
            for (Index a = 0; a < 5; ++a)
                k(i, a) = std::sin(0.3 * static_cast<double>(i) + static_cast<double>(a)),
                     v(i, a) = std::cos(0.3 * static_cast<double>(i) + static_cast<double>(a));
        }
        const auto plain = plain_attention(queries, v, [&](Index i, Index j) { return q.row(i).dot(k.row(j)); });
        RowMatrix<double> out, lse, dq;
        dot_product(q, waves, out, {.lse = lse});
        CHECK(distance(out, plain.out) < 1e-14);

        WavesGradient gradient{waves};
        dot_product.backward(q, waves, out, lse, dout, dq, gradient);
        const auto loss = [&](double rate, const RowMatrix<double>& at) {
            return dot_product(at, Waves{rate, 90, 5}).cwiseProduct(dout).sum();
        };
        const double h = 1e-5;
        const double slope =
            (8 * (loss(0.3 + h, q) - loss(0.3 - h, q)) - (loss(0.3 + 2 * h, q) - loss(0.3 - 2 * h, q))) / (12 * h);
        CHECK(std::abs(slope - gradient.rate) <= 1e-7 * std::abs(slope));
        RowMatrix<double> ahead = q, behind = q;
        ahead(0, 2) += h, behind(0, 2) -= h;
        CHECK(std::abs((loss(0.3, ahead) - loss(0.3, behind)) / (2 * h) - dq(0, 2)) <= 1e-8);
    }
}

TEST_CASE("features of a score that maps keys are its source's to give") {
    const AdditiveAttention<double> attention(3, 4, 5, 1);
    Random random(4);
    const RowMatrix<double> q = random_matrix<double>(random, 2, 3), k = random_matrix<double>(random, 20, 4),
                            v = random_matrix<double>(random, 20, 2);
    Pages<double> features(1, 5, 2);
    features.add(k * attention.key_weight, v);
    CHECK(distance(attention(q, features), attention(q, k, v)) < 1e-14);
}

}  // namespace test_own_source
