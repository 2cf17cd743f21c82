#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_some<Eigen::half>(), true);

}  // namespace
