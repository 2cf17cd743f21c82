// expect: attend: this normalizer has a take, but is no fold: it needs State<P>, take, merge, factor, lse and weight
#include <attend/attend.hpp>

using namespace attend;

struct First {
    static constexpr Kind kind = Kind::normalizer;
    template <class P>
    struct State {
        P weight = P(0);
    };
    template <class P>
    P take(auto&, State<P>&, Index) const {
        return P(1);
    }
};

#ifdef ATTEND_TEST_VALID
auto attention = scaled_dot_product >> softmax;
#else
auto attention = scaled_dot_product >> First{};
#endif
