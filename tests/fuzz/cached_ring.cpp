#include <fuzz/cached_case.hpp>

namespace {

using namespace fuzz;

const bool added = (add_causal<float, Ring<float, float>>(), add_window<double, Ring<double, double>>(),
                    add_causal<float, Ring<float, attend::Float8E4M3>>(), add_window<float, Ring<float, std::int8_t>>(),
                    add_features<Eigen::half, Ring<float, Eigen::half>>(), true);

}  // namespace
