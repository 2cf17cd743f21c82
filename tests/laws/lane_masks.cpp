// What a mask says of a packet of queries is what it says of each, whatever stands behind the last.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lane_masks {
namespace {

constexpr Index queries = 70, keys = 9, offset = 2;

template <class T, class M>
void check_lanes(const M& mask) {
    static_assert(detail::LaneWiseMask<M, T>);
    constexpr Index w = detail::simd::width<T>;
    for (Index count = 1; count <= w; ++count) {
        for (Index row = 0; row + count <= queries; ++row) {
            for (Index key = 0; key < keys; ++key) {
                const LaneMask<T> kept = mask(LanePosition<T>{{offset + row, 1, count}, key, {row, 1, count}, 0, 0, 0});
                T ones[w];
                detail::simd::store(ones, detail::simd::select(kept.packet, detail::simd::broadcast(T(1)),
                                                               detail::simd::broadcast(T(0))));
                for (Index i = 0; i < count; ++i) {
                    CAPTURE(count, row, key, i);
                    REQUIRE(ones[i] == (mask(Position{.query = offset + row + i, .key = key, .row = row + i}) ? 1 : 0));
                }
            }
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("masks of packets say of each query what they say of it alone", "", float, double) {
    Random random(1);
    const Eigen::MatrixXd x = random_matrix<double>(random, queries, keys);
    const auto dense = dense_mask((x.array() > 0).matrix());
    check_lanes<TestType>(causal);
    check_lanes<TestType>(sliding_window(3, 1));
    check_lanes<TestType>(dense);
    check_lanes<TestType>(causal & ~dense);
    check_lanes<TestType>(compiled(dense, {.queries = queries, .keys = keys, .query_offset = offset}));
}

}  // namespace test_lane_masks
