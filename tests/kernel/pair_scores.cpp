// Scores that are sums over pairs of features, against the formula itself, over the remainders of keys and lanes; and
// those from exponentials beside features that have none.

#include <attend/kernel/pair_scores.hpp>

#include <cmath>

#include <attend/score/additive.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace {

template <class T>
struct Case {
    Index keys, width, lanes;
    AdditiveScore<T> score;
    RowMatrix<T> k, q, s;  // keys × width, width × lanes, keys × lanes

    Case(Index keys_, Index width_, Index packets)
        : keys(keys_), width(width_), lanes(packets * detail::simd::width<T>), score(1, 1, width_, 5) {
        Random random(static_cast<std::uint64_t>(keys + 10 * width));
        k = random_matrix<T>(random, keys, width);
        q = random_matrix<T>(random, width, lanes);
        s = RowMatrix<T>::Constant(keys, lanes, T(7));
    }
    detail::PairTile<T> tile(const RowMatrix<T>& of_keys, const RowMatrix<T>& of_queries) const {
        return {{of_keys.data(), width, 1}, of_queries.data(), width, lanes};
    }
    /// As the kernel forms them.
    void add() {
        RowMatrix<T> e_q(width, lanes), e_k = k;
        const bool all = detail::exponentials_of_lanes<AdditiveScore<T>>(q.data(), e_q.data(), width, lanes) &&
                         detail::are_small<AdditiveScore<T>>(k.data(), k.size());
        if (!all) detail::add_pairs(score, tile(k, q), keys, s.data());
        detail::exponentials_of_rows<AdditiveScore<T>>(k.data(), keys, width, e_k.data());
        detail::add_exponentials(score, tile(e_k, e_q), keys, all, s.data());
    }
    double expected(Index j, Index i) const {
        double sum = 0;
        for (Index a = 0; a < width; ++a)
            sum += static_cast<double>(score.score_weight[a]) * std::tanh(static_cast<double>(k(j, a) + q(a, i)));
        return sum;
    }
    double error() const {
        double most = 0;
        for (Index j = 0; j < keys; ++j) {
            for (Index i = 0; i < lanes; ++i)
                most = std::max(most, std::abs(static_cast<double>(s(j, i)) - expected(j, i)));
        }
        return most;
    }
};

template <class T>
constexpr double tolerance = 8 * std::numeric_limits<T>::epsilon();

}  // namespace

TEMPLATE_TEST_CASE("additive scores from exponentials are the formula's", "", float, double) {
    for (const Index keys : {1, 2, 5}) {
        for (const Index width : {1, 2, 7, 16, 21}) {
            for (const Index packets : {1, 2, 3}) {
                CAPTURE(keys, width, packets);
                Case<TestType> x(keys, width, packets);
                x.add();
                CHECK(x.error() <= tolerance<TestType> * std::sqrt(double(width)));
            }
        }
    }
}

TEMPLATE_TEST_CASE("features without an exponential change no other score", "", float, double) {
    Case<TestType> x(5, 7, 2);
    x.add();
    Case<TestType> y = x;
    y.q(3, 2) = 11;
    y.q(0, 3) = -1000;
    y.k(4, 6) = -11;
    y.add();
    CHECK(y.error() <= tolerance<TestType> * 8);
    for (Index j = 0; j < x.keys; ++j) {
        for (Index i = 0; i < x.lanes; ++i) {
            if (i != 2 && i != 3 && j != 4) CHECK(x.s(j, i) == y.s(j, i));
        }
    }
}
