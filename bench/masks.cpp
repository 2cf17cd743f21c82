// What masks save, as `times_cheaper` than the same attention without a mask.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

template <class Attention, class Scores>
void add(const std::string& name, Index n, const Attention& attention, const Scores& scores) {
    const auto make = [n] { return Operands<float>({.queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64}); };
    const auto report = [attention](benchmark::State& state, auto& x, double) {
        state.counters["times_cheaper"] = times_as_long([&] { x.run(scaled_dot_product); }, [&] { x.run(attention); });
    };
    add_pair("mask", name + "/n" + std::to_string(n), make, attention, scores, report);
}
template <class Mask>
void add(const std::string& name, Index n, const Mask& mask) {
    add(name, n, scaled_dot_product >> mask, masked_scores(mask));
}

/// 8 of 64 blocks of keys for each block of queries.
BlockSparse every_eighth_block() {
    RowMatrix<bool> blocks(64, 64);
    for (Index i = 0; i < 64; ++i) {
        for (Index j = 0; j < 64; ++j) blocks(i, j) = (i + j) % 8 == 0;
    }
    return block_sparse(blocks, 64, 64);
}

const bool added = [] {
    add("full", 8192, scaled_dot_product, scaled_dot_scores);
    add("causal", 8192, causal);
    add("causal_window64", 8192, causal & sliding_window(64));
    add("full", 4096, scaled_dot_product, scaled_dot_scores);
    // The same pairs by a predicate, asked at each call, and once for all.
    const auto by_predicate = mask([](Position p) { return p.key <= p.query; });
    add("causal", 4096, causal);
    add("causal_predicate", 4096, by_predicate);
    add("causal_compiled", 4096, compiled(by_predicate, {.queries = 4096, .keys = 4096}));
    add("documents512", 4096, documents({0, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096}));
    add("neighbourhood7x7", 4096, neighbourhood({.rows = 64, .columns = 64}, {.rows = 3, .columns = 3}));
    add("blocks8of64", 4096, every_eighth_block());
    return true;
}();

}  // namespace
}  // namespace attend::bench
