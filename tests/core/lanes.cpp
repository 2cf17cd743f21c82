// A formula written for `auto` gives on lanes what it gives on scalars, lane by lane.

#include <attend/core/lanes.hpp>
#include <attend/core/math.hpp>
#include <attend/softmax/exp.hpp>

#include <cmath>

#include <support/catch.hpp>

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
        const auto alone = static_cast<double>(formula(scores[i], Position{5 + i, 7, 2 + i, 3, 1, 4}));
        CHECK(std::abs(static_cast<double>(lanes[i]) - alone) <= tolerance * std::max(1.0, std::abs(alone)));
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

}  // namespace

TEST_CASE("formulas on lanes are those on scalars") {
    check_formulas<float>();
    check_formulas<double>();
}
