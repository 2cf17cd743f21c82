// expect: a score stands first: score >> modifiers >> mask >> normalizer
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = cosine(10.f) >> causal;
#else
auto attention = causal >> cosine(10.f);
#endif
