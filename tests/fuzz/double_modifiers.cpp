#include <fuzz/compositions.hpp>

namespace {

const bool added_modifiers = (fuzz::add_modifiers<double>(), true);

}  // namespace
