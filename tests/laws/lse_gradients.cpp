// needs: threads
// Law 7: the gradients of a loss in the LSE, `.dlse`, are exact too, and parts of the keys that are merged train as the
// whole.

#include <attend/attend.hpp>

#include <limits>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lse_gradients {
namespace {

const Layout grouped{
    .queries = 5, .keys = 7, .d_q = 3, .d_k = 3, .d_v = 2, .heads = 4, .kv_heads = 2, .query_offset = 1};

/// Operands with a gradient in the LSE, which in every other row is large beside that in the output.
template <class T = double>
Operands<T> with_dlse(const Layout& layout, std::uint64_t seed) {
    Operands<T> x = random_operands<T>(layout, seed);
    Random random(seed + 1);
    x.dlse = random_matrix<Compute<T>>(random, layout.queries, layout.heads);
    for (Index i = 0; i < x.dlse.rows(); i += 2) x.dlse.row(i) *= 3;
    return x;
}

/// The second query sees nothing.
auto all_but_one_query(Index first) {
    return mask([first](Position p) { return p.query != first + 1 && p.key <= p.query + 2; });
}

}  // namespace

TEST_CASE("gradients of the LSE are exact") {
    check_gradients(scaled_dot_product >> soft_cap(3.0) >> alibi(alibi_slopes(4)) >> all_but_one_query(1) >>
                        softmax_with_sink(Eigen::Vector4d(0.3, -0.2, 0.1, 1.0)),
                    with_dlse(grouped, 1));
    check_gradients(AdditiveAttention<double>(3, 2, 4, 5), with_dlse({.queries = 4, .keys = 5, .d_q = 3, .d_k = 2}, 2));
    Layout ragged{.queries = 6, .keys = 7, .heads = 2, .sequences = {0, 2, 6}, .key_sequences = {0, 4, 7}};
    check_gradients(cosine(3.0), with_dlse(ragged, 3));
    ragged.dropout = {.rate = 0.3, .seed = 5};
    check_gradients(cosine(3.0), with_dlse(ragged, 4));
}

TEST_CASE("gradients of the LSE over many keys, shared by threads, in every scalar type") {
    Eigen::ThreadPool pool(3);
    const Layout layout{.queries = 70, .keys = 150, .d_q = 20, .d_k = 20, .d_v = 24, .heads = 2};
    const auto attention = scaled_dot_product >> causal;
    const Operands<float> x = with_dlse<float>(layout, 5);
    const auto exact = backward(attention, x.cast<double>());
    const auto gradients = backward(attention, x);
    CHECK(distance(gradients.dq, exact.dq) <= 1e-5 * magnitude(exact.dq));
    CHECK(distance(gradients.dk, exact.dk) <= 1e-5 * magnitude(exact.dk));
    CHECK(first_difference(gradients, backward(attention, x, thread_pool(pool))).empty());

    const Operands<Eigen::half> half = x.cast<Eigen::half>();
    const auto rounded = backward(attention, half);
    const auto exact_of_rounded = backward(attention, half.cast<double>());
    CHECK(distance(rounded.dq, exact_of_rounded.dq) <= 2e-3 * magnitude(exact_of_rounded.dq));
    CHECK(distance(rounded.dk, exact_of_rounded.dk) <= 2e-3 * magnitude(exact_of_rounded.dk));
}

TEST_CASE("parts of the keys that are merged train as the whole") {
    const Layout layout{.queries = 6, .keys = 9, .d_q = 4, .d_k = 4, .d_v = 3};
    const Operands<double> x = random_operands(layout, 6);
    const auto whole = backward(scaled_dot_product, x);

    constexpr Index split = 4;
    Operands<double> a = x, b = x;
    a.layout.keys = split, b.layout.keys = 9 - split;
    a.k = x.k.topRows(split), a.v = x.v.topRows(split);
    b.k = x.k.bottomRows(9 - split), b.v = x.v.bottomRows(9 - split);
    const Outputs<double> of_a = forward(scaled_dot_product, a), of_b = forward(scaled_dot_product, b);
    RowMatrix<double> out, lse;
    merge(of_a.out, of_a.lse, of_b.out, of_b.lse, out, lse);
    // merge: out = Σ share out_part with share = e^{lse_part − lse}, so that d out / d lse_part = share (out_part −
    // out)
    const auto take_back = [&](Operands<double>& part, const Outputs<double>& of_part) {
        const Eigen::ArrayXd share = (of_part.lse - lse).array().exp();
        part.dout = (x.dout.array().colwise() * share).matrix();
        part.dlse = (share * x.dout.cwiseProduct(of_part.out - out).rowwise().sum().array()).matrix();
        return backward(scaled_dot_product, part);
    };
    const auto d_a = take_back(a, of_a), d_b = take_back(b, of_b);
    CHECK(distance(d_a.dq + d_b.dq, whole.dq) <= 1e-14 * magnitude(whole.dq));
    CHECK(distance(d_a.dk, whole.dk.topRows(split)) <= 1e-14 * magnitude(whole.dk));
    CHECK(distance(d_b.dk, whole.dk.bottomRows(9 - split)) <= 1e-14 * magnitude(whole.dk));
    CHECK(distance(d_b.dv, whole.dv.bottomRows(9 - split)) <= 1e-14 * magnitude(whole.dv));
}

TEST_CASE("an empty row's gradient of the LSE reaches nothing") {
    const auto attention = scaled_dot_product >> all_but_one_query(1) >> softmax_with_sink(0.3);
    Operands<double> x = with_dlse(grouped, 7);
    const auto finite = backward(attention, x);
    x.dlse.row(1).setConstant(std::numeric_limits<double>::quiet_NaN());
    CHECK(first_difference(backward(attention, x), finite).empty());
}

TEST_CASE("a gradient of the LSE that does not fit is refused in words") {
    Operands<double> x = random_operands({.queries = 4, .keys = 5}, 8);
    Outputs<double> y = forward(scaled_dot_product, x);
    RowMatrix<double> dq, dk, dv;
    const auto with = [&](const auto& attention, const auto& dlse) {
        return [&] { attention.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, dq, dk, dv, {.dlse = dlse}); };
    };
    const Eigen::VectorXd right = Eigen::VectorXd::Ones(4), three = Eigen::VectorXd::Ones(3);
    const Eigen::VectorXf floats = Eigen::VectorXf::Ones(4);
    CHECK(refusal(with(scaled_dot_product, three)) == "dlse (3x1) must be 4x1 to go with q (4x3)");
    CHECK(refusal(with(scaled_dot_product, floats)) ==
          "dlse must hold numbers of the type that the call computes in: double");
    CHECK(refusal(with(scaled_dot_product >> sparsemax, right)) ==
          "dlse: this normalizer is no fold, as softmax is, whose LSE alone has a gradient: leave it out");
    CHECK(dq.size() == 0);
    dq = x.q;
    const auto overlapping = [&] {
        scaled_dot_product.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, dq, dk, dv, {.dlse = dq.col(0)});
    };
    CHECK(refusal(overlapping).find("dlse") != std::string::npos);
    CHECK(same_bits(dq, x.q));
}

}  // namespace test_lse_gradients
