// expect: a normalizer stands last: nothing but an engine can follow it
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> causal >> sparsemax;
#else
auto attention = scaled_dot_product >> sparsemax >> causal;
#endif
