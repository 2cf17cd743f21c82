// Prepared keys: what a call on them gives is what one on the keys themselves gives.

#include <attend/prepared.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>

#include <attend/mask/causal.hpp>
#include <attend/mask/lengths.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/scale.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <attend/normalizer/sink.hpp>
#include <attend/normalizer/sparsemax.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_prepared {
namespace {

constexpr Index steps = 3;

/// As a decoder uses them: some calls on the same keys, and then the gradients. The parameters' gradients of all calls
/// add up in another order.
template <class T, class A>
void check_calls(const A& attention, const Layout& layout, double tolerance) {
    CAPTURE(layout.heads, layout.sequences.size());
    auto x = random_operands<T>(layout, 1);
    auto memory = attention.prepare(x.key_heads(), x.value_heads());
    Gradients<T, A> right{.parameters = zero_gradient(attention)}, gradients = right;
    for (Index step = 0; step < steps; ++step) {
        const auto of_step = random_operands<T>(layout, 10 + static_cast<std::uint64_t>(step));
        x.q = of_step.q, x.dout = of_step.dout;
        const auto y = forward(attention, x);
        ForwardOptions<T> options{.query_offset = layout.query_offset,
                                  .sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
                                  .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences))};
        CHECK(same_bits(RowMatrix<T>(memory(x.query_heads(), options)), y.out));
        Outputs<T> found;
        options.lse = found.lse, options.weights = found.weights;
        memory(x.query_heads(), found.out, options);
        CHECK(first_difference(found, y) == "");

        right.dq = {}, gradients.dq = {};
        add_gradients(attention, x, y, right);
        memory.backward(x.query_heads(), heads(y.out, layout.heads), y.lse, heads(x.dout, layout.heads), gradients.dq,
                        {.query_offset = layout.query_offset,
                         .sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
                         .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences))});
        CHECK(same_bits(gradients.dq, right.dq));
    }
    // Twice: the second time nothing is gathered any more.
    for (int i = 0; i < 2; ++i) memory.add_gradients(gradients.dk, gradients.dv, &gradients.parameters);
    CHECK(distance(gradients.dk, right.dk) < tolerance);
    CHECK(distance(gradients.dv, right.dv) < tolerance);
    const auto found = parameters_of(gradients.parameters), expected = parameters_of(right.parameters);
    CHECK((found - expected).norm() <= tolerance * (1 + expected.norm()));
}

template <class T, class A>
void check(const A& attention, double tolerance) {
    check_calls<T>(attention, {.queries = 1, .keys = 40, .d_q = 5, .d_k = 5, .d_v = 3}, tolerance);
    check_calls<T>(
        attention,
        {.queries = 30, .keys = 300, .d_q = 5, .d_k = 5, .d_v = 3, .heads = 4, .kv_heads = 2, .query_offset = 20},
        tolerance);
    check_calls<T>(attention,
                   {.queries = 9,
                    .keys = 12,
                    .d_q = 5,
                    .d_k = 5,
                    .d_v = 3,
                    .heads = 2,
                    .kv_heads = 1,
                    .sequences = {0, 3, 3, 5, 9},
                    .key_sequences = {0, 5, 7, 7, 12}},
                   tolerance);
}

/// Counts the keys that it maps.
struct Counting {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;
    Index* mapped_keys = nullptr;

    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        *mapped_keys += k.rows();
        mapped = k.template cast<typename Mapped::Scalar>() * typename Mapped::Scalar(2);
    }
    template <class Rows, class DMapped, class Gradient>
    void map_keys_backward(const Rows&, const DMapped& dmapped, Gradient& dk, Counting*) const {
        dk += dmapped.template cast<typename Gradient::Scalar>() * typename Gradient::Scalar(2);
    }
};

}  // namespace

TEST_CASE("a call on prepared keys has the bits of one on the keys, and gathered gradients are the sum of all calls'") {
    check<double>(AdditiveAttention<double>(5, 5, 7, 1) >> soft_cap(2.0) >> softmax_with_sink(0.5), 1e-12);
    check<float>(AdditiveAttention<float>(5, 5, 7, 1), 1e-4);
    check<double>(GeneralAttention<double>(5, 5, 2) >> alibi(0.1) >> causal >> sparsemax, 1e-12);
    check<double>(cosine(3.0), 1e-12);
    check<double>(RmsNormAttention<double>(5) >> scale(0.5), 1e-12);
    check<double>(scaled_dot_product >> causal, 1e-12);
}

