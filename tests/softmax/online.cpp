// The online state and merging: keys in any order and any split give the whole, and what is absent leaves no trace.

#define EIGEN_RUNTIME_NO_MALLOC
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <attend/softmax/online.hpp>
#include <attend/softmax/softmax.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_online {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Scores of one query, and the values of its keys.
struct Keys {
    Eigen::RowVectorXd scores;
    Eigen::MatrixXd values;

    Keys(Random& random, Index n, Index width, double bound = 5.0)
        : scores(random_matrix<double>(random, 1, n, bound)), values(random_matrix<double>(random, n, width)) {}

    Eigen::RowVectorXd output() const { return softmax(scores) * values; }
    double lse() const { return logsumexp(scores)[0]; }

    SoftmaxState<double> absorbed(const std::vector<Index>& keys) const {
        SoftmaxState<double> state(values.cols());
        for (const Index j : keys) state.absorb(scores[j], values.row(j));
        return state;
    }
};

std::vector<Index> range(Index begin, Index end) {
    std::vector<Index> keys;
    for (Index j = begin; j < end; ++j) keys.push_back(j);
    return keys;
}

void check_state(const SoftmaxState<double>& state, const Eigen::RowVectorXd& output, double lse) {
    CHECK(distance(state.finish(), output) <= 1e-14);
    CHECK((state.lse() == lse || std::abs(state.lse() - lse) <= 1e-14 * std::max(1.0, std::abs(lse))));
}

/// Results of a whole attention: n rows of scores over keys [begin, end).
struct Partial {
    Eigen::MatrixXd out;
    Eigen::VectorXd lse;

    Partial(const Eigen::MatrixXd& scores, const Eigen::MatrixXd& values, Index begin, Index end)
        : out(softmax(scores.middleCols(begin, end - begin)) * values.middleRows(begin, end - begin)),
          lse(logsumexp(scores.middleCols(begin, end - begin))) {}
};

template <class F>
std::string message_of(F call) {
    try {
        call();
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "nothing thrown";
}

}  // namespace

TEST_CASE("absorbing keys one by one, in any order, gives the weighted sum and the LSE") {
    Random random(1);
    for (const Index n : {1, 2, 3, 20}) {
        const Keys keys(random, n, 6);
        std::vector<Index> order = range(0, n);
        check_state(keys.absorbed(order), keys.output(), keys.lse());
        std::reverse(order.begin(), order.end());
        check_state(keys.absorbed(order), keys.output(), keys.lse());
        std::sort(order.begin(), order.end(), [&](Index a, Index b) { return keys.scores[a] < keys.scores[b]; });
        check_state(keys.absorbed(order), keys.output(), keys.lse());
    }
}

TEST_CASE("states of any split merge to the whole, whichever way they are paired") {
    Random random(2);
    const Index n = 12;
    for (const double bound : {1.0, 30.0, 1e30}) {
        const Keys keys(random, n, 5, bound);
        for (Index a = 0; a <= n; ++a) {
            for (Index b = a; b <= n; ++b) {
                const SoftmaxState<double> first = keys.absorbed(range(0, a)), second = keys.absorbed(range(a, b)),
                                           third = keys.absorbed(range(b, n));
                check_state(merge(merge(first, second), third), keys.output(), keys.lse());
                check_state(merge(first, merge(second, third)), keys.output(), keys.lse());
                check_state(merge(third, merge(second, first)), keys.output(), keys.lse());
            }
        }
    }
}

TEST_CASE("a state without keys gives 0 and minus infinity, and merging it changes no bit") {
    SoftmaxState<double> empty(3);
    CHECK(empty.finish() == Eigen::RowVector3d::Zero());
    CHECK(empty.lse() == -infinity);
    empty.merge(SoftmaxState<double>(3));
    CHECK(empty.lse() == -infinity);

    Random random(3);
    const Keys keys(random, 7, 3);
    const SoftmaxState<double> state = keys.absorbed(range(0, 7));
    for (const SoftmaxState<double>& merged : {merge(state, empty), merge(empty, state)}) {
        CHECK(same_bits(merged.finish(), state.finish()));
        CHECK(merged.lse() == state.lse());
    }
}

TEST_CASE("a key with score minus infinity is absent, whatever its value") {
    Random random(4);
    const Keys keys(random, 5, 3);
    SoftmaxState<double> state(3);
    const Eigen::RowVector3d poison(not_a_number, infinity, 1);
    for (Index j = 0; j < 5; ++j) {
        state.absorb(-infinity, poison);
        if (j == 0) CHECK(state.finish() == Eigen::RowVector3d::Zero());
        state.absorb(keys.scores[j], keys.values.row(j));
    }
    CHECK(same_bits(state.finish(), keys.absorbed(range(0, 5)).finish()));
    CHECK(state.lse() == keys.absorbed(range(0, 5)).lse());
}

