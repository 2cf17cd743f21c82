#include <fuzz/compositions.hpp>

namespace {

const bool added_normalizers = (fuzz::add_normalizers<double>(), true);

}  // namespace
