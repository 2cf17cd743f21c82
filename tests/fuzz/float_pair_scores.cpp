#include <fuzz/compositions.hpp>

namespace {

const bool added_pair_scores = (fuzz::add_pair_scores<float>(), true);

}  // namespace
