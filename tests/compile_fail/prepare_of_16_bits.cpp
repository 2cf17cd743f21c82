// expect: attend: prepare takes keys of float or double: features of 16-bit keys are no 16-bit numbers
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Scalar = float;
#else
using Scalar = Eigen::half;
#endif

void decode(const RowMatrix<Scalar>& k, const RowMatrix<Scalar>& v) { scaled_dot_product.prepare(k, v); }
