// expect: -ffast-math removes the infinities and NaNs that masks and softmax rely on
// flags: -ffast-math
#ifdef ATTEND_TEST_VALID
#define ATTEND_ALLOW_FAST_MATH
#endif
#include <attend/attend.hpp>
