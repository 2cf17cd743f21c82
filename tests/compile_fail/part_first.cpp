// expect: a score stands first: score >> modifiers >> mask >> normalizer
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> alibi(0.125f) >> causal;
#else
auto attention = alibi(0.125f) >> causal;
#endif
