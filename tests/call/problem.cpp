#include <attend/attention.hpp>
#include <attend/call/problem.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_problem {
using attend::detail::Problem;
using attend::detail::SequencesRef;

namespace {

using Matrix = RowMatrix<double>;

StridedView<const double> as_view(const Matrix& x, Index count) { return heads(x, count); }

/// Entries tell where they stand: 100 · row + column.
Matrix numbered(Index rows, Index columns) {
    return Matrix::NullaryExpr(rows, columns, [](Index i, Index j) { return static_cast<double>(100 * i + j); });
}

}  // namespace

TEST_CASE("the shape of a call is read off its operands") {
    const Matrix q = numbered(4, 12), k = numbered(6, 4), v = numbered(6, 10);
    const Problem<double> problem(as_view(q, 6), as_view(k, 2), as_view(v, 2), 7, {}, {});
    const Shape& s = problem.shape;
    CHECK((s.sequences == 1 && s.heads == 6 && s.kv_heads == 2 && s.group() == 3));
    CHECK((s.queries == 4 && s.keys == 6 && s.d_q == 2 && s.d_k == 2 && s.d_v == 5 && s.query_offset == 7));
}

TEST_CASE("of ragged sequences the shape says how many there are and how long the longest is") {
    const Matrix q = numbered(5, 2), k = numbered(9, 2);
    const Sequences q_sequences = sequences({0, 1, 1, 5}), k_sequences = sequences({0, 6, 8, 9});
    const Problem<double> problem(as_view(q, 1), as_view(k, 1), as_view(k, 1), 0, q_sequences, k_sequences);
    CHECK((problem.shape.sequences == 3 && problem.shape.queries == 4 && problem.shape.keys == 6));
    CHECK((problem.queries(0) == 1 && problem.queries(1) == 0 && problem.queries(2) == 4));
    CHECK((problem.keys(0) == 6 && problem.keys(1) == 2 && problem.keys(2) == 1));
    CHECK(problem.query_slice(problem.q, 2, 0) == q.bottomRows(4));
    CHECK(problem.key_slice(problem.k, 1, 0) == k.middleRows(6, 2));
}

TEST_CASE("without offsets of their own, keys are cut as queries are") {
    const Matrix x = numbered(5, 2);
    const Sequences both = sequences({0, 2, 5});
    const Problem<double> problem(as_view(x, 1), as_view(x, 1), as_view(x, 1), 0, both, {});
    CHECK((problem.keys(0) == 2 && problem.keys(1) == 3));
}

TEST_CASE("a slice is one head of one sequence, in place") {
    const Matrix q = numbered(4, 6), k = numbered(6, 6), v = numbered(6, 9);
    const Problem<double> problem(as_view(q, 3), as_view(k, 3), as_view(v, 3), 0, {}, {});
    for (Index head = 0; head < 3; ++head) {
        CHECK(problem.query_slice(problem.q, 0, head) == q.middleCols(2 * head, 2));
        CHECK(problem.key_slice(problem.v, 0, head) == v.middleCols(3 * head, 3));
        CHECK(problem.key_slice(problem.v, 0, head).data() == v.data() + 3 * head);
    }
}

TEST_CASE("no step leads on from an empty operand without memory") {
    const StridedView<const double> none = strided<const double>(nullptr, {1, 2, 3, 0}, {30, 15, 5, 1});
    const Matrix q = numbered(3, 2);
    const Problem<double> problem(as_view(q, 2), as_view(q, 2), none, 0, {}, {});
    const auto slice = problem.key_slice(problem.v, 0, 1);
    CHECK((slice.rows() == 3 && slice.cols() == 0 && slice.data() == nullptr && slice.outerStride() == 0));
    const Matrix out = scaled_dot_product(heads(q, 2), heads(q, 2), none);
    CHECK((out.rows() == 3 && out.cols() == 0));
}

TEST_CASE("query h reads key/value head h / group and stands at its offset") {
    const Matrix q = numbered(4, 6), k = numbered(6, 2);
    const Problem<double> problem(as_view(q, 6), as_view(k, 2), as_view(k, 2), 10, {}, {});
    for (Index head = 0; head < 6; ++head) {
        const Position p = problem.row_position(0, head, 3).at(5);
        CHECK(
            (p.query == 13 && p.row == 3 && p.key == 5 && p.head == head && p.kv_head == head / 3 && p.sequence == 0));
    }
}

TEST_CASE("plain matrices that go with the queries are cut as these are") {
    const Matrix q = numbered(6, 4), k = numbered(8, 4), out = numbered(6, 10);
    // Two sequences of three queries, two heads.
    const auto batch = [](const Matrix& x) {
        return strided(x.data(), {2, 2, x.rows() / 2, x.cols() / 2},
                       {x.rows() / 2 * x.cols(), x.cols() / 2, x.cols(), 1});
    };
    const Problem<double> problem(batch(q), batch(k), batch(k), 0, {}, {});
    const StridedView<const double> view = problem.query_input(attend::detail::view_of(out.data(), out), "out", 5);
    CHECK(problem.query_slice(view, 1, 1) == out.bottomRightCorner(3, 5));
    CHECK(problem.query_slice(view, 0, 1) == out.topRightCorner(3, 5));
}

TEST_CASE("outputs of pairs hold the heads' blocks below each other") {
    const Matrix q = numbered(3, 4), k = numbered(5, 4);
    const Problem<double> problem(as_view(q, 2), as_view(k, 2), as_view(k, 2), 0, {}, {});
    Matrix weights;
    Output<double> output(weights);
    problem.check_pair_output(output, "weights");
    const StridedView<double> view = problem.pair_output(output);
    CHECK((weights.rows() == 6 && weights.cols() == 5));
    problem.query_slice(view, 0, 1).setConstant(1.0);
    CHECK((weights.topRows(3).isZero(0) && weights.bottomRows(3).isOnes(0)));
}

}  // namespace test_problem
