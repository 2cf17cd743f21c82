#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_pair_scores<float>(), true);

}  // namespace
