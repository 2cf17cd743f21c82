// expect: attend: this engine cannot multiply in the scalar of this call: it needs void multiply(
#include <attend/attend.hpp>

using namespace attend;

struct Loops {
    static constexpr Kind kind = Kind::engine;
#ifdef ATTEND_TEST_VALID
    template <class T>
    void multiply(const StridedMatrix<T>&, Index, Index, const T*, Index, T*, const ProductOptions<T>&) const {}
#else
    void multiply(Index, Index, Index) const {}
#endif
};

void call(const Eigen::MatrixXf& x) { (scaled_dot_product >> Loops())(x, x, x); }
