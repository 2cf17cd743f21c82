#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added = (add_features<float, Kv<float, float>>(), add_additive<double, Kv<double, double>>(),
                    add_rows_of_scores<float, Kv<float, float>>(), add_causal<double, Kv<double, std::int8_t>>(), true);

}  // namespace
