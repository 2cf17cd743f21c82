// Any shape, storage order and stride gives what the definition says.

#include <attend/attend.hpp>

#include <array>
#include <cmath>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_shapes {
namespace {

constexpr double rounding = 1e-13;

/// Scaled dot product and causal mask, by definition.
PlainAttention<double> expected(const Operands<double>& x, bool is_causal) {
    const double scale = x.q.cols() == 0 ? 0.0 : 1 / std::sqrt(static_cast<double>(x.q.cols()));
    return plain_attention(x.q.rows(), x.v, [&](Index i, Index j) {
        const bool visible = !is_causal || j <= i + x.layout.query_offset;
        return visible ? scale * x.q.row(i).dot(x.k.row(j)) : -std::numeric_limits<double>::infinity();
    });
}

using Dynamic = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;

/// Every second row and third column of a larger matrix of storage order `order`.
template <int order>
struct Gaps {
    using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, order>;
    explicit Gaps(const RowMatrix<double>& x)
        : memory(Matrix::Constant(2 * x.rows(), 3 * x.cols(), 99.0)), rows(x.rows()), columns(x.cols()) {
        map() = x;
    }
    Eigen::Map<Matrix, Eigen::Unaligned, Dynamic> map() {
        const Dynamic stride =
            order == Eigen::RowMajor ? Dynamic(2 * memory.outerStride(), 3) : Dynamic(3 * memory.outerStride(), 2);
        return {memory.data(), rows, columns, stride};
    }

    Matrix memory;
    Index rows, columns;
};

const Layout layout{.queries = 5, .keys = 7, .d_q = 4, .d_k = 4, .d_v = 3};

}  // namespace

TEST_CASE("random shapes, down to nothing, give what the definition says") {
    Random random(1);
    for (std::uint64_t round = 0; round < 300; ++round) {
        Layout shape{.queries = random_index(random, 0, 9),
                     .keys = random_index(random, 0, 9),
                     .d_q = random_index(random, 0, 9)};
        shape.d_k = shape.d_q;
        shape.d_v = random_index(random, 0, 9);
        shape.query_offset = random_index(random, -3, 5);
        CAPTURE(shape.queries, shape.keys, shape.d_q, shape.d_v, shape.query_offset);
        const Operands<double> x = random_operands(shape, round);
        const auto plain = expected(x, true);
        const auto y = forward(scaled_dot_product >> causal, x);
        REQUIRE(distance(y.out, plain.out) < rounding);
        REQUIRE(distance(y.weights, plain.weights) < rounding);
        REQUIRE(distance(y.lse, plain.lse) < rounding);
        const auto d = backward(scaled_dot_product >> causal, x);
        REQUIRE((d.dq.rows() == shape.queries && d.dk.rows() == shape.keys && d.dv.rows() == shape.keys));
        REQUIRE((d.dq.cols() == shape.d_q && d.dk.cols() == shape.d_k && d.dv.cols() == shape.d_v));
    }
}

TEST_CASE("a single key gives its value, and its score as LSE") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 1}, 2);
    const auto y = forward(dot_product, x);
    CHECK(same_bits(y.out, x.v.replicate(4, 1)));
    CHECK(distance(y.lse, x.q * x.k.transpose()) < rounding);
}

TEST_CASE("features or values of width 0 weigh all keys alike") {
    const Operands<double> x = random_operands({.queries = 3, .keys = 4, .d_q = 0, .d_k = 0}, 3);
    CHECK((forward(scaled_dot_product, x).weights.array() == 0.25).all());
    CHECK(forward(dot_product, random_operands({.queries = 3, .keys = 4, .d_v = 0}, 4)).out.rows() == 3);
}

TEST_CASE("storage orders and expressions do not matter") {
    const Operands<double> x = random_operands(layout, 5);
    const auto plain = expected(x, false);
    const Eigen::MatrixXd q = x.q, k = x.k, v = x.v;
    CHECK(distance(scaled_dot_product(q, k, v), plain.out) < rounding);
    CHECK(distance(scaled_dot_product(x.q, k, v), plain.out) < rounding);
    CHECK(distance(scaled_dot_product(0.5 * (q + q), k, v.array() * 1.0), plain.out) < rounding);
    const Eigen::MatrixXd q_t = q.transpose(), k_t = k.transpose();
    CHECK(distance(scaled_dot_product(q_t.transpose(), k_t.transpose(), v), plain.out) < rounding);

    Eigen::MatrixXd column_major;
    Eigen::VectorXd lse;
    scaled_dot_product(q, k, v, column_major, {.lse = lse});
    CHECK(distance(column_major, plain.out) < rounding);
    CHECK(distance(lse, plain.lse) < rounding);
}

TEST_CASE("the result has the storage order of q") {
    const Operands<double> x = random_operands(layout, 6);
    const Eigen::MatrixXd q = x.q;
    STATIC_REQUIRE(decltype(scaled_dot_product(x.q, x.k, x.v))::IsRowMajor);
    STATIC_REQUIRE_FALSE(decltype(scaled_dot_product(q, x.k, x.v))::IsRowMajor);
}

