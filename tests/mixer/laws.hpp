#pragma once
/// \file
/// The laws of a mixer, as mixer/mixer.hpp numbers them, asked of any: `check_laws(mixer, causal)`.

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include <attend/insight/column_sums.hpp>
#include <attend/mixer/mixer.hpp>
#include <support/finite_difference.hpp>
#include <support/refusal.hpp>

namespace attend::test {

/// An executor of a user's own: a thread for every task.
struct Threads {
    Index count = 1;

    Index concurrency() const { return count; }
    template <class F>
    void parallel_for(Index tasks, F&& f) const {
        std::vector<std::thread> threads;
        for (Index i = 0; i < tasks; ++i) threads.emplace_back([&f, i] { f(i); });
        for (std::thread& thread : threads) thread.join();
    }
};

/// What calls give, the LSE where there is one.
template <class T>
struct Mixed {
    RowMatrix<T> out;
    RowMatrix<Compute<T>> lse;
};

inline attend::detail::SequencesRef offsets_of(const std::vector<Index>& offsets) {
    return attend::detail::SequencesRef(std::span(offsets));
}

template <class T, class M>
Mixed<T> mix(const M& mixer, const Operands<T>& x, attend::detail::ExecutorRef executor = serial,
             Workspace* workspace = nullptr) {
    using C = Compute<T>;
    Mixed<T> y;
    mixer(x.query_heads(), x.key_heads(), x.value_heads(), y.out,
          {.workspace = workspace,
           .executor = executor,
           .lse = attend::detail::has_weights<M> ? Output<C>(y.lse) : Output<C>(),
           .query_offset = x.layout.query_offset,
           .sequences = offsets_of(x.layout.sequences),
           .key_sequences = offsets_of(x.layout.key_sequences)});
    return y;
}
template <class T, class M>
void add_mixed_gradients(const M& mixer, const Operands<T>& x, const Mixed<T>& y, Gradients<T, M>& d,
                         attend::detail::ExecutorRef executor = serial, Workspace* workspace = nullptr) {
    mixer.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, x.layout.heads), y.lse,
                   heads(x.dout, x.layout.heads), d.dq, d.dk, d.dv,
                   {.workspace = workspace,
                    .executor = executor,
                    .gradient = &d.parameters,
                    .query_offset = x.layout.query_offset,
                    .sequences = offsets_of(x.layout.sequences),
                    .key_sequences = offsets_of(x.layout.key_sequences)});
}
template <class T, class M>
Gradients<T, M> mix_backward(const M& mixer, const Operands<T>& x, attend::detail::ExecutorRef executor = serial,
                             Workspace* workspace = nullptr) {
    Gradients<T, M> d{.parameters = zero_gradient(mixer)};
    add_mixed_gradients(mixer, x, mix(mixer, x), d, executor, workspace);
    return d;
}

/// The shapes that laws are asked of: groups of heads, lengths that differ, sequences without queries, without keys,
/// without either. Queries have the width that all mixers of these tests take, and keys the one that belongs to it.
template <class M>
std::vector<Layout> layouts_of_mixers(const M& mixer) {
    const Layout one{.queries = 7, .keys = 7, .d_q = 3, .d_k = attend::detail::key_width(mixer, Index(3)), .d_v = 2};
    Layout groups = one, cross = one, ragged = one;
    groups.heads = 4, groups.kv_heads = 2;
    cross.queries = 5, cross.keys = 12, cross.query_offset = 3, cross.heads = 2;
    ragged = groups;
    ragged.queries = 12, ragged.keys = 15, ragged.query_offset = 1;
    ragged.sequences = {0, 4, 4, 6, 6, 12}, ragged.key_sequences = {0, 5, 7, 7, 7, 15};
    return {one, groups, cross, ragged};
}
template <class M>
Layout ragged_layout(const M& mixer) {
    return layouts_of_mixers(mixer).back();
}

template <class T>
Operands<T> rows_of(const Operands<T>& x, Index q, Index queries, Index k, Index keys) {
    Operands<T> some = x;
    some.layout.queries = queries, some.layout.keys = keys;
    some.layout.sequences = some.layout.key_sequences = {};
    some.q = x.q.middleRows(q, queries), some.dout = x.dout.middleRows(q, queries);
    some.k = x.k.middleRows(k, keys), some.v = x.v.middleRows(k, keys);
    return some;
}

