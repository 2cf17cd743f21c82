// expect: attend: dispatched: the score must be dot_product or scaled_dot_product
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline auto attention = dispatched(scaled_dot_product >> causal);
#else
inline auto attention = dispatched(cosine(10) >> causal);
#endif
