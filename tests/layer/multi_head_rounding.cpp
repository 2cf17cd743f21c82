// A block of 16-bit scalars computes its projections and their gradients in float and rounds each once: what its tape
// and its gradient hold are the exact products of what the tape holds of them, to one rounding.

#include <attend/attend.hpp>

#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

// All members compile of 16 bits too.
template class attend::MultiHeadProjections<Eigen::half>;

using namespace attend;
using namespace attend::test;

namespace test_multi_head_rounding {
namespace {

using Exact = RowMatrix<double>;

template <class X>
Exact exact(const X& x) {
    return x.template cast<double>();
}

/// The largest distance of `got` from `start` + Σ a · b, in units of what one rounding to T and sums in float may cost.
template <class T, class... Pairs>
double roundings(const Eigen::MatrixBase<T>& got, const Exact& start, const Pairs&... pairs) {
    using Scalar = typename T::Scalar;
    Exact sum = start, magnitude = start.cwiseAbs();
    Eigen::Index terms = 1;
    ((sum += pairs.first.lazyProduct(pairs.second),
      magnitude += pairs.first.cwiseAbs().lazyProduct(pairs.second.cwiseAbs()), terms += pairs.first.cols()),
     ...);
    const double half_digit = std::ldexp(1.0, -std::numeric_limits<Scalar>::digits),
                 float_digit = static_cast<double>(terms) * 0x1p-24,
                 least = 0.5 * static_cast<double>(std::numeric_limits<Scalar>::denorm_min());
    return ((exact(got) - sum).array().abs() /
            (half_digit * sum.array().abs() + float_digit * magnitude.array() + least))
        .maxCoeff();
}
std::pair<Exact, Exact> product(const Exact& a, const Exact& b) { return {a, b}; }

template <class T>
RowMatrix<T> numbers(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    // Most of one sign, so that sums grow until 16 bits would lose what is added.
    return (random_matrix<double>(random, rows, columns).array() + 0.5).matrix().template cast<T>();
}
Exact zero(Index rows, Index columns) { return Exact::Zero(rows, columns); }
template <class Bias>
Exact below_each_other(const Bias& bias, Index rows) {
    return exact(bias.transpose()).replicate(rows, 1);
}

}  // namespace

TEMPLATE_TEST_CASE("projections and their gradients are rounded once", "", Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    constexpr Index rows = 300, keys = 270, width = 150;
    MultiHeadAttention<T> block({.d_model = width, .heads = 3, .kv_heads = 1, .d_memory = 140}, {}, 1);
    for (auto* bias : {&block.query_bias, &block.key_bias, &block.value_bias, &block.output_bias})
        *bias = numbers<T>(bias->size(), 1, 2);
    const RowMatrix<T> x = numbers<T>(rows, width, 3), memory = numbers<T>(keys, 140, 4),
                       dy = numbers<T>(rows, width, 5);
    MultiHeadTape<T> tape;
    RowMatrix<T> y, dx = numbers<T>(rows, width, 6), dmemory;
    const Exact dx_before = exact(dx);
    auto gradient = zero_gradient(block);
    gradient.query_weight.setConstant(T(3));
    block.forward(x, memory, y, {.tape = &tape});
    block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});

    const Exact x_t = exact(x.transpose()), memory_t = exact(memory.transpose()), dk = exact(tape.dk),
                dv = exact(tape.dv), dq = exact(tape.dq);
    CHECK(roundings(tape.q, below_each_other(block.query_bias, rows), product(exact(x), exact(block.query_weight))) <=
          1);
    CHECK(roundings(tape.k, below_each_other(block.key_bias, keys), product(exact(memory), exact(block.key_weight))) <=
          1);
    CHECK(roundings(tape.v, below_each_other(block.value_bias, keys),
                    product(exact(memory), exact(block.value_weight))) <= 1);
    CHECK(roundings(y, below_each_other(block.output_bias, rows),
                    product(exact(tape.context), exact(block.output_weight))) <= 1);
    CHECK(roundings(tape.dcontext, zero(rows, width), product(exact(dy), exact(block.output_weight.transpose()))) <= 1);
    CHECK(roundings(dx, dx_before, product(dq, exact(block.query_weight.transpose()))) <= 1);
    CHECK(roundings(dmemory, zero(keys, 140), product(dk, exact(block.key_weight.transpose())),
                    product(dv, exact(block.value_weight.transpose()))) <= 1);
    CHECK(roundings(gradient.query_weight, Exact::Constant(width, width, 3), product(x_t, dq)) <= 1);
    CHECK(roundings(gradient.key_weight, zero(140, 50), product(memory_t, dk)) <= 1);
    CHECK(roundings(gradient.value_weight, zero(140, 50), product(memory_t, dv)) <= 1);
    CHECK(roundings(gradient.output_weight, zero(width, width), product(exact(tape.context.transpose()), exact(dy))) <=
          1);
    const Exact sum_rows = Exact::Ones(1, rows), sum_keys = Exact::Ones(1, keys);
    CHECK(roundings(gradient.output_bias.transpose(), zero(1, width), product(sum_rows, exact(dy))) <= 1);
    CHECK(roundings(gradient.query_bias.transpose(), zero(1, width), product(sum_rows, dq)) <= 1);
    CHECK(roundings(gradient.value_bias.transpose(), zero(1, 50), product(sum_keys, dv)) <= 1);
}