/// Law 2: a sequence's bits are its own; those of the parameters' gradients no thread changes.
template <class T, class M>
void check_that_sequences_are_calls(const M& mixer) {
    const Operands<T> x = random_operands<T>(ragged_layout(mixer), 2);
    const Mixed<T> y = mix(mixer, x);
    const Gradients<T, M> d = mix_backward(mixer, x);
    for (std::size_t s = 0; s + 1 < x.layout.sequences.size(); ++s) {
        CAPTURE(s);
        const Index q = x.layout.sequences[s], queries = x.layout.sequences[s + 1] - q, k = x.layout.key_sequences[s],
                    keys = x.layout.key_sequences[s + 1] - k;
        const Operands<T> one = rows_of(x, q, queries, k, keys);
        const Gradients<T, M> d_one = mix_backward(mixer, one);
        CHECK(same_bits(y.out.middleRows(q, queries), mix(mixer, one).out));
        CHECK(same_bits(d.dq.middleRows(q, queries), d_one.dq));
        CHECK(same_bits(d.dk.middleRows(k, keys), d_one.dk));
        CHECK(same_bits(d.dv.middleRows(k, keys), d_one.dv));
    }
    for (const Index threads : {2, 3, 7}) {
        CAPTURE(threads);
        const Threads executor{threads};
        CHECK(same_bits(mix(mixer, x, executor).out, y.out));
        CHECK(first_difference(mix_backward(mixer, x, executor), d).empty());
    }
}

/// The same of a batch by strides, and of a workspace of just the right size that holds NaN.
template <class M>
void check_batches_and_workspaces(const M& mixer) {
    constexpr Index n = 5, sequences = 3, heads = 2, width = 3, values = 2;
    const Index keys = attend::detail::key_width(mixer, width);
    Layout layout{.queries = sequences * n, .keys = sequences * n, .d_q = width, .d_k = keys, .d_v = values};
    layout.heads = layout.kv_heads = heads;
    layout.sequences = layout.key_sequences = {0, n, 2 * n, 3 * n};
    const Operands<double> x = random_operands<double>(layout, 3);
    const Mixed<double> y = mix(mixer, x);
    const auto batch = [](const RowMatrix<double>& rows, Index d) {
        return strided(rows.data(), {sequences, heads, n, d}, {n * heads * d, d, heads * d, 1});
    };
    RowMatrix<double> out;
    mixer(batch(x.q, width), batch(x.k, keys), batch(x.v, values), out, {});
    CHECK(same_bits(out, y.out));

    const Gradients<double, M> d = mix_backward(mixer, x);
    const Shape shape{.sequences = sequences,
                      .heads = heads,
                      .kv_heads = heads,
                      .queries = n,
                      .keys = n,
                      .d_q = width,
                      .d_k = keys,
                      .d_v = values};
    for (const Index workers : {1, 3}) {
        for (const Pass pass : {Pass::forward, Pass::backward}) {
            std::vector<std::byte> buffer(mixer.template workspace_bytes<double>(shape, workers, pass) +
                                          Workspace::alignment);
            std::memset(buffer.data(), 0xff, buffer.size());
            Workspace workspace{std::span(buffer)};
            if (pass == Pass::forward) {
                CHECK(same_bits(mix(mixer, x, Threads{workers}, &workspace).out, y.out));
            } else {
                CHECK(first_difference(mix_backward(mixer, x, Threads{workers}, &workspace), d).empty());
            }
        }
    }
}

/// Law 3: query head h mixes the rows of key/value head h / group.
template <class M>
void check_that_heads_are_calls(const M& mixer) {
    const Layout layout = ragged_layout(mixer);
    const Operands<double> x = random_operands<double>(layout, 4);
    const Mixed<double> y = mix(mixer, x);
    const Gradients<double, M> d = mix_backward(mixer, x);
    const Index group = layout.heads / layout.kv_heads;
    for (Index g = 0; g < layout.kv_heads; ++g) {
        RowMatrix<double> dk = RowMatrix<double>::Zero(layout.keys, layout.d_k),
                          dv = RowMatrix<double>::Zero(layout.keys, layout.d_v);
        for (Index h = g * group; h < (g + 1) * group; ++h) {
            CAPTURE(h);
            Operands<double> one = x;
            one.layout.heads = one.layout.kv_heads = 1;
            one.q = x.q.middleCols(h * layout.d_q, layout.d_q), one.k = x.k.middleCols(g * layout.d_k, layout.d_k);
            one.v = x.v.middleCols(g * layout.d_v, layout.d_v);
            one.dout = x.dout.middleCols(h * layout.d_v, layout.d_v);
            const Gradients<double, M> d_one = mix_backward(mixer, one);
            dk += d_one.dk, dv += d_one.dv;
            CHECK(distance(y.out.middleCols(h * layout.d_v, layout.d_v), mix(mixer, one).out) <= 1e-13);
            CHECK(distance(d.dq.middleCols(h * layout.d_q, layout.d_q), d_one.dq) <= 1e-13);
        }
        CHECK(distance(d.dk.middleCols(g * layout.d_k, layout.d_k), dk) <= 1e-13);
        CHECK(distance(d.dv.middleCols(g * layout.d_v, layout.d_v), dv) <= 1e-13);
    }
}

