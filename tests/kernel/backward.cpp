// The backward kernel at infinite scores. What it makes of everything else the differential tests compare with the
// oracle (tests/fuzz).

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_backward {

TEST_CASE("a score of +∞ takes all weight, and infinite ones share it") {
    Operands<double> x = random_operands<double>({.queries = 3, .keys = 100, .d_q = 1, .d_k = 1, .d_v = 2}, 5);
    x.q.setOnes();
    for (const Index key : {20, 70}) x.k(key, 0) = std::numeric_limits<double>::infinity();
    const auto d = backward(dot_product, x);
    const RowMatrix<double> share = 0.5 * x.dout.colwise().sum();
    CHECK(distance(d.dv.row(20), share) <= 1e-15);
    CHECK(distance(d.dv.row(70), share) <= 1e-15);
    CHECK((d.dv.middleRows(21, 49).array() == 0).all());
}

}  // namespace test_backward
