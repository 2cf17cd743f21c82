#include <fuzz/compositions.hpp>

namespace {

const bool added_normalizers = (fuzz::add_normalizers<float>(), true);

}  // namespace
