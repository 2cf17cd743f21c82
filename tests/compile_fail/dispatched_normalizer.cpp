// expect: attend: dispatched: the normalizer must be softmax or softmax_with_sink
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline auto attention = dispatched(scaled_dot_product >> softmax_with_sink(0.5));
#else
inline auto attention = dispatched(scaled_dot_product >> sparsemax);
#endif
