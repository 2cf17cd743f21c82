// expect: attend: >> binds more tightly than |: put the masks in parentheses, a >> (mask | mask)
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> (causal | prefix(4));
#else
auto attention = scaled_dot_product >> causal | prefix(4);
#endif
