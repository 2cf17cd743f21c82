// Eight heads of width 64 in the layouts that users have; `times_contiguous` is over heads that are row-major matrices
// of their own.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

template <class Layout>
void add(const std::string& name, Index n) {
    const Shape shape{.heads = 8, .kv_heads = 8, .queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64};
    const auto report = [shape](benchmark::State& state, auto& x, double) {
        Operands<float> contiguous(shape);
        state.counters["times_contiguous"] =
            times_as_long([&] { x.run(scaled_dot_product); }, [&] { contiguous.run(scaled_dot_product); });
    };
    const auto make = [shape] { return Operands<float, Layout>(shape); };
    add_pair("layout", name + "/n" + std::to_string(n), make, scaled_dot_product, scaled_dot_scores, report);
}

const bool added = [] {
    for (const Index n : {128, 1024}) {
        add<Contiguous>("contiguous", n);
        add<SideBySide<Eigen::RowMajor>>("head_interleaved", n);
        add<SideBySide<Eigen::ColMajor>>("column_major", n);
    }
    return true;
}();

}  // namespace
}  // namespace attend::bench
