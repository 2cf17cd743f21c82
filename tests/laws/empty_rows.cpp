// Law 1: a query with no visible key gives output 0, LSE −∞ and gradients 0, whatever emptied its row and whatever the
// normalizer.

#include <attend/attend.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_empty_rows {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const Layout layout{.queries = 4, .keys = 5, .heads = 2, .kv_heads = 1};
const Layout no_keys{.queries = 3, .keys = 0, .heads = 2, .kv_heads = 1};
constexpr Index empty_row = 1;

template <class T>
bool all_zero(const Eigen::DenseBase<T>& x) {
    return (x.derived().array() == 0).all();
}

/// A call's results, of whatever attention: it is its type that takes long to compile, so what checks them has none.
struct Results {
    Outputs<double> y;
    RowMatrix<double> dq, dk, dv;
    RowMatrix<double> dparameters;
};
template <class A>
Results results_of(const A& attention, const Operands<double>& x) {
    const Gradients<double, A> d = backward(attention, x);
    return {forward(attention, x), d.dq, d.dk, d.dv, parameters_of(d.parameters)};
}

/// Row 1 is empty, the others are not.
void check_one_empty_row(const Results& r) {
    CHECK(all_zero(r.y.out.row(empty_row)));
    CHECK((r.y.lse.row(empty_row).array() == -infinity).all());
    CHECK(all_zero(r.dq.row(empty_row)));
    for (Index head = 0; head < layout.heads; ++head)
        CHECK(all_zero(r.y.weights.row(head * layout.queries + empty_row)));
    for (const Index row : {0, 2, 3}) {
        CHECK_FALSE(all_zero(r.y.out.row(row)));
        CHECK((r.y.lse.row(row).array() > -infinity).all());
    }
}
template <class A>
void check_one_empty_row(const A& attention) {
    check_one_empty_row(results_of(attention, random_operands(layout, 1)));
}

/// A loss may well be undefined where there is no output.
void check_unfelt(const Results& of_nan, const Results& r) {
    CHECK(same_bits(of_nan.dq, r.dq));
    CHECK(same_bits(of_nan.dk, r.dk));
    CHECK(same_bits(of_nan.dv, r.dv));
    CHECK(same_bits(of_nan.dparameters, r.dparameters));
}
template <class A>
void check_unfelt_gradient(const A& attention) {
    Operands<double> x = random_operands(layout, 1);
    const Results r = results_of(attention, x);
    x.dout.row(empty_row).setConstant(not_a_number);
    check_unfelt(results_of(attention, x), r);
}

/// Every row is empty, so nothing has a gradient.
void check_all_rows_empty(const Results& r, const Layout& shape) {
    CHECK(r.y.out.rows() == shape.queries);
    CHECK(all_zero(r.y.out));
    CHECK(all_zero(r.y.weights));
    CHECK((r.y.lse.array() == -infinity).all());
    CHECK(all_zero(r.dq));
    CHECK(all_zero(r.dk));
    CHECK(all_zero(r.dv));
    CHECK(all_zero(r.dparameters));
}
template <class A>
void check_all_rows_empty(const A& attention, const Layout& shape = layout) {
    check_all_rows_empty(results_of(attention, random_operands(shape, 2)), shape);
}

/// What a mask, or a bias of -infinity, hides.
enum class Hidden { nothing, one_row, all_rows };

auto mask_of(Hidden hidden) {
    return mask([hidden](Position p) {
        return hidden == Hidden::nothing || (hidden == Hidden::one_row && p.row != empty_row);
    });
}
auto bias_of(Hidden hidden, const Layout& shape = layout) {
    Eigen::MatrixXd values = Eigen::MatrixXd::Zero(shape.queries, shape.keys);
    if (hidden == Hidden::one_row) values.row(empty_row).setConstant(-infinity);
    if (hidden == Hidden::all_rows) values.setConstant(-infinity);
    return bias(values);
}

/// `masked(hidden)` is an attention whose mask hides that.
template <class Masked>
void check_masks(const Masked& masked) {
    check_one_empty_row(masked(Hidden::one_row));
    check_unfelt_gradient(masked(Hidden::one_row));
    check_all_rows_empty(masked(Hidden::all_rows));
}

