// expect: an engine stands last: nothing can follow it
#include <attend/attend.hpp>

using namespace attend;

struct Loops {
    static constexpr Kind kind = Kind::engine;
    template <class T>
    void multiply(const StridedMatrix<T>&, Index, Index, const T*, Index, T*, const ProductOptions<T>&) const {}
};

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> causal >> Loops();
#else
auto attention = scaled_dot_product >> Loops() >> causal;
#endif