TEST_CASE("keys are mapped once for all calls") {
    Index count = 0;
    const auto attention = Counting{&count} >> causal;
    const auto x = random_operands({.queries = 4, .keys = 50}, 2);
    auto memory = attention.prepare(x.k, x.v);
    CHECK(count == 50);
    const auto y = forward(attention, x);
    count = 0;
    RowMatrix<double> dq, dk, dv;
    for (int i = 0; i < 3; ++i) {
        CHECK(same_bits(RowMatrix<double>(memory(x.q)), y.out));
        memory.backward(x.q, y.out, y.lse, x.dout, dq);
    }
    memory.add_gradients(dk, dv);
    CHECK(count == 0);
    const auto right = backward(attention, x);
    CHECK(distance(dk, 3 * right.dk) < 1e-13);
}

TEST_CASE("prepared keys of a strided batch, and ones that outlive their matrices and are moved") {
    const auto attention = AdditiveAttention<double>(4, 6, 5, 3);
    Random random(4);
    const RowMatrix<double> q = random_matrix<double>(random, 6, 4), v = random_matrix<double>(random, 20, 3);
    RowMatrix<double> k = random_matrix<double>(random, 20, 6);
    const auto batch = [](const RowMatrix<double>& x) {
        return strided(x.data(), {2, 1, x.rows() / 2, x.cols()}, {x.rows() / 2 * x.cols(), 0, x.cols(), 1});
    };
    const RowMatrix<double> right = attention(batch(q), batch(k), batch(v));
    auto first = attention.prepare(batch(k), batch(v));
    k.setConstant(std::nan(""));
    const auto memory = std::move(first);
    CHECK(same_bits(RowMatrix<double>(memory(batch(q))), right));
}

/// A map by a parameter named as a member of what `prepare` makes of a score; and one that throws when it is told.
struct Awkward {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;
    double d_k = 2, width_of_prepared_keys = 1;
    const bool* throws = nullptr;

    static void parameters(auto& self, auto&& visit) {
        visit("d_k", self.d_k);
        visit("width_of_prepared_keys", self.width_of_prepared_keys);
    }
    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        mapped = k * (d_k * width_of_prepared_keys);
    }
    template <class Rows, class DMapped, class Gradient>
    void map_keys_backward(const Rows& k, const DMapped& dmapped, Gradient& dk, Awkward* gradient) const {
        if (throws != nullptr && *throws) throw std::runtime_error("told to");
        dk += dmapped * (d_k * width_of_prepared_keys);
        if (gradient == nullptr) return;
        const double sum = (k.array() * dmapped.array()).sum();
        gradient->d_k += sum * width_of_prepared_keys, gradient->width_of_prepared_keys += sum * d_k;
    }
};

TEST_CASE("a score's parameters are its own, whatever their names; what a functor threw away is not counted twice") {
    check<double>(Attention(Awkward{}), 1e-12);
    bool throws = true;
    const Attention attention(Awkward{.throws = &throws});
    const auto x = random_operands({.queries = 4, .keys = 5}, 2);
    const auto y = forward(attention, x);
    auto memory = attention.prepare(x.k, x.v);
    RowMatrix<double> dq, dk, dv;
    memory.backward(x.q, y.out, y.lse, x.dout, dq);
    CHECK_THROWS_AS(memory.add_gradients(dk, dv), std::runtime_error);
    throws = false;
    dk.resize(0, 0), dv.resize(0, 0);
    memory.backward(x.q, y.out, y.lse, x.dout, dq);
    memory.add_gradients(dk, dv);
    CHECK(distance(dk, backward(attention, x).dk) < 1e-13);
    CHECK(distance(dv, backward(attention, x).dv) < 1e-13);
}