/// Law 4: what a causal mixer gives for a query, its keys up to its position give, the last of them too, whatever comes
/// behind them; and rows of a sequence can be asked for in pieces.
template <class M>
void check_positions(const M& mixer, bool causal) {
    for (const Index offset : {-2, 0, 4, 40}) {
        CAPTURE(offset);
        Layout layout = layouts_of_mixers(mixer).front();
        layout.queries = 6, layout.keys = 9, layout.query_offset = offset;
        const Operands<double> x = random_operands<double>(layout, 5);
        const Mixed<double> y = mix(mixer, x);
        for (Index i = 0; i < layout.queries; ++i) {
            CAPTURE(i);
            const Index sees = causal ? std::clamp<Index>(offset + i + 1, 0, layout.keys) : layout.keys;
            Operands<double> one = rows_of(x, i, 1, 0, sees);
            one.layout.query_offset = offset + i;
            CHECK(distance(y.out.row(i), mix(mixer, one).out) <= 1e-13);
            if (sees == 0) CHECK(y.out.row(i).isZero(0));
            Operands<double> last = x, unseen = x;
            if (sees > 0) last.v.row(sees - 1).array() += 1;
            CHECK((sees == 0 || distance(y.out.row(i), mix(mixer, last).out.row(i)) > 1e-4));
            unseen.k.bottomRows(layout.keys - sees).setConstant(std::numeric_limits<double>::quiet_NaN());
            unseen.v.bottomRows(layout.keys - sees).setConstant(std::numeric_limits<double>::quiet_NaN());
            CHECK(same_bits(y.out.row(i), mix(mixer, unseen).out.row(i)));
        }
    }
}

/// Law 5.
template <class M>
void check_queries_without_keys(const M& mixer, bool causal) {
    const auto gives_nothing = [&](const Operands<double>& x) {
        const Gradients<double, M> d = mix_backward(mixer, x);
        return mix(mixer, x).out.isZero(0) && d.dq.isZero(0) && d.dk.isZero(0) && d.dv.isZero(0) &&
               parameters_of(d.parameters).isZero(0);
    };
    Layout layout = layouts_of_mixers(mixer).front();
    layout.queries = 3, layout.keys = 0, layout.heads = layout.kv_heads = 2;
    CHECK(gives_nothing(random_operands(layout, 6)));
    layout.queries = 0, layout.keys = 4;
    CHECK(gives_nothing(random_operands(layout, 6)));
    layout.queries = 3, layout.query_offset = -3;
    if (causal) CHECK(gives_nothing(random_operands(layout, 6)));
}

/// Law 6, and that backward adds.
template <class M>
void check_gradients_of_mixer(M mixer) {
    for (const Layout& layout : layouts_of_mixers(mixer)) {
        CAPTURE(layout.queries, layout.keys, layout.heads, layout.sequences.size());
        Operands<double> x = random_operands<double>(layout, 7);
        Gradients<double, M> d = mix_backward(mixer, x);
        const Loss loss(
            [&] {
                Outputs<double> y;
                y.out = mix(mixer, x).out;
                return y;
            },
            x.dout);
        check_slopes(loss, span_of(x.q), span_of(d.dq), "dq");
        check_slopes(loss, span_of(x.k), span_of(d.dk), "dk");
        check_slopes(loss, span_of(x.v), span_of(d.dv), "dv");
        std::vector<std::span<double>> gradients;
        visit_parameters(d.parameters, [&](std::string_view, auto& matrix) { gradients.push_back(span_of(matrix)); });
        std::size_t i = 0;
        visit_parameters(mixer, [&](std::string_view name, auto& matrix) {
            check_slopes(loss, span_of(matrix), gradients[i++], name);
        });

        const Gradients<double, M> once = d;
        add_mixed_gradients(mixer, x, mix(mixer, x), d);
        CHECK(distance(d.dq, 2 * once.dq) <= 1e-12);
        CHECK(distance(d.dk, 2 * once.dk) <= 1e-12);
        CHECK(distance(d.dv, 2 * once.dv) <= 1e-12);
        CHECK(distance(parameters_of(d.parameters), 2 * parameters_of(once.parameters)) <= 1e-11);
    }
}

