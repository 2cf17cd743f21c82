// expect: attend: a modifier is a formula of a score and its position: [](auto s, auto p) { … }
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto twice = modifier([](auto s, auto) { return 2 * s; });
#else
auto twice = modifier([](auto s) { return 2 * s; });
#endif
