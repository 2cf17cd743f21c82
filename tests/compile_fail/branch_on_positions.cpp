// expect: choose lane by lane with select(condition, a, b), or take const Position& p to be asked pair by pair
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> modifier([](auto s, auto p) { return select(p.key > p.query, 2 * s, s); });
#else
auto attention = scaled_dot_product >> modifier([](auto s, auto p) {
                     if (p.key > p.query) return 2 * s;
                     return s;
                 });
#endif

Eigen::MatrixXf run(const Eigen::MatrixXf& x) { return attention(x, x, x); }
