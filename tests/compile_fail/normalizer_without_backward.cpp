// expect: attend: this normalizer lacks normalize(row, where) or backward(p, dp, lse, where, gradient)
#include <attend/attend.hpp>

using namespace attend;

struct Identity {
    static constexpr Kind kind = Kind::normalizer;

    template <class T>
    T normalize(std::span<T>, const RowPosition&) const {
        return T(0);
    }
#ifdef ATTEND_TEST_VALID
    template <class T>
    void backward(std::span<const T>, std::span<T>, T, const RowPosition&, Identity*) const {}
#endif
};
auto attention = scaled_dot_product >> Identity();