/// By a mask, by a bias, and by having no keys. Each use of this costs a second of compiling, so that a score and a
/// normalizer are checked at once.
template <class Score, class Normalizer>
void check_parts(const Score& score, const Normalizer& normalizer) {
    const auto attention = [&](Hidden by_bias, Hidden by_mask, const Layout& shape = layout) {
        return score >> bias_of(by_bias, shape) >> mask_of(by_mask) >> normalizer;
    };
    check_masks([&](Hidden hidden) { return attention(Hidden::nothing, hidden); });
    check_all_rows_empty(attention(Hidden::all_rows, Hidden::nothing));
    check_one_empty_row(attention(Hidden::one_row, Hidden::nothing));
    check_unfelt_gradient(attention(Hidden::one_row, Hidden::nothing));
    check_all_rows_empty(attention(Hidden::nothing, Hidden::nothing, no_keys), no_keys);
}

/// Without modifiers.
const auto general = [](Hidden hidden) { return GeneralAttention<double>(3, 3, 6) >> mask_of(hidden) >> softmax; };

}  // namespace

TEST_CASE("masks and biases empty rows, as does having no keys, for every score and normalizer") {
    check_parts(AdditiveAttention<double>(3, 3, 4, 5), softmax_with_sink(Eigen::Vector2d(0.3, -1.0)));
    check_parts(scaled_dot_product, sigmoid(0.5));
    check_parts(scaled_dot_product, sparsemax);
    check_parts(dot_product, entmax15);
    check_parts(dot_product, top_k(2));
    check_masks(general);
    check_all_rows_empty(general(Hidden::nothing), no_keys);
}

TEST_CASE("modifiers empty rows, and behind a score of -infinity they have gradient 0 from it") {
    const auto attention = [](double span, Hidden before, double slope, Hidden behind, Hidden by_mask) {
        return cosine(2.0) >> adaptive_span(span, 1.0) >> bias_of(before) >> scale(0.5) >> alibi(slope) >>
               bias_of(behind) >> mask_of(by_mask);
    };
    constexpr double no_end = 100;
    const Hidden nothing = Hidden::nothing;
    check_all_rows_empty(attention(-3.0, nothing, 0, nothing, nothing));
    check_all_rows_empty(attention(no_end, Hidden::all_rows, 0, nothing, nothing));
    check_all_rows_empty(attention(no_end, Hidden::all_rows, 0.1, Hidden::all_rows, nothing));
    check_one_empty_row(attention(no_end, Hidden::one_row, 0.1, nothing, nothing));
    check_masks([&](Hidden hidden) { return attention(no_end, nothing, 0.1, nothing, hidden); });
}

TEST_CASE("of tiles that a mask hides without saying so, nothing is left of what the scratch held") {
    // Several blocks of queries and tiles of keys. The offsets of no document tell nothing of the tiles around them.
    const Index queries = 130, keys = 100;
    const RowMatrix<double> q = RowMatrix<double>::Random(queries, 3), k = RowMatrix<double>::Random(keys, 3),
                            v = RowMatrix<double>::Random(keys, 2), dout = RowMatrix<double>::Random(queries, 2);
    const auto check = [&](const auto& attention) {
        std::vector<std::byte> memory(std::size_t{1} << 22, std::byte{0xff});  // every number is NaN
        Workspace workspace{std::span<std::byte>(memory)};
        RowMatrix<double> out, dq, dk, dv;
        Eigen::MatrixXd lse;
        attention(q, k, v, out, {.workspace = &workspace, .lse = lse});
        std::fill(memory.begin(), memory.end(), std::byte{0xff});
        attention.backward(q, k, v, out, lse, dout, dq, dk, dv, {.workspace = &workspace});
        CHECK(all_zero(out));
        CHECK((lse.array() == -infinity).all());
        CHECK((all_zero(dq) && all_zero(dk) && all_zero(dv)));
    };
    check(scaled_dot_product >> mask([](Position) { return false; }));
    check(dot_product >> documents({50, 50, 50}));
    check(score([](auto a, auto b) { return a * b; }) >> mask([](Position) { return false; }));
}

TEST_CASE("an attention of no queries has no rows") {
    const Layout none{.queries = 0, .keys = 4};
    const Results r = results_of(general(Hidden::nothing), random_operands(none, 3));
    CHECK(r.y.out.rows() == 0);
    CHECK((r.dk.rows() == 4 && all_zero(r.dk)));
    CHECK((r.dv.rows() == 4 && all_zero(r.dv)));
}

}  // namespace test_empty_rows
