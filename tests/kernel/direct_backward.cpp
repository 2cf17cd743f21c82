// Small backward calls are made directly, to the same bits as the fused kernel makes of the same sequence in a call
// that it has to serve: one with a gradient of the LSE, or of a ragged batch.

#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_direct_backward {
namespace {

template <class T>
struct Call {
    Layout layout;
    Operands<T> x;
    RowMatrix<T> out, lse, none;

    template <class A>
    Call(const A& attention, const Layout& layout_) : layout(layout_), x(random_operands<T>(layout, 1)) {
        attention(x.query_heads(), x.key_heads(), x.value_heads(), out, {.lse = lse});
        none = RowMatrix<T>::Zero(lse.rows(), lse.cols());
    }
};
template <class M>
struct Gradients {
    M dq, dk, dv;

    explicit Gradients(const auto& x)
        : dq(M::Constant(x.q.rows(), x.q.cols(), 1)),
          dk(M::Constant(x.k.rows(), x.k.cols(), 2)),
          dv(M::Constant(x.v.rows(), x.v.cols(), 3)) {}
    bool operator==(const auto& other) const {
        return same_bits(dq, other.dq) && same_bits(dk, other.dk) && same_bits(dv, other.dv);
    }
};

/// By matrices of these storage orders, of operands and of gradients.
template <class M, class D, class T, class A>
Gradients<D> gradients(const A& attention, const Call<T>& c, const BackwardOptions<A>& options = {}) {
    const M q = c.x.q, k = c.x.k, v = c.x.v, out = c.out, dout = c.x.dout;
    Gradients<D> d(c.x);
    const Index n = c.layout.heads, m = c.layout.kv_heads;
    attention.backward(heads(q, n), heads(k, m), heads(v, m), heads(out, n), c.lse, heads(dout, n), heads(d.dq, n),
                       heads(d.dk, m), heads(d.dv, m), options);
    return d;
}

template <class T, class A>
void check(const A& attention, const Layout& layout) {
    using Rows = RowMatrix<T>;
    using Columns = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
    const Call<T> c(attention, layout);
    const auto rows = gradients<Rows, Rows>(attention, c, {.dlse = c.none});
    CHECK(gradients<Rows, Rows>(attention, c) == rows);
    CHECK(gradients<Columns, Rows>(attention, c) == rows);
    // Where columns are added to, the last product may be rounded once less.
    const auto columns = gradients<Columns, Columns>(attention, c, {.dlse = c.none});
    CHECK(gradients<Columns, Columns>(attention, c) == columns);
    CHECK(gradients<Rows, Columns>(attention, c) == columns);

    // Beside another sequence of a ragged batch.
    Call<T> two = c;
    for (Rows* const x : {&two.x.q, &two.x.dout, &two.out, &two.lse})
        x->conservativeResize(layout.queries + 3, Eigen::NoChange);
    for (Rows* const x : {&two.x.k, &two.x.v}) x->conservativeResize(layout.keys + 5, Eigen::NoChange);
    for (Rows* const x : {&two.x.q, &two.x.dout, &two.out, &two.lse}) x->bottomRows(3).setConstant(T(0.5));
    for (Rows* const x : {&two.x.k, &two.x.v}) x->bottomRows(5).setConstant(T(0.5));
    Gradients<Rows> both = gradients<Rows, Rows>(attention, two,
                                                 {.sequences = sequences({0, layout.queries, layout.queries + 3}),
                                                  .key_sequences = sequences({0, layout.keys, layout.keys + 5})});
    both.dq.conservativeResize(layout.queries, Eigen::NoChange);
    both.dk.conservativeResize(layout.keys, Eigen::NoChange);
    both.dv.conservativeResize(layout.keys, Eigen::NoChange);
    CHECK(both == rows);
}

}  // namespace

