#include <fuzz/compositions.hpp>

namespace {

const bool added_dot_products = (fuzz::add_dot_products<double>(), true);

}  // namespace
