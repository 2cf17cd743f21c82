// expect: a modifier stands before the mask
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> soft_cap(30.f) >> causal;
#else
auto attention = scaled_dot_product >> causal >> soft_cap(30.f);
#endif
