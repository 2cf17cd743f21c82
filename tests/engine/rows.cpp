// The products of a few rows against Eigen's, for every number of queries, odd widths and strides.

#include <attend/engine/rows.hpp>

#include <vector>

#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_rows {
namespace {

template <class T>
struct Case {
    Index count, keys, width, lanes = 4 * detail::simd::width<T>;
    RowMatrix<T> rows, q, s, o;

    Case(Index count_, Index keys_, Index width_) : count(count_), keys(keys_), width(width_) {
        Random random(static_cast<std::uint64_t>(1 + count + 10 * keys + 1000 * width));
        rows = random_matrix<T>(random, keys, width + 3);
        q = random_matrix<T>(random, count, width);
        s = random_matrix<T>(random, keys, lanes);
        o = random_matrix<T>(random, count, width);
    }
    auto operand() const { return rows.leftCols(width); }
    RowBlock<T> block() const { return {rows.data(), rows.cols(), keys, width}; }
};

template <class T, class F>
void for_each_case(F&& f) {
    for (Index count = 1; count <= detail::simd::width<T> + 3; ++count) {
        for (const Index keys : {1, 3, 16, 37}) {
            for (const Index width : {1, 5, 16, 21, 64}) {
                CAPTURE(count, keys, width);
                f(Case<T>(count, keys, width));
            }
        }
    }
}

template <class T>
constexpr double tolerance = 64 * std::numeric_limits<T>::epsilon();

}  // namespace

TEMPLATE_TEST_CASE("scores of a few rows are their products with the keys, and nothing else is written", "", float,
                   double) {
    for_each_case<TestType>([](Case<TestType> x) {
        const RowMatrix<TestType> before = x.s;
        const RowMatrix<TestType> expected = x.operand() * x.q.transpose();
        detail::dot_rows(x.block(), x.q.data(), x.count, x.s.data(), {1, x.lanes});
        CHECK((x.s.leftCols(x.count) - expected).cwiseAbs().maxCoeff() <= tolerance<TestType> * double(x.width));
        CHECK(x.s.rightCols(x.lanes - x.count) == before.rightCols(x.lanes - x.count));
    });
}

TEMPLATE_TEST_CASE("scores of a few rows may stand query by query, in whole packets", "", float, double) {
    for_each_case<TestType>([](const Case<TestType>& x) {
        constexpr Index w = detail::simd::width<TestType>;
        const Index whole = (x.keys + w - 1) / w * w;
        RowMatrix<TestType> side_by_side = x.s, s(x.count, whole);
        detail::dot_rows(x.block(), x.q.data(), x.count, side_by_side.data(), {1, x.lanes});
        detail::dot_rows(x.block(), x.q.data(), x.count, s.data(), {whole, 1});
        CHECK(s.leftCols(x.keys) == side_by_side.leftCols(x.count).transpose());
    });
}

TEMPLATE_TEST_CASE("outputs of a few rows are rescaled, and the weighted values added", "", float, double) {
    for_each_case<TestType>([](Case<TestType> x) {
        const std::vector<TestType> factor(static_cast<std::size_t>(x.count), TestType(0.5));
        const RowMatrix<TestType> weighted = x.s.leftCols(x.count).transpose() * x.operand();
        const RowMatrix<TestType> expected = TestType(0.5) * x.o + weighted;
        detail::add_rows(x.block(), x.s.data(), x.count, {1, x.lanes}, factor.data(), x.o.data());
        CHECK((x.o - expected).cwiseAbs().maxCoeff() <= tolerance<TestType> * double(x.keys));
        detail::add_rows<TestType>(x.block(), x.s.data(), x.count, {1, x.lanes}, nullptr, x.o.data());
        CHECK((x.o - weighted).cwiseAbs().maxCoeff() <= tolerance<TestType> * double(x.keys));
    });
}

TEMPLATE_TEST_CASE("a row's bits do not depend on the rows beside it", "", float, double) {
    for_each_case<TestType>([](Case<TestType> x) {
        const RowMatrix<TestType> before = x.o;
        detail::dot_rows(x.block(), x.q.data(), x.count, x.s.data(), {1, x.lanes});
        detail::add_to_rows(x.block(), x.s.data(), x.count, {1, x.lanes}, x.o.data());
        for (Index i = 0; i < x.count; ++i) {
            RowMatrix<TestType> s(x.keys, 2), o = before.row(i);
            detail::dot_rows(x.block(), &x.q(i, 0), 1, s.data(), {1, 2});
            detail::add_to_rows(x.block(), &x.s(0, i), 1, {1, x.lanes}, o.data());
            CHECK(s.col(0) == x.s.col(i));
            CHECK(o == x.o.row(i));
        }
    });
}

}  // namespace test_rows
