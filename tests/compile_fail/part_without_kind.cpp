// expect: attend: only a modifier, a mask, a normalizer or an engine can follow >>
#include <attend/attend.hpp>

using namespace attend;

struct Half {
    auto operator()(auto s, auto) const { return s * decltype(s)(0.5f); }
};
int main() {
#ifdef ATTEND_TEST_VALID
    const auto attention = dot_product >> modifier(Half{});
    static_cast<void>(attention);
#else
    const auto attention = dot_product >> Half{};
    static_cast<void>(attention);
#endif
}
