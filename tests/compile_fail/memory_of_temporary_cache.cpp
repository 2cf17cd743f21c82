// expect: attend: as_memory of a temporary cache would be gone when it is read: give the cache a name
#include <attend/attend.hpp>

using namespace attend;

auto memory_of(const KvCache<float>& cache) {
#ifdef ATTEND_TEST_VALID
    return as_memory(cache);
#else
    return as_memory(KvCache<float>(cache));
#endif
}
