#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added =
    (add_causal<float, Kv<float, Eigen::bfloat16>>(), add_window<float, Kv<float, Eigen::bfloat16>>(),
     add_causal<Eigen::bfloat16, Kv<float, Eigen::bfloat16>>(), add_sigmoid<float, Kv<float, Eigen::half>>(), true);

}  // namespace
