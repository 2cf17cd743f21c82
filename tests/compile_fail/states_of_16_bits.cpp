// expect: attend: a recurrence's states are float or double: what calls compute in
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Scalar = float;
#else
using Scalar = Eigen::half;
#endif

RecurrentCache<Scalar> cache() { return RecurrentCache<Scalar>({.heads = 2, .state = {4, 4}}); }
