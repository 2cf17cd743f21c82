// Law 2, of single values in long sequences: one that is not finite shows in the rows that see its key, and changes no
// bit of any other, also where a team of blocks shares a tile that some see in part and others whole.

#include <attend/attend.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_visible_values {

TEMPLATE_TEST_CASE("a value that is not finite shows where its key is seen, and nowhere else", "", float, double,
                   Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const auto attention = scaled_dot_product >> causal;
    for (const Index n : {17, 70, 200, 520}) {
        for (const Index d_v : {18, 33}) {
            const auto x = random_operands<T>(
                {.queries = n, .keys = n, .d_q = 32, .d_k = 32, .d_v = d_v, .heads = 3, .kv_heads = 1}, 5);
            const RowMatrix<T> right = forward(attention, x).out;
            for (const Index key : {Index(0), std::min<Index>(20, n - 1), n / 2, n - 1}) {
                for (const double value : {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity}) {
                    CAPTURE(n, d_v, key, value);
                    auto poisoned = x;
                    poisoned.v(key, 1) = static_cast<T>(value);
                    RowMatrix<T> out = forward(attention, poisoned).out;
                    bool shows = true;
                    for (Index head = 0; head < 3; ++head) {
                        for (Index i = key; i < n; ++i) {
                            const double here = static_cast<double>(out(i, head * d_v + 1));
                            shows = shows && (std::isnan(value) ? std::isnan(here) : here == value);
                            out(i, head * d_v + 1) = right(i, head * d_v + 1);
                        }
                    }
                    CHECK(shows);
                    CHECK(same_bits(out, right));
                }
            }
        }
    }
}

}  // namespace test_visible_values
