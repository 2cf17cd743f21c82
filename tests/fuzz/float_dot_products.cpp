#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_dot_products<float>(), true);

}  // namespace
