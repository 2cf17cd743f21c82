// Law 1: a query with no visible key gives output 0, LSE −∞ and gradients 0, whatever emptied its row and whatever the
// normalizer.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const Layout layout{.queries = 4, .keys = 5, .heads = 2, .kv_heads = 1};
constexpr Index empty_row = 1;

template <class T>
bool all_zero(const Eigen::DenseBase<T>& x) {
    return (x.derived().array() == 0).all();
}

/// Row 1 is empty, the others are not.
template <class A>
void check_one_empty_row(const A& attention) {
    const Operands<double> x = random_operands(layout, 1);
    const Outputs<double> y = forward(attention, x);
    const Gradients<double, A> d = backward(attention, x);
    CHECK(all_zero(y.out.row(empty_row)));
    CHECK((y.lse.row(empty_row).array() == -infinity).all());
    CHECK(all_zero(d.dq.row(empty_row)));
    for (Index head = 0; head < layout.heads; ++head) CHECK(all_zero(y.weights.row(head * layout.queries + empty_row)));
    for (const Index row : {0, 2, 3}) {
        CHECK_FALSE(all_zero(y.out.row(row)));
        CHECK((y.lse.row(row).array() > -infinity).all());
    }
}

/// A loss may well be undefined where there is no output.
template <class A>
void check_unfelt_gradient(const A& attention) {
    Operands<double> x = random_operands(layout, 1);
    const Gradients<double, A> d = backward(attention, x);
    x.dout.row(empty_row).setConstant(not_a_number);
    CHECK(first_difference(backward(attention, x), d) == "");
}

/// Every row is empty, so nothing has a gradient.
template <class A>
void check_all_rows_empty(const A& attention, const Layout& shape = layout) {
    const Operands<double> x = random_operands(shape, 2);
    const Outputs<double> y = forward(attention, x);
    const Gradients<double, A> d = backward(attention, x);
    CHECK(y.out.rows() == shape.queries);
    CHECK(all_zero(y.out));
    CHECK(all_zero(y.weights));
    CHECK((y.lse.array() == -infinity).all());
    CHECK(all_zero(d.dq));
    CHECK(all_zero(d.dk));
    CHECK(all_zero(d.dv));
    CHECK(all_zero(parameters_of(d.parameters)));
}

template <class Normalizer>
void check_normalizer(const Normalizer& normalizer) {
    const auto but_one = scaled_dot_product >> mask([](Position p) { return p.row != empty_row; }) >> normalizer;
    check_one_empty_row(but_one);
    check_unfelt_gradient(but_one);
    check_all_rows_empty(scaled_dot_product >> mask([](Position) { return false; }) >> normalizer);
    check_all_rows_empty(scaled_dot_product >> normalizer, {.queries = 3, .keys = 0, .heads = 2, .kv_heads = 1});
}

}  // namespace

TEST_CASE("masks empty rows, as does having no keys, for every normalizer") {
    check_normalizer(softmax);
    check_normalizer(softmax_with_sink(Eigen::Vector2d(0.3, -1.0)));
    check_normalizer(sigmoid(0.5));
    check_normalizer(sparsemax);
    check_normalizer(entmax15);
    check_normalizer(top_k(2));
}

TEST_CASE("scores with parameters and maps have no gradients from empty rows") {
    const auto nothing = mask([](Position) { return false; });
    check_all_rows_empty(AdditiveAttention<double>(3, 3, 4, 5) >> nothing);
    check_all_rows_empty(GeneralAttention<double>(3, 3, 6) >> nothing);
    check_all_rows_empty(cosine(2.0) >> nothing);
}

TEST_CASE("modifiers empty rows with scores of -infinity") {
    Eigen::MatrixXd one_row = Eigen::MatrixXd::Zero(4, 5), all_rows = Eigen::MatrixXd::Constant(4, 5, -infinity);
    one_row.row(empty_row).setConstant(-infinity);
    check_all_rows_empty(dot_product >> bias(all_rows));
    check_all_rows_empty(dot_product >> bias(all_rows) >> softmax_with_sink(0.1));
    check_all_rows_empty(dot_product >> bias(all_rows) >> sigmoid(0.5));
    check_all_rows_empty(dot_product >> bias(all_rows) >> entmax15);
    check_all_rows_empty(dot_product >> bias(all_rows) >> top_k(2));
    check_all_rows_empty(dot_product >> adaptive_span(-3.0, 1.0));
    check_one_empty_row(dot_product >> bias(one_row) >> sparsemax);
}

TEST_CASE("modifiers behind a score of -infinity have gradient 0 from it") {
    const Eigen::MatrixXd all_rows = Eigen::MatrixXd::Constant(4, 5, -infinity);
    check_all_rows_empty(dot_product >> bias(all_rows) >> scale(0.5));
    check_all_rows_empty(dot_product >> bias(all_rows) >> scale(0.5) >> alibi(0.1) >> bias(all_rows));
}

TEST_CASE("an attention of no queries has no rows") {
    const Layout none{.queries = 0, .keys = 4};
    const Operands<double> x = random_operands(none, 3);
    const Gradients<double, ScaledDotProductAttention> d = backward(scaled_dot_product, x);
    CHECK(forward(scaled_dot_product, x).out.rows() == 0);
    CHECK((d.dk.rows() == 4 && all_zero(d.dk)));
    CHECK((d.dv.rows() == 4 && all_zero(d.dv)));
}
