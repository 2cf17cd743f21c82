// expect: attend: this key source does not fit a call in the scalar of q: it needs sequences, heads, keys
#include <attend/attend.hpp>

using namespace attend;

struct Ones {
    static constexpr Kind kind = Kind::source;
    Index sequences() const { return 1; }
    Index heads() const { return 1; }
    Index keys(Index) const { return 1; }
    Index key_width() const { return 1; }
    Index value_width() const { return 1; }
    RowBlock<float> key_rows(Index, Index, Index, Index, float* room) const { return {room, 1, 1, 1}; }
#ifdef ATTEND_TEST_VALID
    RowBlock<float> value_rows(Index, Index, Index, Index, float* room) const { return {room, 1, 1, 1}; }
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& q) { return dot_product(q, Ones{}); }
