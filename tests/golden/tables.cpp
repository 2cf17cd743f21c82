// Golden ALiBi slopes and T5 buckets.

#include <attend/attend.hpp>
#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_tables {

TEST_CASE("golden ALiBi slopes") {
    const Case c = GENERATE(from_range(golden_cases_of("alibi_slopes")));
    Comparison comparison(c);
    comparison.check("slopes", alibi_slopes(c.integer("heads")));
    comparison.finish();
}

TEST_CASE("golden T5 buckets, every one of them") {
    const Case c = GENERATE(from_range(golden_cases_of("t5_bucket")));
    const RelativeBuckets options{.buckets = c.integer("num_buckets"),
                                  .max_distance = c.integer("max_distance"),
                                  .bidirectional = c.integer("bidirectional") == 1};
    const std::vector<Index> relative = c.in("relative").as<Index>(), expected = c.out("bucket").as<Index>();
    std::vector<Index> buckets;
    for (const Index distance : relative) buckets.push_back(t5_bucket(distance, options));
    INFO(c.name);
    CHECK(buckets == expected);
}

}  // namespace test_tables
