#include <attend/mask/algebra.hpp>

#include <attend/mask/causal.hpp>
#include <attend/mask/lambda.hpp>
#include <attend/mask/prefix.hpp>
#include <attend/mask/sliding_window.hpp>
#include <support/catch.hpp>

using namespace attend;

namespace test_algebra {
namespace {

constexpr Position positions[] = {
    {.query = 0, .key = 0}, {.query = 4, .key = 2}, {.query = 2, .key = 4}, {.query = 9, .key = 1}};
constexpr Tile tile{.query_begin = 4, .query_end = 6, .key_begin = 0, .key_end = 4};

/// A mask with a given cover that keeps nothing or everything.
struct Fixed {
    static constexpr Kind kind = Kind::mask;

    Cover value;

    constexpr bool operator()(const Position&) const { return value == Cover::all; }
    constexpr Cover cover(const Tile&) const { return value; }
};

}  // namespace

TEST_CASE("masks combine pair by pair as booleans do") {
    const SlidingWindow window = sliding_window(3);
    for (const Position& p : positions) {
        CHECK((causal & window)(p) == (causal(p) && window(p)));
        CHECK((causal | window)(p) == (causal(p) || window(p)));
        CHECK((~causal)(p) == !causal(p));
        CHECK((~(causal & ~window) | prefix(1))(p) == (!(causal(p) && !window(p)) || p.key < 1));
        CHECK(Everything{}(p));
    }
}

TEST_CASE("covers combine as a logic of three values") {
    constexpr Cover none = Cover::none, some = Cover::some, all = Cover::all;
    for (const Cover c : {none, some, all}) {
        CHECK((Fixed{none} & Fixed{c}).cover(tile) == none);
        CHECK((Fixed{c} & Fixed{none}).cover(tile) == none);
        CHECK((Fixed{all} & Fixed{c}).cover(tile) == c);
        CHECK((Fixed{c} & Fixed{all}).cover(tile) == c);
        CHECK((Fixed{all} | Fixed{c}).cover(tile) == all);
        CHECK((Fixed{c} | Fixed{all}).cover(tile) == all);
        CHECK((Fixed{none} | Fixed{c}).cover(tile) == c);
        CHECK((Fixed{c} | Fixed{none}).cover(tile) == c);
    }
    CHECK((Fixed{some} & Fixed{some}).cover(tile) == some);
    CHECK((Fixed{some} | Fixed{some}).cover(tile) == some);
    CHECK((~Fixed{none}).cover(tile) == all);
    CHECK((~Fixed{some}).cover(tile) == some);
    CHECK((~Fixed{all}).cover(tile) == none);
}

TEST_CASE("a mask that offers no cover is covered by `some`, everything by `all`") {
    const auto even = mask([](Position p) { return p.key % 2 == 0; });
    CHECK(cover_of(even, tile) == Cover::some);
    CHECK(cover_of(Everything{}, tile) == Cover::all);
    CHECK((even & prefix(0)).cover(tile) == Cover::none);
}

TEST_CASE("masks without data can be combined at compile time and take no room") {
    constexpr auto both = causal & ~SlidingWindow{1, 1};
    STATIC_REQUIRE(both({.query = 5, .key = 2}));
    STATIC_REQUIRE_FALSE(both({.query = 5, .key = 4}));
    STATIC_REQUIRE(sizeof(causal & prefix(3)) == sizeof(Prefix));
}

}  // namespace test_algebra
