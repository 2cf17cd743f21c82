// Decoders whose steps know where those before have looked.

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <support/catch.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_location_decoder {
namespace {

using Matrix = RowMatrix<double>;

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}
/// Of any history, with parameters of which none is 0.
LocationSensitiveAttention<double> attention_of(History history, Index filters, Index radius) {
    LocationSensitiveAttention<double> attention(
        {.d_q = 3, .d_k = 4, .hidden = 5, .filters = filters, .radius = radius, .history = history}, 1);
    Random random(2);
    visit_parameters(attention, [&](std::string_view, auto& matrix) {
        for (double& value : matrix.reshaped()) value = random_number(random, 1.5);
    });
    return attention;
}

/// All steps of an answer, its rows below each other; of several sequences step by step.
template <class A>
Outputs<double> decode(const A& attention, const Matrix& q, const Matrix& k, const Matrix& v,
                       const std::vector<Index>& offsets = {}) {
    const Index count = offsets.empty() ? 1 : std::ssize(offsets) - 1;
    LocationDecoder decoder(attention, k, v, offsets.empty() ? attend::detail::KeptSequences() : sequences(offsets));
    Outputs<double> y;
    y.out.resize(q.rows(), v.cols());
    for (Index t = 0; t < q.rows() / count; ++t) {
        decoder.step(q.middleRows(t * count, count), y.out.middleRows(t * count, count));
        y.weights.conservativeResize((t + 1) * count, decoder.weights().cols());
        y.weights.bottomRows(count) = decoder.weights();
    }
    return y;
}

/// Gradients by differences of Σ out ∘ dout + Σ weights ∘ dweights.
template <class A>
void check_decoder_gradients(A attention, const std::vector<Index>& offsets) {
    constexpr Index steps = 4;
    const Index count = std::ssize(offsets) - 1, n = offsets.back();
    Matrix q = rows_of(steps * count, 3, 3), k = rows_of(n, 4, 4), v = rows_of(n, 2, 5);
    const Matrix dout = rows_of(steps * count, 2, 6);
    LocationDecoder decoder(attention, k, v, sequences(offsets));
    Matrix out, dq = Matrix::Zero(q.rows(), 3), dk, dv;
    for (Index t = 0; t < steps; ++t) decoder.step(q.middleRows(t * count, count), out);
    const Matrix dweights = rows_of(steps * count, decoder.weights().cols(), 7);
    for (Index t = steps; t-- > 0;) {
        const Matrix of_step = dweights.middleRows(t * count, count);
        decoder.backward(dout.middleRows(t * count, count), dq.middleRows(t * count, count), {.dweights = of_step});
    }
    A gradient = zero_gradient(attention);
    decoder.add_gradients(dk, dv, &gradient);

    // The loss in the weights as one more column of the output.
    Matrix dloss(dout.rows(), 3);
    dloss << dout, Matrix::Ones(dout.rows(), 1);
    const auto call = [&] {
        Outputs<double> y = decode(attention, q, k, v, offsets);
        Matrix loss(dout.rows(), 3);
        loss << y.out, y.weights.cwiseProduct(dweights).rowwise().sum();
        y.out = loss;
        return y;
    };
    const Loss loss(call, dloss);
    check_slopes(loss, span_of(q), span_of(dq), "dq");
    check_slopes(loss, span_of(k), span_of(dk), "dk");
    check_slopes(loss, span_of(v), span_of(dv), "dv");
    std::vector<std::span<double>> gradients;
    visit_parameters(gradient, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
    std::size_t i = 0;
    visit_parameters(attention, [&](std::string_view name, auto& matrix) {
        check_slopes(loss, span_of(matrix), gradients[i++], name);
    });
}

}  // namespace

TEST_CASE("each step is additive attention with the features of its history, by plain loops") {
    const History history = GENERATE(History::previous, History::sum);
    const Index filters = GENERATE(0, 2), radius = filters == 0 ? 0 : GENERATE(0, 1, 9);  // 9: beyond all keys
    const auto a = attention_of(history, filters, radius);
    const Index n = 7;
    const Matrix q = rows_of(4, 3, 3), k = rows_of(n, 4, 4), v = rows_of(n, 2, 5);
    const auto y = decode(a, q, k, v);
    Eigen::VectorXd seen = Eigen::VectorXd::Zero(n);
    for (Index t = 0; t < 4; ++t) {
        Eigen::VectorXd weights(n);
        for (Index j = 0; j < n; ++j) {
            double s = 0;
            for (Index c = 0; c < 5; ++c) {
                double x = a.bias[c];
                for (Index i = 0; i < 3; ++i) x += q(t, i) * a.query_weight(i, c);
                for (Index i = 0; i < 4; ++i) x += k(j, i) * a.key_weight(i, c);
                if (filters == 0) x += seen[j] * a.location_weight(0, c);
                for (Index f = 0; f < filters; ++f) {
                    for (Index tap = 0; tap < 2 * radius + 1; ++tap) {
                        const Index at = j + tap - radius;
                        if (at >= 0 && at < n) x += a.filters(f, tap) * seen[at] * a.location_weight(f, c);
                    }
                }
                s += a.score_weight[c] * std::tanh(x);
            }
            weights[j] = std::exp(s);
        }
        weights /= weights.sum();
        CHECK(distance(y.weights.row(t), weights.transpose()) <= 1e-13);
        CHECK(distance(y.out.row(t), weights.transpose() * v) <= 1e-13);
        seen = history == History::sum ? Eigen::VectorXd(seen + weights) : weights;
    }
}

TEST_CASE("gradients through time are exact, with modifiers, masks and other normalizers") {
    check_decoder_gradients(attention_of(History::previous, 2, 1), {0, 6});
    check_decoder_gradients(attention_of(History::sum, 0, 0) >> soft_cap(2.0) >> lengths({5}), {0, 6});
    check_decoder_gradients(attention_of(History::sum, 2, 2) >> alibi(0.1) >> softmax_with_sink(0.5), {0, 5});
    check_decoder_gradients(attention_of(History::previous, 1, 1) >> scale(0.3) >> sigmoid(-1.0), {0, 5});
    check_decoder_gradients(attention_of(History::previous, 0, 0), {0, 4, 7});
    check_decoder_gradients(attention_of(History::sum, 1, 1) >> (causal | prefix(2)), {0, 1, 6});
}

TEST_CASE("the first step is the additive attention, which a call by itself is too") {
    const auto attention = attention_of(History::previous, 2, 1);
    AdditiveAttention<double> additive(attention.score());
    const Matrix q = rows_of(1, 3, 3), k = rows_of(6, 4, 4), v = rows_of(6, 2, 5);
    const Matrix out = decode(attention, q, k, v).out;
    CHECK(distance(out, additive(q, k, v)) <= 1e-15 * 4);
    CHECK(same_bits(attention(q, k, v), additive(q, k, v)));
}

TEST_CASE("sequences together are decoders of their own, to the bit, on any threads") {
    const auto attention = attention_of(History::sum, 2, 1);
    const std::vector<Index> offsets{0, 5, 5, 12};
    const Matrix q = rows_of(9, 3, 3), k = rows_of(12, 4, 4), v = rows_of(12, 2, 5);
    Eigen::ThreadPool pool(2);
    LocationDecoder together(attention, k, v, sequences(offsets));
    Matrix out;
    std::vector<Matrix> alone;
    for (Index s = 0; s < 3; ++s) {
        const Index begin = offsets[static_cast<std::size_t>(s)],
                    keys = offsets[static_cast<std::size_t>(s + 1)] - begin;
        Matrix own(3, 3);
        for (Index t = 0; t < 3; ++t) own.row(t) = q.row(3 * t + s);
        alone.push_back(decode(attention, own, k.middleRows(begin, keys), v.middleRows(begin, keys)).out);
    }
    for (Index t = 0; t < 3; ++t) {
        Matrix weights;
        together.step(q.middleRows(3 * t, 3), out, {.executor = thread_pool(pool), .weights = weights});
        for (Index s = 0; s < 3; ++s) CHECK(same_bits(out.row(s), alone[static_cast<std::size_t>(s)].row(t)));
        CHECK((weights.row(0).tail(2).array() == 0).all());  // beyond its keys
        CHECK((out.row(1).array() == 0).all());              // of a sequence without keys
        CHECK(same_bits(weights, together.weights()));
    }
}

TEST_CASE("a decoder that restarts forgets, and gathers anew") {
    const auto attention = attention_of(History::sum, 0, 0);
    const Matrix q = rows_of(3, 3, 3), k = rows_of(6, 4, 4), v = rows_of(6, 2, 5), dout = rows_of(1, 2, 6);
    LocationDecoder decoder(attention, k, v);
    const auto run = [&](Index steps) {
        Matrix out, dq, dk, dv;
        auto gradient = zero_gradient(attention);
        for (Index t = 0; t < steps; ++t) decoder.step(q.row(t), out);
        for (Index t = 0; t < steps; ++t) decoder.backward(dout, dq);
        decoder.add_gradients(dk, dv, &gradient);
        Matrix again_k, again_v;
        decoder.add_gradients(again_k, again_v);  // nothing is gathered any more
        CHECK((again_k.array() == 0).all());
        CHECK((again_v.array() == 0).all());
        Matrix all(1, dk.size() + dv.size() + out.size() + dq.size());
        all << dk.reshaped<Eigen::RowMajor>().transpose(), dv.reshaped<Eigen::RowMajor>().transpose(), out, dq;
        return std::pair(all, parameters_of(gradient));
    };
    const auto first = run(3);
    decoder.restart();
    Matrix out, dq;
    decoder.step(q.row(2), out);  // another answer, half of which goes back
    decoder.step(q.row(1), out);
    decoder.backward(dout, dq);
    decoder.restart();
    const auto second = run(3);
    CHECK(same_bits(first.first, second.first));
    CHECK(same_bits(first.second, second.second));
}

TEST_CASE("NaN in masked keys and values reaches nothing, and shows in visible ones") {
    const auto attention = attention_of(History::previous, 2, 1) >> lengths({5});
    const Matrix q = rows_of(3, 3, 3), dout = rows_of(1, 2, 6);
    Matrix k = rows_of(6, 4, 4), v = rows_of(6, 2, 5);
    const Matrix clean = decode(attention, q, k, v).out;
    k.row(5).setConstant(std::numeric_limits<double>::quiet_NaN());
    v.row(5).setConstant(std::numeric_limits<double>::quiet_NaN());
    CHECK(same_bits(decode(attention, q, k, v).out, clean));
    LocationDecoder decoder(attention, k, v);
    Matrix out, dq, dk, dv;
    auto gradient = zero_gradient(attention);
    for (Index t = 0; t < 3; ++t) decoder.step(q.row(t), out);
    for (Index t = 0; t < 3; ++t) decoder.backward(dout, dq);
    decoder.add_gradients(dk, dv, &gradient);
    CHECK((dq.allFinite() && dk.allFinite() && dv.allFinite()));
    CHECK(parameters_of(gradient).allFinite());
    k(2, 0) = std::numeric_limits<double>::quiet_NaN();
    CHECK(decode(attention, q, k, v).out.array().isNaN().all());
}

TEST_CASE("what does not fit is refused, and changes nothing") {
    const auto attention = attention_of(History::sum, 0, 0);
    const Matrix q = rows_of(1, 3, 3), k = rows_of(6, 4, 4), v = rows_of(6, 2, 5), dout = rows_of(1, 2, 6);
    CHECK(refusal([&] { LocationDecoder(attention, k, v.topRows(5)); }) ==
          "k (6x4) and v (5x2) must have one row each for every key");
    CHECK(refusal([&] { LocationDecoder(attention, v, v); }) ==
          "k (0x2) must be as wide as the additive score's key_weight (4x5) has rows");
    CHECK(refusal([&] {
              LocationDecoder(attention, k, v, sequences({0, 4}));
          }) == "sequences must end at the 6 rows of k (6x4), not at 4");
    auto other = attention;
    other.location_weight.resize(2, 5);
    CHECK(refusal([&] { LocationDecoder(other, k, v); }) ==
          "the location score's location_weight (2x5) must be 1x5: features x hidden");
    CHECK(refusal([] { LocationScore<double>({.d_q = 1, .d_k = 1, .hidden = 1, .radius = 2}, 1); }) ==
          "location: filters and radius must not be negative, and radius be 0 without filters, got 0 and 2");

    LocationDecoder decoder(attention, k, v);
    Matrix out, dq, dk, dv, right;
    CHECK(refusal([&] { static_cast<void>(decoder.weights()); }) == "weights: the decoder has taken no step");
    CHECK(refusal([&] { decoder.backward(dout, dq); }) == "backward: all steps that were taken have gone back");
    decoder.step(q, right);
    decoder.restart();
    CHECK(refusal([&] { decoder.step(rows_of(2, 3, 1), out); }) == "q (2x3) must be 1x3: a row for each sequence");
    CHECK(refusal([&] { decoder.step(rows_of(1, 4, 1), out); }) == "q (1x4) must be 1x3: a row for each sequence");
    CHECK(refusal([&] { decoder.step(q, {}); }) == "the output out must be given");
    Matrix wrong = Matrix::Zero(2, 2), weights = Matrix::Zero(1, 5);
    CHECK(refusal([&] { decoder.step(q, wrong); }) == "out (2x2) must be 1x2, or empty to be resized");
    CHECK(refusal([&] { decoder.step(q, out, {.weights = weights}); }) ==
          "weights (1x5) must be 1x6, or empty to be resized");
    CHECK(decoder.steps() == 0);
    decoder.step(q, out);
    CHECK(same_bits(out, right));
    decoder.step(q, out);
    CHECK(refusal([&] { decoder.backward(dout, wrong); }) == "dq (2x2) must be 1x3, or empty to be resized");
    CHECK(refusal([&] { decoder.backward(q, dq); }) == "dout (1x3) must be 1x2: a row for each sequence");
    CHECK(refusal([&] { decoder.backward(dout, dq, {.dweights = weights}); }) == "dweights (1x5) must be 1x6");
    CHECK(dq.size() == 0);
    decoder.backward(dout, dq);
    CHECK(refusal([&] { decoder.step(q, out); }) == "step: the way back has begun: restart the decoder");
    decoder.backward(dout, dq);
    CHECK(refusal([&] { decoder.add_gradients(dk, dk); }).starts_with("dk (0x0) aliases dv"));
    CHECK(refusal([&] { decoder.add_gradients(dk, {}); }) == "the gradients dk and dv must be given");
    auto gradient = zero_gradient(other);
    CHECK(refusal([&] { decoder.add_gradients(dk, dv, &gradient); }) ==
          "gradient: location_weight (2x5) must be 1x5, as the parameter is: make one by zero_gradient");
    CHECK(dk.size() == 0);
}

TEST_CASE("no keys at all give steps of zeros") {
    const auto attention = attention_of(History::previous, 2, 1);
    LocationDecoder decoder(attention, Matrix(0, 4), Matrix(0, 2));
    Matrix out, dq, dk, dv;
    for (Index t = 0; t < 2; ++t) decoder.step(rows_of(1, 3, 1), out);
    CHECK((out.array() == 0).all());
    for (Index t = 0; t < 2; ++t) decoder.backward(rows_of(1, 2, 1), dq);
    CHECK((dq.array() == 0).all());
    decoder.add_gradients(dk, dv);
    CHECK((dk.rows() == 0 && dv.rows() == 0));
}

}  // namespace test_location_decoder
