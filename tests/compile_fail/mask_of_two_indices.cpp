// expect: attend: a mask is a predicate of a position: [](Position p) { return …; }
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto diagonal = mask([](Position p) { return p.query == p.key; });
#else
auto diagonal = mask([](Index query, Index key) { return query == key; });
#endif
