// Small shapes, where setting up costs more than computing.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

void add(Index queries, Index keys, Index width) {
    const auto make = [=] {
        return Operands<float>({.queries = queries, .keys = keys, .d_q = width, .d_k = width, .d_v = width});
    };
    const std::string name = "q" + std::to_string(queries) + "_k" + std::to_string(keys) + "_d" + std::to_string(width);
    add_pair("small", name, make, scaled_dot_product, scaled_dot_scores);
}

const bool added = [] {
    add(1, 1, 1);
    add(2, 2, 2);
    add(4, 4, 8);
    add(1, 32, 64);
    add(8, 8, 16);
    add(16, 16, 32);
    add(32, 32, 64);
    return true;
}();

}  // namespace
}  // namespace attend::bench
