// expect: attend: this mask lacks bool operator()(Position) const
#include <attend/attend.hpp>

using namespace attend;

struct FirstKey {
    static constexpr Kind kind = Kind::mask;
#ifdef ATTEND_TEST_VALID
    bool operator()(const Position& p) const { return p.key == 0; }
#else
    bool operator()(const Position& p) { return p.key == 0; }
#endif
};
auto attention = scaled_dot_product >> FirstKey();
