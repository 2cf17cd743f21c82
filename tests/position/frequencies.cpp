// The frequencies of scaled RoPE, by the definitions of their papers in plain double.

#include <cmath>

#include <attend/position/rope.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_frequencies {
namespace {

const double pi = std::acos(-1.0);

double plain(Index i, Index width, double base) {
    return 1 / std::pow(base, 2 * static_cast<double>(i) / static_cast<double>(width));
}
double frequency(const Rope& rope, Index i) { return rope.frequencies.at(static_cast<std::size_t>(i)); }

}  // namespace

TEST_CASE("position interpolation divides positions by the factor") {
    const Rope rope = Rope::linear(64, 4.0);
    REQUIRE(rope.frequencies.size() == 32);
    for (Index i = 0; i < 32; ++i) CHECK(frequency(rope, i) == Approx(plain(i, 64, 1e4) / 4).epsilon(1e-14));
}

TEST_CASE("NTK-aware interpolation leaves the highest frequency and divides the lowest by the factor") {
    const Rope rope = Rope::ntk(128, 8.0);
    CHECK(rope.frequencies.empty());
    CHECK(plain(0, 128, rope.base) == 1.0);
    CHECK(plain(63, 128, rope.base) == Approx(plain(63, 128, 1e4) / 8).epsilon(1e-13));
}

TEST_CASE("Llama 3's bands: short waves stay, long ones are divided, those between are mixed") {
    const double factor = 8, low = 1, high = 4, original = 8192;  // Llama 3.1
    const Rope rope = Rope::llama3(128, {.factor = 8, .original = 8192, .low = 1, .high = 4}, 500000.0);
    int bands[3] = {};
    for (Index i = 0; i < 64; ++i) {
        const double theta = plain(i, 128, 500000), wavelength = 2 * pi / theta;
        double right;
        if (wavelength < original / high) {
            right = theta, ++bands[0];
        } else if (wavelength > original / low) {
            right = theta / factor, ++bands[1];
        } else {
            const double smooth = (original / wavelength - low) / (high - low);
            right = (1 - smooth) * theta / factor + smooth * theta, ++bands[2];
        }
        CHECK(frequency(rope, i) == Approx(right).epsilon(1e-13));
    }
    CHECK((bands[0] > 0 && bands[1] > 0 && bands[2] > 0));
    CHECK(Rope::llama3(128).frequencies == rope.frequencies);  // the defaults
    CHECK(rope.magnitude == 1);
}

TEST_CASE("YaRN by turns, as the paper defines it") {
    const double factor = 16, original = 4096, alpha = 1, beta = 32;
    const Rope rope = Rope::yarn(128, {.factor = factor, .original = 4096, .ramp = YarnRamp::turns});
    for (Index i = 0; i < 64; ++i) {
        const double theta = plain(i, 128, 1e4), r = original / (2 * pi / theta);
        const double gamma = r < alpha ? 0 : r > beta ? 1 : (r - alpha) / (beta - alpha);
        CHECK(frequency(rope, i) == Approx((1 - gamma) * theta / factor + gamma * theta).epsilon(1e-13));
    }
    CHECK(rope.magnitude == Approx(0.1 * std::log(factor) + 1).epsilon(1e-15));
    CHECK(Rope::yarn(128, {.factor = 0.5}).magnitude == 1);
}

TEST_CASE("YaRN by pairs: the ramp runs between the whole pairs around 32 turns and around one") {
    // 4096 / (32 · 2π) = 20.37 = 10000^{i/64} at i = 20.94, and 4096 / 2π = 651.9 at i = 45.03.
    const Rope rope = Rope::yarn(128, {.factor = 16, .original = 4096});
    for (Index i = 0; i < 64; ++i) {
        const double theta = plain(i, 128, 1e4);
        const double interpolated = i <= 20 ? 0 : i >= 46 ? 1 : (static_cast<double>(i) - 20) / 26;
        CHECK(frequency(rope, i) == Approx(interpolated * theta / 16 + (1 - interpolated) * theta).epsilon(1e-13));
    }
}

TEST_CASE("a factor of 1 changes nothing") {
    for (const Rope& rope : {Rope::linear(32, 1), Rope::yarn(32, {}), Rope::llama3(32, {.factor = 1}, 1e4)}) {
        for (Index i = 0; i < 16; ++i) CHECK(frequency(rope, i) == Approx(plain(i, 32, 1e4)).epsilon(1e-14));
        CHECK(rope.magnitude == 1);
    }
    CHECK(Rope::ntk(32, 1).base == 1e4);
}

TEST_CASE("scalings that make no sense are refused") {
    CHECK(refusal([] { Rope::linear(7, 2); }) == "rope: the width of a scaled rope must be even and above 0, got 7");
    CHECK(refusal([] { Rope::linear(8, 0); }) == "rope: factor and base must be numbers above 0, got 0 and 10000");
    CHECK(refusal([] { Rope::ntk(2, 2); }) == "rope: ntk needs more than one pair of features, got the width 2");
    CHECK(refusal([] { Rope::yarn(8, {.factor = 2, .fast = 1, .slow = 1}); }) ==
          "rope: yarn needs an original context above 0, 0 < slow < fast and a base above 1, got 4096, 1, 1 and 10000");
    CHECK(refusal([] { Rope::llama3(8, {.low = 4, .high = 1}); }) ==
          "rope: llama3 needs an original context above 0 and 0 < low < high, got 8192, 4 and 1");
}

}  // namespace test_frequencies
