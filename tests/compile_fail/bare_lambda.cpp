// expect: attend: only a modifier, a mask, a normalizer or an engine can follow >>; wrap a lambda in modifier(…) or
// mask(…)
#include <attend/attend.hpp>

using namespace attend;

auto twice = [](auto s, auto) { return 2 * s; };

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> modifier(twice);
#else
auto attention = scaled_dot_product >> twice;
#endif