/// Law 1: what does not fit is refused by name, with nothing written.
template <class M>
void check_refusals(const M& mixer) {
    Layout layout = layouts_of_mixers(mixer).front();
    layout.queries = 4, layout.keys = 6;
    const Operands<double> x = random_operands<double>(layout, 8);
    const std::string k_shape = "k (6x" + std::to_string(layout.d_k) + ")", dk_shape = k_shape.substr(3, 3);
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 2, 7), dq, dk, dv, small(3, 2);
    const auto refused = [&](const auto& q, const auto& k, const auto& v, ForwardOptions<double> options = {}) {
        const std::string text = refusal([&] { mixer(q, k, v, out, options); });
        CHECK((out.array() == 7).all());
        return text;
    };
    CHECK(refused(x.q, x.k.topRows(5), x.v) ==
          "k (5x" + std::to_string(layout.d_k) + ") and v (6x2) must have one row each for every key");
    CHECK(!refused(RowMatrix<double>(x.q.leftCols(2)), x.k, x.v).empty());
    CHECK(refused(x.q, heads(RowMatrix<double>(x.k.leftCols(3)), 3), heads(x.v, 2)) ==
          "k (3 heads x 6x1) and v (2 heads x 6x1) must have the same number of heads");
    CHECK(refused(x.q, x.k, x.v, {.sequences = sequences({0, 3})}) ==
          "sequences must end at the 4 rows of q (4x3), not at 3");
    CHECK(refusal([&] { mixer(x.q, x.k, x.v, small, {}); }) == "out (3x2) must be 4x2, or empty to be resized");
    CHECK(refusal([&] { mixer(x.q, x.k, x.v, Output<double>(), {}); }) == "the output must be given");
    RowMatrix<double> keys = x.k;
    CHECK(refusal([&] { mixer(x.q, keys, x.v, keys.block(0, 1, 4, 2), {}); }) ==
          "out (4x2) aliases " + k_shape + ": give the call memory of its own to write to");
    CHECK(same_bits(keys, x.k));

    const Mixed<double> y = mix(mixer, x);
    const auto refused_backward = [&](const auto& dout, Output<double> to, BackwardOptions<M> options = {}) {
        dq.setConstant(4, 3, 7);
        const std::string text =
            refusal([&] { mixer.backward(x.q, x.k, x.v, y.out, y.lse, dout, dq, to, dv, options); });
        CHECK(((dq.array() == 7).all() && dv.size() == 0));
        return text;
    };
    CHECK(refused_backward(small, dk) == "dout (3x2) must be 4x2 to go with q (4x3)");
    CHECK(refused_backward(x.dout, small) == "dk (3x2) must be " + dk_shape + ", or empty to be resized");
    CHECK(refused_backward(x.dout, dv) == "dk (0x0) aliases dv (0x0): give the call memory of its own to write to");
    CHECK(refused_backward(x.dout, dk, {.gradient = const_cast<M*>(&mixer)}) ==
          "gradient is the very value that it is asked of: make one by zero_gradient");
    CHECK(dk.size() == 0);

    if constexpr (!attend::detail::has_weights<M>) {
        RowMatrix<double> other;
        CHECK(refused(x.q, x.k, x.v, {.lse = other}) ==
              "lse: this mixer has no weights whose log-sum-exp it could be: leave it out");
        CHECK(refused(x.q, x.k, x.v, {.weights = other}) == "weights: this mixer has none: leave them out");
        auto looks = column_sums<double>();
        CHECK(refused(x.q, x.k, x.v, {.insight = looks}) ==
              "insight: this mixer has no weights to look at: leave it out");
        CHECK(refused(x.q, x.k, x.v, {.dropout = {.rate = 0.5}}) ==
              "dropout: this mixer has no weights to drop: leave it out");
        CHECK(refused_backward(x.dout, dk, {.dlse = small}) == "dlse: this mixer has no LSE: leave it out");
        CHECK(refused_backward(x.dout, dk, {.dropout = {.rate = 0.5}}) ==
              "dropout: this mixer has no weights to drop: leave it out");
        CHECK(refusal([&] { mixer.backward(x.q, x.k, x.v, y.out, small, x.dout, dq, dk, dv); }) ==
              "lse (3x2) must be empty: this mixer has no weights whose log-sum-exp it could be");
        CHECK((other.size() == 0 && dk.size() == 0 && dv.size() == 0));
    }
}

/// Everything. `causal`: whether a query sees the keys up to its position, or all.
template <class M>
void check_laws(const M& mixer, bool causal) {
    static_assert(Mixer<M, float> && Mixer<M, double>);
    check_refusals(mixer);
    check_that_sequences_are_calls<double>(mixer);
    check_that_sequences_are_calls<float>(mixer);
    check_batches_and_workspaces(mixer);
    check_that_heads_are_calls(mixer);
    check_positions(mixer, causal);
    check_queries_without_keys(mixer, causal);
    check_gradients_of_mixer(mixer);
}

}  // namespace attend::test
