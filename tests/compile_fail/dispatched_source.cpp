// expect: attend: dispatched: of key sources a KvCache is served
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline RowMatrix<float> f(const RowMatrix<float>& q, const KvCache<float, std::int8_t>& cache) {
    return dispatched(scaled_dot_product)(q, cache);
}
#else
inline RowMatrix<float> f(const RowMatrix<float>& q, const PagedCache<float>& cache) {
    return dispatched(scaled_dot_product)(q, cache);
}
#endif