TEST_CASE("keys with score infinity share all weight") {
    const Eigen::RowVector2d a(1, 2), b(3, 6), c(100, 100);
    SoftmaxState<double> early(2), late(2), other(2);
    for (const auto& [score, value] : {std::pair{infinity, a}, {5.0, c}, {infinity, b}}) early.absorb(score, value);
    for (const auto& [score, value] : {std::pair{5.0, c}, {infinity, a}}) late.absorb(score, value);
    other.absorb(infinity, b);
    late.merge(other);
    for (const SoftmaxState<double>& state : {early, late}) {
        CHECK(state.finish() == Eigen::RowVector2d(2, 4));
        CHECK(state.lse() == infinity);
    }
}

TEST_CASE("NaN in a visible score or value shows") {
    Random random(5);
    for (const Index place : {0, 2, 4}) {
        for (const double other : {0.0, infinity, -infinity}) {
            Keys keys(random, 5, 2);
            keys.scores.setConstant(other);
            keys.scores[place] = not_a_number;
            const SoftmaxState<double> whole = keys.absorbed(range(0, 5));
            CHECK(whole.finish().array().isNaN().all());
            CHECK(std::isnan(whole.lse()));
            const SoftmaxState<double> merged = merge(keys.absorbed(range(0, 2)), keys.absorbed(range(2, 5)));
            CHECK(merged.finish().array().isNaN().all());
            CHECK(std::isnan(merged.lse()));
        }
        Keys keys(random, 5, 2);
        keys.values(place, 1) = not_a_number;
        const SoftmaxState<double> state = keys.absorbed(range(0, 5));
        CHECK(std::isfinite(state.finish()[0]));
        CHECK(std::isnan(state.finish()[1]));
        CHECK(std::isfinite(state.lse()));
    }
}

TEST_CASE("a state of fixed width takes values of any kind and no heap") {
    const Eigen::Matrix<float, 2, 3> values{{1, 2, 3}, {4, 6, 8}};
    const Eigen::Vector3f column(2, 3, 4);
    const Eigen::Array3f array(2, 3, 4);
    const Eigen::Matrix<Eigen::half, 1, 3> halves = column.transpose().cast<Eigen::half>();
    Eigen::internal::set_is_malloc_allowed(false);
    SoftmaxState<float, 3> state, other;
    state.absorb(1.F, values.row(0));
    state.absorb(1.F, column);
    other.absorb(1.F, array);
    other.absorb(1.F, halves);
    other.absorb(1.F, values.row(1) - values.row(0));
    state.merge(other);
    const Eigen::RowVector3f result = state.finish();
    Eigen::internal::set_is_malloc_allowed(true);
    CHECK(distance(result, Eigen::RowVector3f(2, 3, 4)) <= 1e-6);
    CHECK(std::abs(state.lse() - (1 + std::log(5.F))) <= 1e-6F);
    CHECK(SoftmaxState<float, 3>().lse() == -std::numeric_limits<float>::infinity());
}

TEST_CASE("results over two ranges of keys merge to the whole") {
    Random random(6);
    const Eigen::MatrixXd scores = random_matrix<double>(random, 5, 14, 6.0),
                          values = random_matrix<double>(random, 14, 4);
    const Partial whole(scores, values, 0, 14);
    for (Index split = 0; split <= 14; ++split) {
        const Partial a(scores, values, 0, split), b(scores, values, split, 14);
        RowMatrix<double> out;
        Eigen::VectorXd lse;
        merge(a.out, a.lse, b.out, b.lse, out, lse);
        CHECK(distance(out, whole.out) <= 1e-14);
        CHECK(distance(lse, whole.lse) <= 1e-14);
        // In place, into a part of something larger, in float.
        Partial in_place = a;
        merge(in_place.out, in_place.lse, b.out, b.lse, in_place.out, in_place.lse);
        CHECK(same_bits(in_place.out, out));
        CHECK(same_bits(in_place.lse, lse));
        in_place = b;
        merge(a.out, a.lse, in_place.out, in_place.lse, in_place.out, in_place.lse);
        CHECK(same_bits(in_place.out, out));
        Eigen::MatrixXf larger = Eigen::MatrixXf::Constant(7, 6, -7), larger_lse = larger;
        merge(a.out, a.lse, b.out, b.lse, larger.block(1, 1, 5, 4), larger_lse.block(1, 1, 5, 1));
        CHECK(distance(larger.block(1, 1, 5, 4).cast<double>(), whole.out) <= 1e-6);
        CHECK(distance(larger_lse.block(1, 1, 5, 1).cast<double>(), whole.lse) <= 1e-6);
        CHECK((larger.array() == -7).count() == 7 * 6 - 5 * 4);
    }
}

