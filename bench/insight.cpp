// What it costs to look at the weights while a call runs, as `times_plain` of the same call without.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

template <class Attention>
void run(Operands<float>& x, const Attention& attention, const Insight<float>& insight) {
    attention(x.q.view, x.k.view, x.v.view, x.out.view, {.workspace = &x.workspace, .insight = insight});
}

template <class Attention, class Scores, class Reduction>
void add(const std::string& name, Index n, const Attention& attention, const Scores& scores,
         const Reduction& reduction) {
    add_benchmark("insight/" + name + "/n" + std::to_string(n), [=](benchmark::State& state) {
        Operands<float> x({.queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64});
        Reduction looks = reduction;
        const auto look = [&] { run(x, attention, {looks}); };
        look();
        if (!holds(state, share_of_allowed_error(x, scores))) return;
        timed(state, look);
        state.counters["times_plain"] = times_as_long(look, [&] { run(x, attention, {}); });
    });
}
template <class Reduction>
void add(const std::string& name, const Reduction& reduction) {
    add(name, 1024, scaled_dot_product, scaled_dot_scores, reduction);
    add(name + "_causal", 1024, scaled_dot_product >> causal, masked_scores(causal), reduction);
}

const bool added = [] {
    add("row_entropy", row_entropy<float>());
    add("column_sums", column_sums<float>());
    add("largest_score", largest_score<float>());
    add("top_5_keys", top_keys<float>(5));
    add("2_rows", chosen_weights<float>({.rows = query_rows({3, 700})}));
    add("all_weights", chosen_weights<float>());
    add("rollout", rollout<float>(1024, 700));
    return true;
}();

}  // namespace
}  // namespace attend::bench
