#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added =
    (add_causal<float, Kv<float, std::int8_t>>(), add_window<float, Kv<float, std::int8_t>>(),
     add_features<float, Kv<float, attend::Float8E4M3>>(), add_causal<float, Kv<float, attend::Float8E5M2>>(), true);

}  // namespace
