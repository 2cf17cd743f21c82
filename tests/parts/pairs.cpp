// Scores that are sums over pairs of features, against the formula itself, over the remainders of keys and lanes; and
// those from exponentials beside features that have none. A sigmoid shows each score by itself, the values being 1.

#include <attend/attend.hpp>

#include <cmath>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_pair_scores {
namespace {

template <class T>
struct Case {
    AdditiveAttention<T> attention;
    RowMatrix<T> q, k, weights;  // queries × width, keys × width, queries × keys

    Case(Index queries, Index keys, Index width) : attention(width, width, width, 5) {
        Random random(static_cast<std::uint64_t>(keys + 10 * width));
        attention.score().query_weight.setIdentity();
        attention.score().key_weight.setIdentity();
        k = random_matrix<T>(random, keys, width);
        q = random_matrix<T>(random, queries, width);
    }
    void form() {
        const RowMatrix<T> v = RowMatrix<T>::Identity(k.rows(), k.rows());
        (attention >> sigmoid(T(0)))(q, k, v, weights);
    }
    double error() const {
        double most = 0;
        for (Index i = 0; i < q.rows(); ++i) {
            for (Index j = 0; j < k.rows(); ++j) {
                double sum = 0;
                for (Index a = 0; a < q.cols(); ++a) {
                    sum += static_cast<double>(attention.score().score_weight[a]) *
                           std::tanh(static_cast<double>(q(i, a)) + static_cast<double>(k(j, a)));
                }
                most = std::max(most, std::abs(static_cast<double>(weights(i, j)) - 1 / (1 + std::exp(-sum))));
            }
        }
        return most;
    }
};

template <class T>
constexpr double tolerance = 8 * std::numeric_limits<T>::epsilon();

}  // namespace

TEMPLATE_TEST_CASE("additive scores from exponentials are the formula's", "", float, double) {
    for (const Index keys : {1, 2, 5, 65}) {
        for (const Index width : {1, 2, 7, 16, 21}) {
            for (const Index queries : {3, 8, 35}) {
                CAPTURE(keys, width, queries);
                Case<TestType> x(queries, keys, width);
                x.form();
                CHECK(x.error() <= tolerance<TestType> * std::sqrt(double(width)));
            }
        }
    }
}

TEMPLATE_TEST_CASE("features without an exponential change no other score", "", float, double) {
    Case<TestType> x(35, 5, 7);
    x.form();
    Case<TestType> y = x;
    y.q(2, 3) = 11;
    y.q(3, 0) = -1000;
    y.k(4, 6) = -11;
    y.form();
    CHECK(y.error() <= tolerance<TestType> * 8);
    for (Index i = 0; i < x.q.rows(); ++i) {
        for (Index j = 0; j < x.k.rows(); ++j) {
            if (i != 2 && i != 3 && j != 4) CHECK(x.weights(i, j) == y.weights(i, j));
        }
    }
}

}  // namespace test_pair_scores
