// A formula written for `auto` gives on lanes what it gives on scalars, lane by lane.

#include <attend/core/dual.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/math.hpp>
#include <attend/softmax/exp.hpp>

#include <cmath>

#include <support/catch.hpp>

namespace test_lanes {

// As one writes them: not all users are warned of the conversions that the language makes of numbers.
#pragma GCC diagnostic ignored "-Wconversion"

using namespace attend;

namespace {

/// The formula on a pack of scores and on each of them alone, at queries 5, 6, … of key 7.
template <class T, class F>
void check_lanes(const F& formula, double tolerance = 0) {
    constexpr Index width = attend::detail::simd::width<T>;
    T scores[width];
    for (Index i = 0; i < width; ++i) scores[i] = static_cast<T>(0.4 * static_cast<double>(i) - 1.3);
    const LanePosition<T> pack{{5, 1, width}, 7, {2, 1, width}, 3, 1, 4};
    const Lanes<T> together = static_cast<Lanes<T>>(formula(Lanes<T>::gather(scores, 1, width), pack));
    T lanes[width];
    attend::detail::simd::store(lanes, together.packet);
    for (Index i = 0; i < width; ++i) {
        const auto alone = static_cast<double>(static_cast<T>(formula(scores[i], Position{5 + i, 7, 2 + i, 3, 1, 4})));
        CHECK(std::abs(static_cast<double>(lanes[i]) - alone) <= tolerance * std::max(1.0, std::abs(alone)));
    }
    // And their derivatives, of which a fused operation may round one product less.
    tolerance = std::max(tolerance, 2 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    using D = Dual<Lanes<T>>;
    const D y = static_cast<D>(formula(D::variable(Lanes<T>::gather(scores, 1, width)), pack));
    attend::detail::simd::store(lanes, y.derivative().packet);
    for (Index i = 0; i < width; ++i) {
        const auto alone =
            static_cast<Dual<T>>(formula(Dual<T>::variable(scores[i]), Position{5 + i, 7, 2 + i, 3, 1, 4}));
        const auto slope = static_cast<double>(alone.derivative());
        CHECK(std::abs(static_cast<double>(lanes[i]) - slope) <= tolerance * std::max(1.0, std::abs(slope)));
    }
}

template <class T>
void check_formulas() {
    constexpr double ulps = 8 * static_cast<double>(std::numeric_limits<T>::epsilon());
    check_lanes<T>([](auto s, auto) { return 2 * s + 1 - s / 4; }, ulps);
    check_lanes<T>([](auto s, auto) { return -s * s; });
    check_lanes<T>([](auto s, auto p) { return s - decltype(s)(p.query - p.key) * decltype(s)(0.5); });
    check_lanes<T>([](auto s, auto p) { return s + decltype(s)(p.key - 3 * p.query) + decltype(s)(p.row + p.head); });
    check_lanes<T>([](auto s, auto p) { return s * decltype(s)(p.query % 3) + decltype(s)(p.query / 2); });
    check_lanes<T>([](auto s, auto p) { return select(p.query > p.key, s, decltype(s)(0)); });
    check_lanes<T>([](auto s, auto p) { return select(p.key >= p.query, s, 2 * s); });
    check_lanes<T>([](auto s, auto) { return select(s < decltype(s)(0), abs(s), max(s, decltype(s)(0.5))); });
    check_lanes<T>([](auto s, auto) { return min(s, decltype(s)(0.1)); });
    check_lanes<T>([](auto s, auto) { return exp(s) + tanh(s) + sin(s) + cos(s); }, ulps);
    check_lanes<T>([](auto s, auto) { return log(abs(s)) + sqrt(abs(s)); }, ulps);
}

/// Of distances, as one writes them.
template <class T>
void check_distances() {
    constexpr double ulps = 32 * static_cast<double>(std::numeric_limits<T>::epsilon());
    // Where a float constant makes a pair compute in float throughout, but lanes of double only up to the first lanes.
    constexpr double floats = 4 * static_cast<double>(std::numeric_limits<float>::epsilon());
    check_lanes<T>([](auto s, auto p) { return s - 0.1F * abs(p.query - p.key); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - 0.1 * (p.query - p.key); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s * (p.query - p.key) / 8.F; }, ulps);
    check_lanes<T>([](auto s, auto p) { return (p.query - p.key) * 0.25F + s; }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - (p.query - p.key) / 16.F + (p.key - p.query) / 3; }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - 0.1F * tanh(0.3F * (p.query - p.key)); }, floats);
    check_lanes<T>([](auto s, auto p) { return s - log(1 + abs(p.query - p.key)); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s * exp(-0.1F * abs(p.key - p.query)); }, floats);
    check_lanes<T>([](auto s, auto p) { return s - sqrt(abs(p.query - p.key)) + pow(p.query - p.key, 2) / 400; }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - 0.01F * (p.query - p.key) * (p.query - p.key); }, floats);
    check_lanes<T>([](auto s, auto p) { return s - 0.1F * min(abs(p.query - p.key), 7); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - 0.1F * max(abs(p.query - p.key), p.row / 2); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s - min(0.1F * abs(p.query - p.key), 1); }, ulps);
    check_lanes<T>([](auto s, auto p) { return max(0.5, s) + min(p.query - p.key, 0.5); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s + (p.query - p.row + p.key % (p.row + 1)); }, ulps);
    check_lanes<T>([](auto s, auto p) { return select(p.key == p.query, s + 1, s); }, ulps);
    check_lanes<T>([](auto s, auto p) { return select(p.key != p.query && s > 0, 0, 2 * s); }, ulps);
    check_lanes<T>([](auto s, auto p) { return select(p.head == 0 && p.query > p.row, s, 0.5F); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s * select(p.query - p.key > 4 || p.key < p.row, 1, 3); }, ulps);
    check_lanes<T>([](auto s, auto p) { return select(p.head == 1, s, p.query - p.key); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s * select(abs(p.query - p.key) <= 3, 0.5F, 1.5); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s + select(!(abs(p.query - p.key) % 3 == 0), 1, 0); }, ulps);
    check_lanes<T>([](auto s, auto p) { return s + select(s == 0 || s != s, 1, 0.1F * (p.query - p.key)); }, ulps);
    check_lanes<T>(
        [](auto s, auto p) { return s + select(0.5F * abs(p.query - p.key) < 3, -(p.query - p.key), +p.key); }, ulps);
}

}  // namespace

