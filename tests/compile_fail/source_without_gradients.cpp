// expect: attend: a source's gradients go to void add(Index sequence, Index head, Index begin
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
    RowBlock<float> value_rows(Index, Index, Index, Index, float* room) const { return {room, 1, 1, 1}; }
};
struct Gradients {
#ifdef ATTEND_TEST_VALID
    void add(Index, Index, Index, const RowBlock<float>&, const RowBlock<float>&) {}
#else
    void add(Index, const RowBlock<float>&, const RowBlock<float>&) {}
#endif
};

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dq) {
    Gradients gradients;
    dot_product.backward(x, Ones{}, x, lse, x, dq, gradients);
}
