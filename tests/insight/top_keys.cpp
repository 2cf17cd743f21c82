// The keys of the largest weights against a sort of the weights that the same call gives.

#include <attend/insight/top_keys.hpp>

#include <numeric>

#include <support/refusal.hpp>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_top_keys {

TEMPLATE_TEST_CASE("top keys are those of the largest weights, in order", "", float, double) {
    for_each_known<TestType>([](const auto& known) {
        for (const Index k : {1, 5}) {
            auto top = top_keys<TestType>(k);
            known.show_to({top});
            REQUIRE(top.keys().rows() == known.rows());
            REQUIRE(top.keys().cols() == known.heads() * k);
            bool same = true;
            for (Index head = 0; head < known.heads(); ++head) {
                for (Index row = 0; row < known.rows(); ++row) {
                    std::vector<Index> keys(static_cast<std::size_t>(known.keys()));
                    std::iota(keys.begin(), keys.end(), 0);
                    std::stable_sort(keys.begin(), keys.end(), [&](Index a, Index b) {
                        return known.weight(head, row, a) > known.weight(head, row, b);
                    });
                    for (Index i = 0; i < k; ++i) {
                        const Index key = i < known.keys() ? keys[static_cast<std::size_t>(i)] : -1;
                        const double weight = key < 0 ? 0 : known.weight(head, row, key);
                        same = same && top.keys()(row, head * k + i) == (weight > 0 ? key : -1) &&
                               static_cast<double>(top.weights()(row, head * k + i)) == weight;
                    }
                }
            }
            CHECK(same);
        }
    });
}

TEST_CASE("no keys at all are refused in words") {
    CHECK(refusal([] { top_keys<float>(0); }) == "top_keys: needs at least one key, got 0");
}

}  // namespace test_top_keys
