#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_modifiers<float>(), true);

}  // namespace
