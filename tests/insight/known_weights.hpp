#pragma once
/// \file
/// Calls of many attentions and shapes whose weights are known as `.weights` gives them, for reductions to be compared
/// with.

#include <algorithm>
#include <vector>

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

namespace attend::test {

inline std::vector<Layout> insight_layouts() {
    return {
        {.queries = 1, .keys = 2500, .heads = 4, .kv_heads = 2},                   // chunks of keys, which merge
        {.queries = 3, .keys = 7, .d_q = 8, .d_k = 8, .heads = 2, .kv_heads = 2},  // few
        {.queries = 130, .keys = 150, .d_q = 8, .d_k = 8, .heads = 4, .kv_heads = 2, .query_offset = 20},
        {.queries = 1300, .keys = 70, .heads = 1, .kv_heads = 1},  // more blocks than parts
        {.queries = 9,
         .keys = 12,
         .heads = 2,
         .kv_heads = 1,
         .sequences = {0, 3, 3, 5, 9},
         .key_sequences = {0, 5, 7, 7, 12}},
        {.queries = 500,
         .keys = 330,
         .heads = 2,
         .kv_heads = 1,
         .sequences = {0, 300, 500},
         .key_sequences = {0, 130, 330}},
    };
}

/// Every kind of normalizer; masks that leave rows without a key.
template <class F>
void for_each_insight_attention(F&& f) {
    f(scaled_dot_product);
    f(scaled_dot_product >> alibi(0.125f) >>
      (causal & sliding_window(40) & mask([](Position p) { return p.key != 1 || p.query > 2; })));
    f(scaled_dot_product >> mask([](Position p) { return p.query % 3 != 0 && p.key % 5 != 2; }) >>
      softmax_with_sink(0.5f));
    f(scaled_dot_product >> causal >> sigmoid(-1.f));
    f(scaled_dot_product >> causal >> sparsemax);
    f(dot_product >> top_k(3));
}

/// A call on random operands, and all it gives.
template <class T, class A>
struct KnownWeights {
    A attention;
    Operands<T> x;
    Outputs<T> y;

    KnownWeights(const A& attention_, const Layout& layout)
        : attention(attention_), x(random_operands<T>(layout, 7)), y(forward(attention, x)) {}

    /// The same call with reductions; its output is that without them.
    void show_to(const Insight<T>& insight, attend::detail::ExecutorRef executor = serial,
                 Workspace* workspace = nullptr) const {
        RowMatrix<T> out, lse;
        attention(x.query_heads(), x.key_heads(), x.value_heads(), out,
                  {.workspace = workspace,
                   .executor = executor,
                   .lse = lse,
                   .insight = insight,
                   .query_offset = x.layout.query_offset,
                   .sequences = attend::detail::SequencesRef(std::span(x.layout.sequences)),
                   .key_sequences = attend::detail::SequencesRef(std::span(x.layout.key_sequences))});
        CHECK(same_bits(out, y.out));
        CHECK(same_bits(lse, y.lse));
    }
    Index heads() const { return x.layout.heads; }
    Index rows() const { return x.layout.queries; }
    Index keys() const { return y.weights.cols(); }
    Index sequences() const { return std::max<Index>(1, std::ssize(x.layout.sequences) - 1); }
    Index first_row(Index s) const { return x.layout.sequences.empty() ? 0 : x.layout.sequences[std::size_t(s)]; }
    Index end_row(Index s) const {
        return x.layout.sequences.empty() ? rows() : x.layout.sequences[std::size_t(s) + 1];
    }
    double weight(Index head, Index row, Index key) const {
        return static_cast<double>(y.weights(head * rows() + row, key));
    }
};

/// Calls `f(known)` for all attentions and shapes.
template <class T, class F>
void for_each_known(F&& f) {
    for_each_insight_attention([&]<class A>(const A& attention) {
        for (const Layout& layout : insight_layouts()) {
            CAPTURE(layout.queries, layout.keys, layout.heads);
            f(KnownWeights<T, A>(attention, layout));
        }
    });
}

/// Half the distance from 1 to the next number.
template <class T>
inline constexpr double rounding_of = std::numeric_limits<T>::epsilon() / 2;

}  // namespace attend::test
