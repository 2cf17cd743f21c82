// expect: attend: a LocationDecoder needs a score that knows a history, in the scalar of the keys
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
using Decoded = LocationSensitiveAttention<float>;
#else
using Decoded = AdditiveAttention<float>;
#endif

void decode(const Decoded& attention, const RowMatrix<float>& k) { LocationDecoder decoder(attention, k, k); }
