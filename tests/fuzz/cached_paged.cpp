#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added = (add_causal<float, Paged<float, float>>(), add_window<float, Paged<float, Eigen::bfloat16>>(),
                    add_sigmoid<float, Paged<float, std::int8_t>>(), add_causal<float, Paged<float, attend::Int4>>(),
                    add_rows_of_scores<double, Paged<double, double>>(), true);

}  // namespace
