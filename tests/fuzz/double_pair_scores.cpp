#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_pair_scores<double>(), true);

}  // namespace
