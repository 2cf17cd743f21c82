// expect: attend: dispatched: the modifiers may be soft_cap, alibi and bias(matrix), in this order
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline auto attention = dispatched(scaled_dot_product >> soft_cap(30) >> alibi(0.125));
#else
inline auto attention = dispatched(scaled_dot_product >> alibi(0.125) >> soft_cap(30));
#endif
