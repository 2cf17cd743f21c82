// needs: threads
//
// Recurrent mixers against plain loops in double, and what their calls cost.

#include <attend/mixer/recurrent.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <mixer/gated_memory.hpp>
#include <mixer/laws.hpp>
#include <mixer/running_mean.hpp>

using namespace attend;
using namespace attend::test;

namespace test_recurrent {
namespace {

/// Σ_j w_ij v_j / Σ_j w_ij over the keys that query i sees, w_ij = r^(last − j) for the last that it sees.
RowMatrix<double> running_mean(const RowMatrix<double>& v, Index queries, Index offset, bool causal, double decay) {
    const double r = 1 / (1 + std::exp(-decay));
    RowMatrix<double> out = RowMatrix<double>::Zero(queries, v.cols());
    for (Index i = 0; i < queries; ++i) {
        const Index last = causal ? std::min(offset + i, v.rows() - 1) : v.rows() - 1;
        double weights = 0;
        for (Index j = 0; j <= last; ++j) weights += std::pow(r, static_cast<double>(last - j));
        for (Index j = 0; j <= last; ++j) out.row(i) += std::pow(r, static_cast<double>(last - j)) / weights * v.row(j);
    }
    return out;
}

/// Σ_j (Π_{m > j} σ(k_m · gate)) (q_i · k_j) v_j over those keys.
RowMatrix<double> gated_memory(const RowMatrix<double>& q, const RowMatrix<double>& k, const RowMatrix<double>& v,
                               Index offset, bool causal, const Eigen::VectorXd& gate) {
    RowMatrix<double> out = RowMatrix<double>::Zero(q.rows(), v.cols());
    for (Index i = 0; i < q.rows(); ++i) {
        const Index last = causal ? std::min(offset + i, v.rows() - 1) : v.rows() - 1;
        for (Index j = 0; j <= last; ++j) {
            double kept = 1;
            for (Index m = j + 1; m <= last; ++m) kept *= 1 / (1 + std::exp(-k.row(m).dot(gate.transpose())));
            out.row(i) += kept * q.row(i).dot(k.row(j)) * v.row(j);
        }
    }
    return out;
}

struct Thrower : RunningMean {
    void absorb(const auto& k, const auto& v, auto& state) const {
        if (v(0) > 1e6) throw std::runtime_error("too much");
        RunningMean::absorb(k, v, state);
    }
    void absorb_backward(const auto& k, const auto& v, const auto& state, auto& dstate, auto& dk, auto& dv,
                         Thrower* gradient) const {
        RunningMean::absorb_backward(k, v, state, dstate, dk, dv, gradient);
    }
    void read_backward(const auto& q, const auto& state, const auto& dout, auto& dq, auto& dstate,
                       Thrower* gradient) const {
        RunningMean::read_backward(q, state, dout, dq, dstate, gradient);
    }
};

}  // namespace

TEST_CASE("each query head reads what its key/value head has absorbed, up to its position or in all") {
    const bool causal = GENERATE(true, false);
    const Index offset = GENERATE(0, 3, -2), keys = GENERATE(0, 1, 6, 30);
    CAPTURE(causal, offset, keys);
    const Layout layout{
        .queries = 6, .keys = keys, .d_q = 3, .d_k = 3, .d_v = 2, .heads = 4, .kv_heads = 2, .query_offset = offset};
    const Operands<double> x = random_operands<double>(layout, 1);
    const Eigen::VectorXd gate = Eigen::Vector3d(0.5, -0.3, 0.8);
    const RowMatrix<double> means = mix(recurrent(RunningMean{.causal = causal, .decay = 0.25}), x).out,
                            reads = mix(recurrent(GatedMemory{.causal = causal, .gate = gate}), x).out;
    const auto head = [](const RowMatrix<double>& rows, Index h, Index d) {
        return rows.rows() == 0 ? RowMatrix<double>(0, d) : RowMatrix<double>(rows.middleCols(h * d, d));
    };
    for (Index h = 0; h < 4; ++h) {
        CAPTURE(h);
        const RowMatrix<double> q = head(x.q, h, 3), k = head(x.k, h / 2, 3), v = head(x.v, h / 2, 2);
        CHECK(distance(head(means, h, 2), running_mean(v, 6, offset, causal, 0.25)) <= 1e-14);
        CHECK(distance(head(reads, h, 2), gated_memory(q, k, v, offset, causal, gate)) <= 1e-13);
    }
}

TEST_CASE("16-bit rows are computed in float, and rounded once") {
    const Operands<Eigen::half> x =
        random_operands<double>({.queries = 9, .keys = 9, .d_q = 3, .d_k = 3, .d_v = 2}, 2).cast<Eigen::half>();
    const auto mixer = recurrent(GatedMemory{.gate = Eigen::Vector3d(0.5, -0.3, 0.8)});
    CHECK(same_bits(mix(mixer, x).out, mix(mixer, x.cast<float>()).out.cast<Eigen::half>()));
    const auto d = mix_backward(mixer, x);
    const auto exact = mix_backward(mixer, x.cast<float>());
    CHECK(same_bits(d.dq, exact.dq.cast<Eigen::half>()));
    CHECK(same_bits(d.dk, exact.dk.cast<Eigen::half>()));
    CHECK(same_bits(d.dv, exact.dv.cast<Eigen::half>()));
}

TEST_CASE("backward holds states for the square root of the keys, forward one") {
    const auto mixer = recurrent(GatedMemory{.gate = Eigen::VectorXd::Zero(16)});
    const auto states = [&](Index keys, Pass pass) {
        const Shape shape{.queries = keys, .keys = keys, .d_q = 16, .d_k = 16, .d_v = 16};
        return static_cast<double>(mixer.workspace_bytes<float>(shape, 1, pass)) / (16 * 16 * sizeof(float));
    };
    CHECK(states(10000, Pass::forward) == states(100, Pass::forward));
    CHECK(states(10000, Pass::forward) <= 3);
    CHECK(states(100, Pass::backward) <= 2 * 10 + 3);
    CHECK(states(10000, Pass::backward) <= 2 * 100 + 3);
}

TEST_CASE("a workspace that is too small is refused before anything is written") {
    const Operands<double> x = random_operands<double>({}, 3);
    const auto mixer = recurrent(RunningMean{});
    std::vector<std::byte> buffer(64);
    Workspace workspace{std::span(buffer)};
    RowMatrix<double> out, dq, dk, dv;
    CHECK(refusal<std::length_error>([&] {
              mixer(x.q, x.k, x.v, out, {.workspace = &workspace});
          }).starts_with("workspace: the call needs "));
    CHECK(refusal<std::length_error>([&] {
              mixer.backward(x.q, x.k, x.v, x.dout, out, x.dout, dq, dk, dv, {.workspace = &workspace});
          }).starts_with("workspace: the call needs "));
    CHECK((out.size() == 0 && dq.size() == 0 && dk.size() == 0 && dv.size() == 0));
}

TEST_CASE("queries at positions of their own are refused before anything is written") {
    const Operands<double> x = random_operands<double>({}, 3);
    const auto mixer = recurrent(RunningMean{});
    const std::vector<Index> positions(static_cast<std::size_t>(x.q.rows()), 1);
    RowMatrix<double> out, dq, dk, dv;
    const std::string words = "query_positions: this mixer reads states in the order of queries: leave them out";
    CHECK(refusal([&] { mixer(x.q, x.k, x.v, out, {.query_positions = positions}); }) == words);
    CHECK(refusal([&] {
              mixer.backward(x.q, x.k, x.v, x.dout, out, x.dout, dq, dk, dv, {.query_positions = positions});
          }) == words);
    CHECK((out.size() == 0 && dq.size() == 0));
}

TEST_CASE("what a mixer throws reaches the caller, from any thread") {
    Operands<double> x = random_operands<double>({.heads = 4, .kv_heads = 4}, 3);
    x.v(2, 4) = 1e7;
    for (const Index threads : {1, 3}) CHECK_THROWS_WITH(mix(recurrent(Thrower{}), x, Threads{threads}), "too much");
}

TEST_CASE("what a mixer says of a shape is asked before anything is written") {
    const Operands<double> x = random_operands<double>({}, 3);
    RowMatrix<double> out;
    const auto refused = [&](const auto& mixer) { return refusal([&] { mixer(x.q, x.k, x.v, out); }); };
    CHECK(refused(recurrent(GatedMemory{.gate = Eigen::Vector2d(1, 2)})) ==
          "gated memory: q and k must have 2 columns a head, not 3 and 3");
    CHECK(refusal([&] { recurrent(RunningMean{})(x.q.leftCols(2), x.k, x.v, out); }) ==
          "q and k must have the same width, not 2 and 3");
    CHECK(refusal([&] { (void)recurrent(RunningMean{}).workspace_bytes({.keys = -1}); }) ==
          "q (0x0), k (-1x0) and v (-1x0) have a negative size, or hold more than any memory");
    CHECK(out.size() == 0);
}

TEST_CASE("a parameter's gradient is added by every key/value head, whatever the threads") {
    // More heads than there are sums of gradients.
    Layout layout{.queries = 40, .keys = 40, .d_q = 3, .d_k = 3, .d_v = 2, .heads = 12, .kv_heads = 12};
    layout.sequences = layout.key_sequences = {0, 11, 12, 40};
    const Operands<double> x = random_operands<double>(layout, 4);
    const auto mixer = recurrent(GatedMemory{.gate = Eigen::Vector3d(0.5, -0.3, 0.8)});
    const auto all = mix_backward(mixer, x);
    Workspace workspace;
    for (int i = 0; i < 2; ++i) CHECK(first_difference(mix_backward(mixer, x, Threads{3}, &workspace), all).empty());
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(3);
    for (std::size_t s = 0; s < 3; ++s) {
        const Index begin = layout.sequences[s], rows = layout.sequences[s + 1] - begin;
        for (Index h = 0; h < 12; ++h) {
            Operands<double> one = rows_of(x, begin, rows, begin, rows);
            one.layout.heads = one.layout.kv_heads = 1;
            one.q = one.q.middleCols(3 * h, 3).eval(), one.k = one.k.middleCols(3 * h, 3).eval();
            one.v = one.v.middleCols(2 * h, 2).eval(), one.dout = one.dout.middleCols(2 * h, 2).eval();
            sum += mix_backward(mixer, one).parameters.mixer.gate;
        }
    }
    CHECK(distance(all.parameters.mixer.gate, sum) <= 1e-12);
}

}  // namespace test_recurrent
