#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added = (add_causal<float, Kv<float, attend::Int4>>(), add_additive<float, Kv<float, attend::Int4>>(),
                    add_sigmoid<double, Kv<double, attend::Int4>>(), true);

}  // namespace
