// Law 10 whatever is added to a row: gradients where the LSE, as one number, has lost the sum behind its largest score.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_large_scores {
namespace {

/// The scores of a row and a constant, whose sums are exact: gradients must not feel it.
template <class T>
void check_offset(Index queries, T offset, double tolerance) {
    CAPTURE(sizeof(T), queries, offset);
    const Index keys = 300;
    Operands<T> x = random_operands<T>({.queries = queries, .keys = keys, .d_q = 2, .d_k = 2, .d_v = 3}, 3);
    x.q.setOnes();
    x.k = (x.k * T(4)).array().round().matrix();  // scores are small integers
    const RowMatrix<T> none = RowMatrix<T>::Zero(queries, keys), all = RowMatrix<T>::Constant(queries, keys, offset);
    const auto plain = backward(dot_product >> bias(none), x), shifted = backward(dot_product >> bias(all), x);
    CHECK(distance(shifted.dq, plain.dq) <= tolerance * magnitude(plain.dq));
    CHECK(distance(shifted.dk, plain.dk) <= tolerance * magnitude(plain.dk));
    CHECK(distance(shifted.dv, plain.dv) <= tolerance * magnitude(plain.dv));
    CHECK(distance(parameters_of(shifted.parameters), parameters_of(plain.parameters)) <=
          tolerance * magnitude(parameters_of(plain.parameters)));
}

}  // namespace

TEST_CASE("a constant added to all scores of a row changes no gradient") {
    for (const Index queries : {1, 3, 70}) {
        for (const float offset : {-1e3F, 1e4F, -1e6F, 1e6F}) check_offset<float>(queries, offset, 4e-6);
        check_offset<double>(queries, -1e9, 1e-14);
    }
}

TEST_CASE("a mask of -1e9 on every key leaves equal weights, also in gradients") {
    const Operands<float> x = random_operands<float>({.queries = 1, .keys = 1000, .d_q = 8, .d_k = 8, .d_v = 4}, 1);
    const RowMatrix<float> masked = RowMatrix<float>::Constant(1, 1000, -1e9F);
    const auto d = backward(scaled_dot_product >> bias(masked), x);
    CHECK(distance(d.dv, x.dout.replicate(1000, 1) / 1000) <= 1e-9);
}

TEST_CASE("large scores beside a sink keep its gradient") {
    Operands<float> x = random_operands<float>({.queries = 2, .keys = 40, .d_q = 2, .d_k = 2, .d_v = 3}, 4);
    x.k = (x.k * 4.F).array().round().matrix();
    x.q.setOnes();
    const RowMatrix<float> none = RowMatrix<float>::Zero(2, 40), all = RowMatrix<float>::Constant(2, 40, 1e5F);
    const auto plain = backward(dot_product >> bias(none) >> softmax_with_sink(2.0), x);
    const auto shifted = backward(dot_product >> bias(all) >> softmax_with_sink(100002.0), x);
    CHECK(distance(shifted.dv, plain.dv) <= 2e-6 * magnitude(plain.dv));
    CHECK(shifted.parameters.normalizer.sink == Approx(plain.parameters.normalizer.sink).epsilon(1e-5));
}

TEST_CASE("gradients over parts of the keys, by the LSE of the whole row, are those of the whole") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 40, .d_q = 3, .d_k = 3, .d_v = 2}, 6);
    for (const double offset : {0.0, 50.0}) {
        const auto attention = scaled_dot_product >> modifier([=](auto s, auto) { return s + offset; });
        const auto y = forward(attention, x);
        const auto whole = backward(attention, x);
        RowMatrix<double> dq, dk, dv, dk_rest, dv_rest;
        const auto part = [&](Index begin, Index count, RowMatrix<double>& dk_part, RowMatrix<double>& dv_part) {
            attention.backward(x.q, x.k.middleRows(begin, count), x.v.middleRows(begin, count), y.out, y.lse, x.dout,
                               dq, dk_part, dv_part);
        };
        part(0, 15, dk, dv);
        part(15, 25, dk_rest, dv_rest);
        CHECK(distance(dq, whole.dq) <= 1e-12);
        CHECK(distance(dk, whole.dk.topRows(15)) <= 1e-12);
        CHECK(distance(dv_rest, whole.dv.bottomRows(25)) <= 1e-12);
    }
}

}  // namespace test_large_scores
