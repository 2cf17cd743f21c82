// Reductions use no heap once they have served a call of that shape, and the workspace that a call needs is known.

#include <support/allocations.hpp>

#include <attend/attend.hpp>

#include <vector>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_reduction_allocations {
namespace {

template <class A>
void check(const A& attention, const Layout& layout) {
    CAPTURE(layout.queries, layout.keys);
    const Operands<float> x = random_operands<float>(layout, 1);
    const Shape shape{.sequences = std::max<Index>(1, std::ssize(layout.sequences) - 1),
                      .heads = layout.heads,
                      .kv_heads = layout.kv_heads,
                      .queries = layout.queries,
                      .keys = layout.keys,
                      .d_q = layout.d_q,
                      .d_k = layout.d_k,
                      .d_v = layout.d_v};
    auto entropy = row_entropy<float>();
    auto sums = column_sums<float>();
    auto weighted = column_sums<float>(ColumnVector<float>::Ones(layout.queries));
    auto top = top_keys<float>(4);
    auto largest = largest_score<float>();
    auto chosen = chosen_weights<float>({.rows = query_rows({0})});
    auto mean = mean_weights<float>({.rows = query_rows({0})});
    auto tokens = rollout<float>(layout.queries, 0);
    const bool square = layout.queries == layout.keys;
    const auto run = [&](Pass pass, const Insight<float>& insight) {
        std::vector<std::byte> memory(attention.workspace_bytes(shape, 1, pass) + Workspace::alignment);
        void* start = memory.data();
        std::size_t space = memory.size();
        std::align(Workspace::alignment, 1, start, space);
        Workspace exact(std::span(static_cast<std::byte*>(start), memory.size() - Workspace::alignment));
        RowMatrix<float> out(layout.queries, layout.heads * layout.d_v);
        const attend::detail::SequencesRef q(std::span(layout.sequences)), k(std::span(layout.key_sequences));
        const auto call = [&] {
            attention(x.query_heads(), x.key_heads(), x.value_heads(), out,
                      {.workspace = &exact, .insight = insight, .sequences = q, .key_sequences = k});
        };
        call();
        CHECK(allocations_of(call) == 0);
    };
    run(Pass::insight, {entropy, sums, weighted, top, largest, chosen, mean});
    run(Pass::forward, {entropy, sums, weighted, top, chosen, mean});
    if (square) run(Pass::forward, {tokens});
}

}  // namespace

TEST_CASE("no call that is looked at uses the heap once warm, nor more workspace than was told") {
    for (const Layout& layout : insight_layouts()) {
        check(scaled_dot_product, layout);
        check(scaled_dot_product >> causal >> sparsemax, layout);
    }
    check(scaled_dot_product, {.queries = 300, .keys = 300, .heads = 2});
    check(scaled_dot_product >> causal >> sigmoid(1.f), {.queries = 300, .keys = 300, .heads = 2});
}

}  // namespace test_reduction_allocations
