// Philox-4x32-10 against the known answers that its authors publish with Random123.

#include <attend/core/philox.hpp>

#include <support/catch.hpp>

namespace test_philox {

using attend::detail::philox;
using Words = std::array<std::uint64_t, 4>;

namespace {

Words words_of(Words counter, std::uint64_t key) {
    philox(counter, key);
    return counter;
}

}  // namespace

TEST_CASE("known answers") {
    CHECK(words_of({0, 0, 0, 0}, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(words_of({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffff) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(words_of({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

}  // namespace test_philox
