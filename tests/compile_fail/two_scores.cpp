// expect: a score stands first: score >> modifiers >> mask >> normalizer
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> softmax;
#else
auto attention = scaled_dot_product >> dot_product;
#endif
