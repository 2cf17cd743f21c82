// expect: attend: dispatched: a mask that lists its keys, such as neighbourhood, is not served
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline auto attention = dispatched(scaled_dot_product >> documents({0, 17, 40}));
#else
inline auto attention =
    dispatched(scaled_dot_product >> neighbourhood({.rows = 8, .columns = 8}, {.rows = 1, .columns = 1}));
#endif
