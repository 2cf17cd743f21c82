// expect: attend: this mask has a cover that does not fit
#include <attend/attend.hpp>

using namespace attend;

struct OddKeys {
    static constexpr Kind kind = Kind::mask;

    bool operator()(Position p) const { return p.key % 2 == 1; }
#ifdef ATTEND_TEST_VALID
    Cover cover(const Tile&) const { return Cover::some; }
#else
    Cover cover(Index, Index) const { return Cover::some; }
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return (dot_product >> OddKeys{})(x, x, x); }