TEMPLATE_TEST_CASE("self-attention adds three products into dx and rounds once", "", Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    const MultiHeadAttention<T> block({.d_model = 24, .heads = 2}, {}, 1);
    const RowMatrix<T> x = numbers<T>(40, 24, 2), dy = numbers<T>(40, 24, 3);
    MultiHeadTape<T> tape;
    RowMatrix<T> y, dx;
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx);
    CHECK(roundings(dx, zero(40, 24), product(exact(tape.dq), exact(block.query_weight.transpose())),
                    product(exact(tape.dk), exact(block.key_weight.transpose())),
                    product(exact(tape.dv), exact(block.value_weight.transpose()))) <= 1);
}

TEST_CASE("a block of 16 bits trains") {
    // What lies between the projections, against its formulas in double; the tests above check the projections.
    const MultiHeadAttention<Eigen::half> block({.d_model = 24, .heads = 2}, {}, 1);
    const RowMatrix<Eigen::half> x = numbers<Eigen::half>(40, 24, 2), dy = numbers<Eigen::half>(40, 24, 3);
    MultiHeadTape<Eigen::half> tape;
    RowMatrix<Eigen::half> y, dx;
    block.forward(x, y, {.tape = &tape});
    block.backward(tape, dy, dx);
    const double scale = 1 / std::sqrt(12.0);
    for (Index head = 0; head < 2; ++head) {
        const auto part = [&](const RowMatrix<Eigen::half>& all) { return exact(all.middleCols(12 * head, 12)); };
        const auto near = [](const Exact& got, const Exact& expected) {
            return distance(got, expected) <= 2e-3 * magnitude(expected);
        };
        const Exact q = part(tape.q), k = part(tape.k), v = part(tape.v), dout = part(tape.dcontext);
        Exact p = (scale * q.lazyProduct(k.transpose())).array().exp();
        p.array().colwise() /= p.rowwise().sum().eval().array();
        const Exact out = p.lazyProduct(v), dp = dout.lazyProduct(v.transpose()),
                    ds = p.array() * (dp.array().colwise() - out.cwiseProduct(dout).rowwise().sum().array());
        CHECK(near(part(tape.context), out));
        CHECK(near(part(tape.dq), scale * ds.lazyProduct(k)));
        CHECK(near(part(tape.dk), scale * ds.transpose().lazyProduct(q)));
        CHECK(near(part(tape.dv), p.transpose().lazyProduct(dout)));
    }
}

TEST_CASE("the gradient of the output's bias of 1000 rows of 1 is 1000, in bfloat16 too") {
    const MultiHeadAttention<Eigen::bfloat16> block({.d_model = 4, .heads = 1}, {}, 1);
    const RowMatrix<Eigen::bfloat16> ones = RowMatrix<Eigen::bfloat16>::Ones(1000, 4);
    MultiHeadTape<Eigen::bfloat16> tape;
    RowMatrix<Eigen::bfloat16> y, dx;
    auto gradient = zero_gradient(block);
    block.forward(ones, y, {.tape = &tape});
    block.backward(tape, ones, dx, {.gradient = &gradient});
    CHECK((gradient.output_bias.cast<double>().array() == 1000).all());
}

}  // namespace test_multi_head_rounding
