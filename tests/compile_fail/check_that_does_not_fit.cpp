// expect: attend: this part has a check that does not fit
#include <attend/attend.hpp>

using namespace attend;

struct OddKeys {
    static constexpr Kind kind = Kind::mask;

    bool operator()(Position p) const { return p.key % 2 == 1; }
#ifdef ATTEND_TEST_VALID
    void check(const Shape&) const {}
#else
    void check(Index) const {}
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return (dot_product >> OddKeys{})(x, x, x); }
