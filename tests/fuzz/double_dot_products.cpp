#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_dot_products<double>(), true);

}  // namespace