TEST_CASE("formulas on lanes are those on scalars") {
    check_formulas<float>();
    check_formulas<double>();
    check_distances<float>();
    check_distances<double>();
}

TEST_CASE("comparisons of positions are exact at any distance") {
    using P = LanePosition<float>;
    constexpr Index w = attend::detail::simd::width<float>, most = std::numeric_limits<Index>::max();
    for (const Index first : {Index(0), Index(1) << 24, (Index(1) << 40) + 3, most - w, -most}) {
        const P p{{first, 1, w}, 0, {0, 1, w}, 0, 0, 0};
        for (const Index key : {first, first + 1, first + w - 1, Index(7), Index(-7), most, -most}) {
            float below[w], equal[w], steep[w];
            attend::detail::simd::store(below, select(key < p.query, Lanes<float>(1), Lanes<float>(0)).packet);
            attend::detail::simd::store(equal, select(p.query == key, Lanes<float>(1), Lanes<float>(0)).packet);
            attend::detail::simd::store(steep, select(p.row * 33554433 > 33554432, 1.F, 0.F).packet);
            for (Index i = 0; i < w; ++i) {
                CHECK((below[i] == 1) == (key < first + i));
                CHECK((equal[i] == 1) == (key == first + i));
                CHECK((steep[i] == 1) == (i >= 1));
            }
        }
    }
}

}  // namespace test_lanes
