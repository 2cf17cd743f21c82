// A Bahdanau decoder: 30 steps of one query each over a memory of 400 keys, which `prepare` maps once, forward and in
// training. `times_unprepared` is how many times as long the same steps take on the keys themselves.

#include <attend/attend.hpp>

#include <measure.hpp>
#include <support/random.hpp>

namespace attend::bench {
namespace {

constexpr Index steps = 30, keys = 400, d = 256, hidden = 128;

struct Decoder {
    AdditiveAttention<float> attention{d, d, hidden, 1}, gradient = zero_gradient(attention);
    RowMatrix<float> k, v, dk, dv, q, dout, out{steps, d}, dq{steps, d};
    ColumnVector<float> lse{steps};
    Workspace workspace;

    Decoder() {
        Random random(1);
        k = test::random_matrix<float>(random, keys, d);
        v = test::random_matrix<float>(random, keys, d);
        q = test::random_matrix<float>(random, steps, d);
        dout = test::random_matrix<float>(random, steps, d);
        dk.setZero(keys, d), dv.setZero(keys, d), dq.setZero();
    }

    void forward(bool prepared) {
        const auto each = [&](const auto& call) {
            for (Index i = 0; i < steps; ++i) call(q.row(i), out.row(i), lse.row(i));
        };
        if (prepared) {
            const auto memory = attention.prepare(k, v);
            each([&](const auto& q_row, auto out_row, auto lse_row) {
                memory(q_row, out_row, {.workspace = &workspace, .lse = lse_row});
            });
        } else {
            each([&](const auto& q_row, auto out_row, auto lse_row) {
                attention(q_row, k, v, out_row, {.workspace = &workspace, .lse = lse_row});
            });
        }
    }
    void train(bool prepared) {
        if (prepared) {
            auto memory = attention.prepare(k, v);
            for (Index i = 0; i < steps; ++i)
                memory(q.row(i), out.row(i), {.workspace = &workspace, .lse = lse.row(i)});
            for (Index i = steps - 1; i >= 0; --i)
                memory.backward(q.row(i), out.row(i), lse.row(i), dout.row(i), dq.row(i), {.workspace = &workspace});
            memory.add_gradients(dk, dv, &gradient);
        } else {
            forward(false);
            for (Index i = steps - 1; i >= 0; --i)
                attention.backward(q.row(i), k, v, out.row(i), lse.row(i), dout.row(i), dq.row(i), dk, dv,
                                   {.workspace = &workspace, .gradient = &gradient});
        }
    }
    bool agrees() {
        forward(false);
        const RowMatrix<float> right = out;
        forward(true);
        return out == right;
    }
};

/// The same with a history: `times_prepared` is over steps without.
void add_located(const std::string& name, const LocationShape& shape) {
    add_benchmark("decoder/train_" + name + "_h128/steps30_k400_d256", [=](benchmark::State& state) {
        Decoder plain;
        LocationSensitiveAttention<float> attention(LocationScore<float>(shape, 1)),
            gradient = zero_gradient(attention);
        LocationDecoder decoder(attention, plain.k, plain.v);
        const auto train = [&] {
            decoder.restart();
            for (Index i = 0; i < steps; ++i)
                decoder.step(plain.q.row(i), plain.out.row(i), {.workspace = &plain.workspace});
            for (Index i = steps - 1; i >= 0; --i)
                decoder.backward(plain.dout.row(i), plain.dq.row(i), {.workspace = &plain.workspace});
            decoder.add_gradients(plain.dk, plain.dv, &gradient);
        };
        timed(state, train);
        state.counters["times_prepared"] = times_as_long(train, [&] { plain.train(true); });
    });
}

template <class F>
void add(const std::string& name, F f) {
    add_benchmark("decoder/" + name + "_additive_h128/steps30_k400_d256", [f](benchmark::State& state) {
        Decoder decoder;
        if (!decoder.agrees()) return state.SkipWithError("wrong: prepared keys give another output");
        timed(state, [&] { f(decoder, true); });
        state.counters["times_unprepared"] = times_as_long([&] { f(decoder, false); }, [&] { f(decoder, true); });
    });
}

const bool added = [] {
    add("forward", [](Decoder& decoder, bool prepared) { decoder.forward(prepared); });
    add("train", [](Decoder& decoder, bool prepared) { decoder.train(prepared); });
    add_located("location", {.d_q = d, .d_k = d, .hidden = hidden, .filters = 10, .radius = 15});
    add_located("coverage", {.d_q = d, .d_k = d, .hidden = hidden, .history = History::sum});
    return true;
}();

}  // namespace
}  // namespace attend::bench
