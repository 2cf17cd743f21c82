#include <limits>

#include <attend/core/all_finite.hpp>

#include <support/catch.hpp>

using namespace attend;
using attend::detail::all_finite;

namespace test_all_finite {

TEMPLATE_TEST_CASE("one number that is not finite is found wherever it stands, and none where there is none", "", float,
                   double) {
    using T = TestType;
    constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    for (const Index columns : {1, 3, 16, 71, 130}) {
        for (const Index rows : {0, 1, 2, 5}) {
            const Index apart = columns + 2;
            // What stands between the rows is not looked at, and the largest numbers are finite.
            RowMatrix<T> x = RowMatrix<T>::Constant(rows, apart, nan);
            x.leftCols(columns).setConstant(std::numeric_limits<T>::max());
            const StridedMatrix<T> down{x.data(), apart, 1}, across{x.data(), 1, apart};
            CHECK(all_finite(down, rows, columns));
            CHECK(all_finite(across, columns, rows));
            for (Index i = 0; i < rows; ++i) {
                for (Index j = 0; j < columns; ++j) {
                    for (const T bad : {nan, infinity, -infinity}) {
                        x(i, j) = bad;
                        CHECK_FALSE(all_finite(down, rows, columns));
                        CHECK_FALSE(all_finite(across, columns, rows));
                    }
                    x(i, j) = -std::numeric_limits<T>::denorm_min();
                }
            }
        }
    }
}

}  // namespace test_all_finite