TEMPLATE_TEST_CASE("small backward calls have the bits of the fused kernel", "", float, double) {
    for (const Index queries : {1, 2, 4, 7, 8, 9}) {
        for (const Index keys : {1, 3, 16, 17, 33, 64, 65}) {
            for (const Index width : {1, 5, 16, 33, 64}) {
                CAPTURE(queries, keys, width);
                check<TestType>(scaled_dot_product, {.queries = queries,
                                                     .keys = keys,
                                                     .d_q = width,
                                                     .d_k = width,
                                                     .d_v = width % 7 + 1,
                                                     .heads = 2,
                                                     .kv_heads = 2});
            }
        }
    }
    const Layout layout{.queries = 3, .keys = 6, .d_q = 8, .d_k = 8, .d_v = 16};
    check<TestType>(dot_product, layout);
    check<TestType>(scaled_dot_product >> causal, layout);
    check<TestType>(scaled_dot_product >> sliding_window(20) >> softmax_with_sink(0.25), layout);
    check<TestType>(scaled_dot_product,
                    {.queries = 3, .keys = 6, .d_q = 8, .d_k = 8, .d_v = 16, .heads = 4, .kv_heads = 2});
}

TEMPLATE_TEST_CASE("small backward calls read operands of any strides, and nothing beside them", "", float, double) {
    using T = TestType;
    Call<T> c(scaled_dot_product, {.queries = 7, .keys = 5, .d_q = 4, .d_k = 4, .d_v = 3});
    for (RowMatrix<T>* const x : {&c.x.q, &c.x.dout}) x->rowwise() = RowMatrix<T>(x->row(0)).row(0);
    scaled_dot_product(c.x.q, c.x.k, c.x.v, c.out, {.lse = c.lse});
    const auto rows = gradients<RowMatrix<T>, RowMatrix<T>>(scaled_dot_product, c, {.dlse = c.none});
    // In memory that ends with the last number and holds NaN where none stands; `apart`: rows, which may be all one.
    std::vector<std::vector<T>> memory;
    const auto strided = [&](const RowMatrix<T>& x, Index apart) {
        std::vector<T>& of_x =
            memory.emplace_back((x.rows() - 1) * apart + 2 * x.cols() - 1, std::numeric_limits<T>::quiet_NaN());
        for (Index i = 0; i < x.rows(); ++i) {
            for (Index a = 0; a < x.cols(); ++a) of_x[static_cast<std::size_t>(i * apart + 2 * a)] = x(i, a);
        }
        StridedView<const T> view{of_x.data(), 1, 1, x.rows(), x.cols()};
        view.row_stride = apart, view.column_stride = 2;
        return view;
    };
    for (const Index apart : {0, 11}) {
        Gradients<RowMatrix<T>> d(c.x);
        scaled_dot_product.backward(strided(c.x.q, apart), strided(c.x.k, 9), strided(c.x.v, 9), c.out, c.lse,
                                    strided(c.x.dout, apart), d.dq, d.dk, d.dv);
        CHECK(d == rows);
    }
}

TEST_CASE("small backward calls at large scores, empty rows and what is not finite are the fused kernel's") {
    const Layout layout{.queries = 2, .keys = 4, .d_q = 3, .d_k = 3, .d_v = 2};
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const auto agree = [&](auto&& edit) {
        Call<float> c(scaled_dot_product, layout);
        edit(c.x);
        scaled_dot_product(c.x.q, c.x.k, c.x.v, c.out, {.lse = c.lse});
        const auto expected = gradients<RowMatrix<float>, RowMatrix<float>>(scaled_dot_product, c, {.dlse = c.none});
        CHECK(gradients<RowMatrix<float>, RowMatrix<float>>(scaled_dot_product, c) == expected);
        return expected;
    };
    CHECK(std::isfinite(agree([](auto& x) { x.q *= 1e4F; }).dq.sum()));
    CHECK(std::isnan(agree([](auto& x) { x.dout(0, 0) = std::numeric_limits<float>::quiet_NaN(); }).dv.sum()));
    agree([](auto& x) { x.q.setConstant(1), x.k.col(0).setConstant(-infinity); });
    agree([](auto& x) { x.dout(1, 1) = infinity; });
}

}  // namespace test_direct_backward
