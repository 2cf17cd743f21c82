#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_modifiers<double>(), true);

}  // namespace