TEST_CASE("rows that saw no key are not looked at when results merge") {
    Eigen::MatrixXd out_a(4, 2), out_b(4, 2), out;
    out_a << not_a_number, infinity, 1, 2, not_a_number, not_a_number, 2, 4;
    out_b << 3, 4, not_a_number, -infinity, infinity, not_a_number, 4, 8;
    Eigen::VectorXd lse;
    merge(out_a, Eigen::Vector4d(-infinity, 0.5, -infinity, infinity), out_b,
          Eigen::Vector4d(-1.5, -infinity, -infinity, infinity), out, lse);
    const Eigen::Matrix<double, 4, 2> expected{{3, 4}, {1, 2}, {0, 0}, {3, 6}};
    CHECK(out == expected);
    CHECK(lse == Eigen::Vector4d(-1.5, 0.5, -infinity, infinity));

    merge(out_a, Eigen::VectorXd::Zero(4).eval(), out_b, Eigen::VectorXd::Zero(4).eval(), out, lse);
    CHECK(out.row(0).array().isNaN().cast<int>().sum() == 1);  // NaN and 3; infinity and 4 is infinity
    CHECK(std::isnan(out(1, 0)));
}

TEST_CASE("half and bfloat16 results merge in float") {
    Random random(7);
    const Eigen::MatrixXf a = random_matrix<float>(random, 3, 4), b = random_matrix<float>(random, 3, 4);
    const Eigen::VectorXf lse_a = random_matrix<float>(random, 3, 1), lse_b = random_matrix<float>(random, 3, 1);
    const Eigen::Matrix<Eigen::half, 3, 4> half_a = a.cast<Eigen::half>(), half_b = b.cast<Eigen::half>();
    Eigen::Matrix<Eigen::half, 3, 4> out;
    Eigen::MatrixXf wide;
    Eigen::VectorXf lse, wide_lse;
    merge(half_a, lse_a, half_b, lse_b, out, lse);
    merge(half_a.cast<float>().eval(), lse_a, half_b.cast<float>().eval(), lse_b, wide, wide_lse);
    CHECK(same_bits(out, wide.cast<Eigen::half>().eval()));
    CHECK(same_bits(lse, wide_lse));
}

TEST_CASE("states and merges of shapes that do not fit are refused by name, before anything is written") {
    SoftmaxState<double> state(3);
    CHECK(message_of([&] { state.absorb(1, Eigen::RowVector2d(1, 2)); }) ==
          "attend: absorb: value (1x2) must have the width of the state, 3");
    CHECK(message_of([&] { state.merge(SoftmaxState<double>(4)); }) == "attend: merge: the states have widths 3 and 4");
    CHECK(state.lse() == -infinity);

    const Eigen::MatrixXd out_a = Eigen::MatrixXd::Zero(3, 4);
    const Eigen::VectorXd lse_a = Eigen::VectorXd::Zero(3);
    Eigen::MatrixXd out = Eigen::MatrixXd::Constant(3, 5, -7);
    Eigen::VectorXd lse = Eigen::VectorXd::Constant(3, -7), longer = Eigen::VectorXd::Constant(4, -7);
    CHECK(message_of([&] { merge(out_a, lse_a, out, lse, out, lse); }) ==
          "attend: merge: out_a (3x4) and out_b (3x5) must have the same shape");
    CHECK(message_of([&] { merge(out_a, lse_a, out_a, longer, out, lse); }) ==
          "attend: merge: lse_a (3x1) and lse_b (4x1) must have an entry for each head of the 3 rows of out_a (3x4)");
    CHECK(message_of([&] { merge(out_a, lse_a, out_a, lse_a, out, lse); }) ==
          "attend: out (3x5) must be 3x4, or empty to be resized");
    out.resize(0, 0);
    CHECK(message_of([&] { merge(out_a, lse_a, out_a, lse_a, out, longer); }) ==
          "attend: lse (4x1) must be 3x1, or empty to be resized");
    CHECK(out.size() == 0);
    CHECK((lse.array() == -7).all());
    CHECK((longer.array() == -7).all());
}

TEST_CASE("outputs of a merge that reach into other rows of an input, or into each other, are refused") {
    Eigen::MatrixXd memory = Eigen::MatrixXd::Constant(4, 5, 7);
    const Eigen::MatrixXd other = Eigen::MatrixXd::Zero(3, 4);
    const Eigen::VectorXd lse_other = Eigen::VectorXd::Zero(3);
    Eigen::VectorXd lse;
    CHECK(message_of([&] {
              merge(memory.topLeftCorner(3, 4), lse_other, other, lse_other, memory.bottomLeftCorner(3, 4), lse);
          }) == "attend: merge: out overlaps out_a (3x4): it must be that or have memory of its own");
    CHECK(message_of([&] {
              merge(other, memory.col(4).head(3), other, lse_other, memory.topRightCorner(3, 4), lse);
          }) == "attend: merge: out overlaps lse_a (3x1): it must be that or have memory of its own");
    CHECK(message_of([&] {
              merge(other, lse_other, other, lse_other, memory.topRightCorner(3, 4), memory.col(4).head(3));
          }) == "attend: merge: out and lse overlap: give each memory of its own");
    CHECK((memory.array() == 7).all());
    CHECK(lse.size() == 0);
}

}  // namespace test_online
