// What a mask says of a packet of queries, or of keys, is what it says of each, whatever stands behind the last.

#include <attend/attend.hpp>

#include <vector>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_lane_masks {
namespace {

constexpr Index queries = 70, keys = 37, offset = 2;

template <class M, class P>
void check_pairs(const M& mask, const P& pairs) {
    using T = detail::PositionScalar<P>;
    static_assert(detail::LaneWiseMask<M, P>);
    T ones[detail::simd::width<T>];
    detail::simd::store(
        ones, detail::simd::select(mask(pairs).packet, detail::simd::broadcast(T(1)), detail::simd::broadcast(T(0))));
    for (Index i = 0; i < detail::pairs_of(pairs); ++i) {
        const Position p = detail::scalar_position(pairs, i);
        CAPTURE(detail::pairs_of(pairs), p.row, p.key);
        REQUIRE(ones[i] == (mask(p) ? 1 : 0));
    }
}

template <class T, class M>
void check_lanes(const M& mask) {
    for (Index count = 1; count <= detail::simd::width<T>; ++count) {
        for (Index row = 0; row < queries; ++row) {
            for (Index key = 0; key < keys; ++key) {
                if (row + count <= queries)
                    check_pairs(mask, LanePosition<T>{{offset + row, 1, count}, key, {row, 1, count}, 0, 0, 0});
                if (key + count <= keys)
                    check_pairs(mask, KeyLanePosition<T>{offset + row, {key, 1, count}, row, 0, 0, 0});
            }
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("masks of packets say of each pair what they say of it alone", "", float, double) {
    Random random(1);
    const Eigen::MatrixXd x = random_matrix<double>(random, queries, keys);
    const auto dense = dense_mask((x.array() > 0).matrix());
    check_lanes<TestType>(causal);
    check_lanes<TestType>(sliding_window(3, 1));
    check_lanes<TestType>(dense);
    check_lanes<TestType>(causal & ~dense);
    check_lanes<TestType>(documents({5, 20, 20, 33, 61}));
    check_lanes<TestType>(lengths({20}));
    check_lanes<TestType>(causal & documents({0, 30, 100}) & ~lengths({9}));
    std::vector<Index> parents{-1};
    for (Index i = 1; i < 67; ++i) parents.push_back(random_index(random, -1, i - 1));
    check_lanes<TestType>(tree(parents, 3));
    check_lanes<TestType>(tree({-1, 0, 0, 1, 2, 2}, 20));
    check_lanes<TestType>(chunked(7, 1));
    check_lanes<TestType>(dilated(3) & ~dilated(6));
    check_lanes<TestType>(neighbourhood({.rows = 3, .columns = 5, .depth = 4}, {.rows = 1, .columns = 1, .depth = 1}));
    check_lanes<TestType>(neighbourhood({.rows = 6, .columns = 9}, {.rows = 2, .columns = 1}, Border::shift));
    check_lanes<TestType>(compiled(dense, {.queries = queries, .keys = keys, .query_offset = offset}));
}

}  // namespace test_lane_masks