TEST_CASE("no keys at all, no memory, and a moved-from value") {
    const auto attention = AdditiveAttention<double>(3, 4, 5, 3);
    const RowMatrix<double> q = RowMatrix<double>::Ones(2, 3), none(0, 4), nothing(0, 2);
    auto memory = attention.prepare(none, nothing);
    RowMatrix<double> out, dq, dk, dv;
    Eigen::VectorXd lse;
    memory(q, out, {.lse = lse});
    CHECK((out.isZero(0) && (lse.array() == -std::numeric_limits<double>::infinity()).all()));
    memory.backward(q, out, lse, RowMatrix<double>::Ones(2, 2).eval(), dq);
    memory.add_gradients(dk, dv);
    CHECK((dq.isZero(0) && dk.rows() == 0 && dv.rows() == 0));

    const Eigen::Map<const RowMatrix<double>> nowhere(nullptr, 6, 4);
    const RowMatrix<double> v = RowMatrix<double>::Ones(6, 2), k = RowMatrix<double>::Ones(6, 4);
    CHECK(refusal([&] { attention.prepare(nowhere, v); }) == "k (6x4) has no memory: its pointer is null");
    auto from = attention.prepare(k, v);
    const auto to = std::move(from);
    RowMatrix<double> dk_of_none, dv_of_none;
    from.add_gradients(dk_of_none, dv_of_none);  // NOLINT(bugprone-use-after-move)
    CHECK((dk_of_none.size() == 0 && dv_of_none.size() == 0));
    CHECK(same_bits(RowMatrix<double>(to(q)), RowMatrix<double>(attention(q, k, v))));
}

TEST_CASE("what does not fit prepared keys is refused, before anything is written") {
    const auto attention = AdditiveAttention<double>(3, 4, 5, 3);
    Random random(5);
    const RowMatrix<double> q = random_matrix<double>(random, 2, 3), k = random_matrix<double>(random, 6, 4),
                            v = random_matrix<double>(random, 6, 2), dout = random_matrix<double>(random, 2, 2);
    CHECK(refusal([&] { attention.prepare(k, v.topRows(5)); }) ==
          "k (6x4) and v (5x2) must have one row each for every key");
    CHECK(refusal([&] { attention.prepare(v, v); }) ==
          "k (6x2) must be as wide as the additive score's key_weight (4x5) has rows");
    auto memory = attention.prepare(k, v);
    CHECK(refusal([&] { memory(k); }) == "q (6x4) must be as wide as the additive score's query_weight (3x5) has rows");

    Eigen::VectorXd lse;
    RowMatrix<double> out, dq, dk = RowMatrix<double>::Constant(6, 4, 7.0), wrong = RowMatrix<double>::Zero(6, 3);
    memory(q, out, {.lse = lse});
    memory.backward(q, out, lse, dout, dq);
    const auto before = dk;
    CHECK(refusal([&] { memory.add_gradients(dk, wrong); }) == "dv (6x3) must be 6x2, or empty to be resized");
    CHECK(refusal([&] { memory.add_gradients(dk, dk.leftCols(2)); }) ==
          "dk (6x4) aliases dv (6x2): give the call memory of its own to write to");
    auto of_others = zero_gradient(AdditiveAttention<double>(3, 4, 6, 3));
    RowMatrix<double> dv;
    CHECK(refusal([&] { memory.add_gradients(dk, dv, &of_others); }) ==
          "gradient: query_weight (3x6) must be 3x5, as the parameter is: make one by zero_gradient");
    CHECK(same_bits(dk, before));
    CHECK(dv.size() == 0);
    auto gradient = zero_gradient(attention);
    memory.add_gradients(dk, dv, &gradient);
    CHECK(distance(dv, backward(attention, Operands<double>{.q = q,
                                                            .k = k,
                                                            .v = v,
                                                            .dout = dout,
                                                            .layout = {.queries = 2, .keys = 6, .d_q = 3, .d_k = 4}})
                           .dv) < 1e-13);
}

TEST_CASE("a call that is refused drops nothing of what was gathered before") {
    Random random(6);
    const RowMatrix<double> x = random_matrix<double>(random, 4, 3), wrong(2, 2);
    auto memory = scaled_dot_product.prepare(x, x);
    RowMatrix<double> out, lse, dq, dk, dv, dk2, dv2;
    memory(x, out, {.lse = lse});
    memory.backward(x, out, lse, x, dq);
    auto same = memory;
    std::array<std::byte, 64> few{};
    Workspace tiny{std::span<std::byte>(few)};
    CHECK_THROWS_AS(memory.backward(x, out, lse, x, dq, {.dweights = wrong}), std::invalid_argument);
    CHECK_THROWS_AS(memory.backward(x, out, lse, x, dq, {.workspace = &tiny}), std::length_error);
    memory.add_gradients(dk, dv), same.add_gradients(dk2, dv2);
    CHECK(!dv.isZero());
    CHECK(same_bits(dk, dk2));
    CHECK(same_bits(dv, dv2));
}

}  // namespace test_prepared
