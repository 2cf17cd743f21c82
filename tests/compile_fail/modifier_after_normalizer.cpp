// expect: a normalizer stands last: nothing but an engine can follow it
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> soft_cap(30.f) >> softmax;
#else
auto attention = scaled_dot_product >> softmax >> soft_cap(30.f);
#endif
