#include <attend/modifier/relative_bias.hpp>

#include <support/catch.hpp>

using namespace attend;

namespace test_relative_bias {
namespace {

const RelativeBuckets one_way{.buckets = 32, .max_distance = 128, .bidirectional = false};
const RelativeBuckets both_ways{.buckets = 32, .max_distance = 128, .bidirectional = true};

}  // namespace

TEST_CASE("buckets of one direction are exact, then grow, then end, and hold all later keys in the first") {
    for (Index distance = 0; distance < 16; ++distance) CHECK(t5_bucket(-distance, one_way) == distance);
    for (Index distance = 1; distance < 300; ++distance) {
        const Index step = t5_bucket(-distance, one_way) - t5_bucket(-(distance - 1), one_way);
        CHECK((step == 0 || step == 1));
    }
    CHECK(t5_bucket(-113, one_way) == 31);
    CHECK(t5_bucket(-112, one_way) == 30);  // 16 + ⌊16 log(7) / log(8)⌋
    CHECK(t5_bucket(-1000000, one_way) == 31);
    for (const Index later : {1, 5, 1000}) CHECK(t5_bucket(later, one_way) == 0);
}

TEST_CASE("buckets of both directions are two halves with the same distances") {
    CHECK(t5_bucket(0, both_ways) == 0);
    for (Index distance = 1; distance < 300; ++distance) {
        CHECK(t5_bucket(distance, both_ways) == t5_bucket(-distance, both_ways) + 16);
        CHECK(t5_bucket(-distance, both_ways) ==
              t5_bucket(-distance, {.buckets = 16, .max_distance = 128, .bidirectional = false}));
    }
}

TEST_CASE("a relative bias adds the table's entry of the bucket and the head") {
    const Eigen::MatrixXd table = Eigen::VectorXd::LinSpaced(32, 0.0, 31.0) * Eigen::RowVector3d(1.0, 10.0, 100.0);
    const auto shared = relative_bias(table.col(0)), each = relative_bias(table, one_way);
    for (const Index query : {-400, -100, -20, 0, 3, 20, 300}) {
        for (const Index key : {0, 7, 40, 500}) {
            for (const Index head : {0, 1, 2}) {
                const Position p{.query = query, .key = key, .row = 1, .head = head};
                CHECK(shared(0.5, p) == 0.5 + table(t5_bucket(key - query), 0));
                CHECK(each(0.5, p) == 0.5 + table(t5_bucket(key - query, one_way), head));
            }
        }
    }
}

}  // namespace test_relative_bias
