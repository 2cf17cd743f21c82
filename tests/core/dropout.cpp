// The factors of dropout, pair by pair and by packets.

#include <attend/core/dropout.hpp>

#include <vector>

#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;

namespace test_dropout {
using attend::detail::DropoutFactors;

namespace {

template <class T>
void check_lanes_are_scalars() {
    constexpr Index w = attend::detail::simd::width<T>, lanes = 2 * w, keys = 11;
    const DropoutFactors factors(Dropout{.rate = 0.3, .seed = 12345678901234567});
    for (const Index count : {Index(1), w}) {
        std::vector<T> weights(static_cast<std::size_t>(lanes * keys), T(1));
        const LanePosition<T> p{{40, 1, count}, 64, {37, 1, count}, 3, 1, 2};
        factors.apply(weights.data(), lanes, keys, p);
        for (Index j = 0; j < keys; ++j) {
            for (Index i = 0; i < lanes; ++i) {
                const T expected = i < count ? factors.at<T>({40 + i, 64 + j, 37 + i, 3, 1, 2}) : T(1);
                CHECK(weights[static_cast<std::size_t>(j * lanes + i)] == expected);
            }
        }
    }
}

}  // namespace

TEST_CASE("packets have the factors of their pairs") {
    check_lanes_are_scalars<float>();
    check_lanes_are_scalars<double>();
}

TEST_CASE("as many weights are dropped as the rate says, and the others keep the mean") {
    for (const double rate : {0.1, 0.5, 0.9}) {
        const DropoutFactors factors(Dropout{.rate = rate, .seed = 7});
        double sum = 0, dropped = 0;
        constexpr Index n = 300;
        for (Index query = 0; query < n; ++query) {
            for (Index key = 0; key < n; ++key) {
                const double factor = factors.at<double>({.query = query, .key = key});
                CHECK((factor == 0 || factor == 1 / (1 - rate)));
                sum += factor;
                dropped += factor == 0 ? 1 : 0;
            }
        }
        // Four standard deviations of the binomial distribution.
        CHECK(std::abs(dropped / (n * n) - rate) < 4 * std::sqrt(rate * (1 - rate)) / n);
        CHECK(std::abs(sum / (n * n) - 1) < 4 * std::sqrt(rate / (1 - rate)) / n);
    }
}

TEST_CASE("seed, sequence, head, query and key each make another draw") {
    const auto draws = [](std::uint64_t seed, const Position& offset) {
        const DropoutFactors factors(Dropout{.rate = 0.5, .seed = seed});
        std::vector<double> all;
        for (Index i = 0; i < 64; ++i) {
            Position p = offset;
            p.query += i;
            all.push_back(factors.at<double>(p));
        }
        return all;
    };
    const auto base = draws(1, {});
    CHECK(base == draws(1, {}));
    CHECK(base != draws(2, {}));
    CHECK(base != draws(1, {.query = 100}));
    CHECK(base != draws(1, {.key = 1}));
    CHECK(base != draws(1, {.key = 4}));
    CHECK(base != draws(1, {.head = 1}));
    CHECK(base != draws(1, {.sequence = 1}));
}

TEST_CASE("a rate of 0 does nothing, others must be below 1") {
    CHECK(!DropoutFactors());
    CHECK(!DropoutFactors(Dropout{.rate = 0, .seed = 3}));
    CHECK(DropoutFactors(Dropout{.rate = 0.1, .seed = 3}));
    for (const double rate : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()})
        CHECK(test::refusal([&] { DropoutFactors(Dropout{.rate = rate}); }).starts_with("dropout: the rate must be"));
}

}  // namespace test_dropout
