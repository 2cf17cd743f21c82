// The laws of a fold, of any that is put through them: whatever the tiles, the merges and the orientation in which a
// row is met, it comes to the same; its weights can be formed again; and its derivatives are those of what it computes.

#include <attend/attend.hpp>

#include <cmath>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

#include "folds.hpp"

using namespace attend;
using namespace attend::test;

namespace test_fold_laws {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index w = attend::detail::simd::width<double>, tile_of_row = 64;

/// What a row comes to.
struct Row {
    Eigen::VectorXd weights;
    double lse = 0, scale = 1;
};

/// By tiles of one row, whose keys stand in lanes.
template <class F>
struct Seen {
    typename F::template State<double> state;
    Eigen::VectorXd weights;  ///< but for the factor

    Seen() = default;
    Seen(const F& fold, const Eigen::VectorXd& scores, Index tile, Index head) : weights(scores.size()) {
        for (Index begin = 0; begin < scores.size(); begin += tile) {
            const Index keys = std::min(tile, scores.size() - begin);
            double room[tile_of_row];
            for (Index j = 0; j < keys; ++j) room[j] = scores[begin + j];
            RowScores<double> tile_scores(room, keys);
            weights.head(begin) *= fold.take(tile_scores, state, head);
            for (Index j = 0; j < keys; ++j) weights[begin + j] = room[j];
        }
    }
    Row end(const F& fold, Index head) const { return {weights * fold.factor(state, head), fold.lse(state, head)}; }
};

template <class F>
void check_row(const F& fold, const Eigen::VectorXd& scores, Index head) {
    const Seen<F> seen(fold, scores, tile_of_row, head);
    const Row whole = seen.end(fold, head);
    const auto agrees = [&](const Row& row) {
        CHECK(distance(row.weights, whole.weights) <= 1e-14);
        CHECK((row.lse == whole.lse || std::abs(row.lse - whole.lse) <= 1e-14 * (1 + std::abs(whole.lse))));
    };
    for (const Index tile : {1, 3, 8}) agrees(Seen<F>(fold, scores, tile, head).end(fold, head));
    CHECK((scores.array() != -infinity || whole.weights.array() == 0).all());

    // Any two parts merge to the whole, in either order.
    for (const Index cut : {Index(0), scores.size() / 3, scores.size()}) {
        for (const bool swapped : {false, true}) {
            Seen<F> a(fold, scores.head(cut), 5, head), b(fold, scores.tail(scores.size() - cut), 7, head);
            const auto [of_a, of_b] = swapped ? [&] {
                const auto [y, x] = fold.merge(b.state, a.state, head);
                return std::pair(x, y);
            }()
                                              : fold.merge(a.state, b.state, head);
            Seen<F> both;
            both.state = swapped ? b.state : a.state;
            both.weights = scores;
            both.weights << of_a * a.weights, of_b * b.weights;
            agrees(both.end(fold, head));
        }
    }

    // The same row in every lane, queries in lanes; and its weights again.
    RowMatrix<double> lanes = scores.replicate(1, w);
    double largest[w], factor[w], lse[w];
    std::fill_n(largest, w, scores.size() == 0 ? -infinity : scores.maxCoeff());
    typename F::template State<Lanes<double>> states;
    LaneScores<double> tile(lanes.data(), w, scores.size(), largest);
    if (scores.size() > 0) fold.take(tile, states, head);
    std::fill_n(factor, w, fold.factor(seen.state, head)), std::fill_n(lse, w, whole.lse);
    for (Index j = 0; j < scores.size(); ++j) {
        const Lanes<double> s(scores[j]), by_state = fold.weight(s, states, head),
                                          by_lse = fold.weight(s, Lanes<double>(std::min(whole.lse, 1e300)), head);
        double again[w];
        for (Index i = 0; i < w; ++i) CHECK(std::abs(lanes(j, i) * factor[i] - whole.weights[j]) <= 1e-14);
        attend::detail::simd::store(again, by_state.packet);
        for (const double p : again) CHECK(std::abs(p * factor[0] - whole.weights[j]) <= 1e-14);
        if (std::isinf(whole.lse) || std::abs(whole.lse) > 16) continue;
        attend::detail::simd::store(again, by_lse.packet);
        for (const double p : again) CHECK(std::abs(p - whole.weights[j]) <= 1e-14);
    }
}

template <class F>
void check_laws(const F& fold) {
    static_assert(Fold<F>);
    const typename F::template State<double> none;
    for (const Index head : {0, 1}) {
        CHECK(fold.factor(none, head) == 0);
        CHECK(fold.lse(none, head) == -infinity);
        Random random(3);
        for (const Index keys : {0, 1, 2, 7, 8, 61, 64}) {
            for (const double offset : {0.0, 700.0, -900.0}) {
                CAPTURE(keys, offset, head);
                Eigen::VectorXd scores = random_matrix<double>(random, keys, 1, 5.0).array() + offset;
                check_row(fold, scores, head);
                for (Index j = 0; j < keys; j += 3) scores[j] = -infinity;
                check_row(fold, scores, head);
                scores.setConstant(-infinity);
                check_row(fold, scores, head);
            }
        }
    }
}

}  // namespace

TEST_CASE("a fold keeps its laws") {
    check_laws(softmax);
    check_laws(softmax_with_sink(0.5));
    check_laws(softmax_with_sink(Eigen::Vector2d(-3, 900)));
    check_laws(Tempered{Eigen::Vector2d(0.5, 2)});
}

}  // namespace test_fold_laws
