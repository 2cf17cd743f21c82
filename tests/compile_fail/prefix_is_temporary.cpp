// expect: attend: a PrefixedCache borrows the prefix, and this one is a temporary: give it a name
#include <attend/attend.hpp>

using namespace attend;

inline Index keys(KvCache<float>& answers) {
#ifdef ATTEND_TEST_VALID
    const KvCache<float> prompt({.heads = 1, .d_k = 4, .capacity = 8});
    return PrefixedCache<float>(prompt, answers).keys();
#else
    return PrefixedCache<float>(KvCache<float>({.heads = 1, .d_k = 4, .capacity = 8}), answers).keys();
#endif
}