TEST_CASE("vectors serve as a single query or as values of width 1") {
    const Operands<double> x = random_operands({.queries = 1, .keys = 6, .d_q = 4, .d_k = 4, .d_v = 1}, 7);
    const auto plain = expected(x, false);
    const Eigen::RowVectorXd q = x.q;
    const Eigen::VectorXd v = x.v;
    CHECK(distance(scaled_dot_product(q, x.k, v), plain.out) < rounding);
    Eigen::RowVectorXd weights;
    RowMatrix<double> out;
    scaled_dot_product(q, x.k, v, out, {.weights = weights});
    CHECK(distance(weights, plain.weights) < rounding);
}

TEST_CASE("blocks, and maps with an inner and an outer stride, are read and written in place") {
    const Operands<double> x = random_operands(layout, 8);
    const auto y = forward(scaled_dot_product, x);
    const auto d = backward(scaled_dot_product, x);
    Gaps<Eigen::RowMajor> q(x.q), v(x.v), dk(RowMatrix<double>::Zero(7, 4)), out(RowMatrix<double>::Zero(5, 3));
    Gaps<Eigen::ColMajor> k(x.k), dq(RowMatrix<double>::Zero(5, 4)), dv(RowMatrix<double>::Zero(7, 3)),
        weights(RowMatrix<double>::Zero(5, 7));
    RowMatrix<double> wide(5, 9);
    scaled_dot_product(q.map(), k.map(), v.map(), out.map(), {.lse = wide.col(2)});
    RowMatrix<double> again;
    scaled_dot_product(q.map(), k.map(), v.map(), again, {.weights = weights.map()});
    CHECK(same_bits(out.map(), y.out));
    CHECK(same_bits(weights.map(), y.weights));
    CHECK(same_bits(wide.col(2), y.lse));

    wide.rightCols(3) = x.dout;
    scaled_dot_product.backward(q.map(), k.map(), v.map(), out.map(), wide.col(2), wide.rightCols(3), dq.map(),
                                dk.map(), dv.map());
    CHECK(same_bits(dq.map(), d.dq));
    CHECK(same_bits(dk.map(), d.dk));
    CHECK(same_bits(dv.map(), d.dv));
    CHECK((out.memory.array() == 99.0).count() == out.memory.size() - out.rows * out.columns);
    CHECK((dq.memory.array() == 99.0).count() == dq.memory.size() - dq.rows * dq.columns);
}

TEST_CASE("foreign memory of any strides is read and written in place") {
    // Sequence × row × head × column, as transposed in most frameworks' projections.
    const Layout two_heads{.queries = 4, .keys = 4, .d_v = 3, .heads = 2, .kv_heads = 2};
    const Operands<double> x = random_operands(two_heads, 9);
    const auto y = forward(scaled_dot_product >> causal, x);
    RowMatrix<double> memory(4, 4 * 6);
    memory << x.q, x.k, x.v, RowMatrix<double>::Zero(4, 6);
    const auto part = [&](Index i) { return strided(memory.data() + 6 * i, {1, 2, 4, 3}, {0, 3, 24, 1}); };
    (scaled_dot_product >> causal)(part(0), part(1), part(2), part(3));
    CHECK(same_bits(memory.rightCols(6), y.out));
}

TEST_CASE("a batch of no sequences is a call like others, forward and backward") {
    std::array<double, 64> memory;
    memory.fill(7.0);
    const auto view = [&](Index sequences, Index rows, Index columns) {
        return strided(memory.data(), {sequences, 1, rows, columns}, {rows * columns, 0, columns, 1});
    };
    const auto check = [&](const auto& attention) {
        RowMatrix<double> out, lse, weights, dq, dk, dv;
        attention(view(0, 3, 4), view(0, 5, 4), view(0, 5, 2), view(0, 3, 2), {.lse = view(0, 3, 1)});
        attention(view(0, 3, 4), view(0, 5, 4), view(0, 5, 2), out, {.lse = lse, .weights = weights});
        CHECK((out.rows() == 0 && out.cols() == 2 && lse.rows() == 0 && weights.rows() == 0));
        attention.backward(view(0, 3, 4), view(0, 5, 4), view(0, 5, 2), view(0, 3, 2), view(0, 3, 1), view(0, 3, 2),
                           view(0, 3, 4), view(0, 5, 4), view(0, 5, 2));
        attention.backward(view(0, 3, 4), view(0, 5, 4), view(0, 5, 2), out, lse, out, dq, dk, dv);
        CHECK((dq.rows() == 0 && dq.cols() == 4 && dk.rows() == 0 && dv.rows() == 0 && dv.cols() == 2));
    };
    check(scaled_dot_product);
    check(dot_product >> causal >> sparsemax);
    check(AdditiveAttention<double>(4, 4, 3, 1) >> lengths(std::vector<Index>{}));
    for (const double x : memory) CHECK(x == 7.0);
    CHECK_THROWS_AS(dot_product(view(0, 3, 4), view(0, 5, 4), view(0, 5, 2), view(2, 3, 2)), std::invalid_argument);
    CHECK_THROWS_AS(dot_product(view(2, 3, 4), view(2, 5, 4), view(2, 5, 2), view(0, 3, 2)), std::invalid_argument);
}

}  // namespace test_shapes
