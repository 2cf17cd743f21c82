#include <attend/mixer/recurrent_cache.hpp>

#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_recurrent_cache {

TEST_CASE("each head of each sequence has a state of its own, which sequences forget and share") {
    RecurrentCache<float> cache({.heads = 2, .state = {3, 4}, .sequences = 3});
    for (Index s = 0; s < 3; ++s) {
        for (Index h = 0; h < 2; ++h) {
            CHECK((cache.state(s, h).rows() == 3 && cache.state(s, h).cols() == 4 && cache.state(s, h).isZero(0)));
            cache.state(s, h).setConstant(static_cast<float>(10 * s + h));
        }
        cache.advance(s + 1, s);
    }
    const auto holds = [&](Index s, Index h, float value) {
        const auto& read = cache;
        return (read.state(s, h).array() == value).all();
    };
    CHECK((holds(0, 1, 1) && holds(1, 0, 10) && holds(2, 1, 21) && cache.tokens(2) == 3));
    cache.copy(2, 0);
    CHECK((holds(0, 0, 20) && holds(0, 1, 21) && holds(1, 1, 11) && cache.tokens(0) == 3));
    cache.reset(1);
    CHECK((holds(1, 0, 0) && holds(1, 1, 0) && holds(2, 0, 20) && cache.tokens(1) == 0 && cache.tokens(2) == 3));
}

TEST_CASE("what is not there is refused by name") {
    RecurrentCache<double> cache({.heads = 2, .state = {3, 4}});
    CHECK(refusal([&] { cache.state(0, 2); }) == "recurrent cache: state of head 2, but there are 2");
    CHECK(refusal([&] { cache.state(-1, 0); }) == "recurrent cache: state of sequence -1, but there are 1");
    CHECK(refusal([&] { cache.copy(0, 1); }) == "recurrent cache: copy of sequence 1, but there are 1");
    CHECK(refusal([&] { cache.reset(1); }) == "recurrent cache: reset of sequence 1, but there are 1");
    CHECK(refusal([&] { static_cast<void>(cache.tokens(1)); }) ==
          "recurrent cache: tokens of sequence 1, but there are 1");
    CHECK(refusal([&] { cache.advance(1, 1); }) == "recurrent cache: advance of sequence 1, but there are 1");
    const std::string words =
        "recurrent cache: sequences and heads must be above 0, states of no negative size, and fit into memory, got ";
    CHECK(refusal([&] { RecurrentCache<double>({.heads = 0, .state = {1, 1}}); }) == words + "1, 0 and 1x1");
    constexpr Index large = Index(1) << 40;
    CHECK(refusal([&] { RecurrentCache<double>({.heads = large, .state = {large, large}}); }).starts_with(words));
}

}  // namespace test_recurrent_cache
