#include <fuzz/compositions.hpp>

namespace {

const bool added = (fuzz::add_normalizers<double>(), true);

}  // namespace
