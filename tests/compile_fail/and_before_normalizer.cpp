// expect: attend: a score stands first: score >> modifiers >> mask >> normalizer
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> (causal & sliding_window(4)) >> softmax;
#else
auto attention = scaled_dot_product >> causal& sliding_window(4) >> softmax;
#endif
