// The laws of an engine, as engine/engine.hpp states them, of any that is put through them.

#include <attend/engine/fastest.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

#include "engines.hpp"

using namespace attend;
using namespace attend::test;

namespace test_engine_laws {
namespace {

template <class T>
struct Product {
    static constexpr Index w = detail::simd::width<T>;

    Index rows, depth, lanes;
    bool transposed;
    RowMatrix<T> a, b, c, factor, largest;

    Product(Index rows_, Index depth_, Index packets, bool transposed_)
        : rows(rows_), depth(depth_), lanes(packets * w), transposed(transposed_) {
        Random random(static_cast<std::uint64_t>(1 + rows + 100 * depth + 10000 * packets));
        a = random_matrix<T>(random, transposed ? depth : rows, (transposed ? rows : depth) + 3);
        b = random_matrix<T>(random, depth, lanes);
        c = random_matrix<T>(random, rows, lanes);
        factor = random_matrix<T>(random, 1, lanes);
        largest = RowMatrix<T>::Constant(1, lanes, T(-0.25));
    }
    T& at(Index row, Index k) { return transposed ? a(k, row) : a(row, k); }
    StridedMatrix<T> view() const { return {a.data(), transposed ? 1 : a.cols(), transposed ? a.cols() : 1}; }
    double a_of(Index row, Index k) const { return static_cast<double>(view()(row, k)); }

    /// By plain loops in double.
    RowMatrix<double> exact(bool scales) const {
        RowMatrix<double> sums(rows, lanes);
        for (Index r = 0; r < rows; ++r) {
            for (Index lane = 0; lane < lanes; ++lane) {
                double sum = scales ? static_cast<double>(factor(0, lane)) * static_cast<double>(c(r, lane)) : 0;
                for (Index k = 0; k < depth; ++k) sum += a_of(r, k) * static_cast<double>(b(k, lane));
                sums(r, lane) = sum;
            }
        }
        return sums;
    }
    template <class E>
    RowMatrix<T> by(const E& engine, bool scales, RowMatrix<T>* raised = nullptr) const {
        RowMatrix<T> result = c;
        ProductOptions<T> options;
        if (scales) options.factor = factor.data();
        if (raised != nullptr) options.largest = raised->data();
        engine.multiply(view(), rows, depth, b.data(), lanes, result.data(), options);
        return result;
    }
};

template <class T, class F>
void for_each_product(F&& f) {
    for (const Index rows : {0, 1, 2, 3, 5, 6, 7, 13, 64}) {
        for (const Index depth : {0, 1, 17, 64}) {
            for (const Index packets : {1, 2, 3, 5}) {
                for (const bool transposed : {false, true}) {
                    CAPTURE(rows, depth, packets, transposed);
                    f(Product<T>(rows, depth, packets, transposed));
                }
            }
        }
    }
}

template <class T, class E>
void check_laws(const E& engine) {
    static_assert(EngineOf<E, T>);
    for_each_product<T>([&](const Product<T>& x) {
        const double bound = static_cast<double>(x.depth + 2) * std::numeric_limits<T>::epsilon();
        RowMatrix<T> largest = x.largest;
        const RowMatrix<T> product = x.by(engine, false, &largest), onto = x.by(engine, true);
        CHECK(distance(product, x.exact(false)) <= bound);
        CHECK(distance(onto, x.exact(true)) <= bound);
        if (x.rows > 0)
            CHECK(same_bits(largest, RowMatrix<T>(product.colwise().maxCoeff().cwiseMax(x.largest))));
        else
            CHECK(same_bits(largest, x.largest));
        // A row and a packet of lanes alone.
        if (x.rows == 0) return;
        Product<T> alone = x;
        const Index row = x.rows / 2, lane = (x.lanes / x.w - 1) * x.w;
        alone.rows = 1, alone.lanes = x.w;
        alone.b = x.b.middleCols(lane, x.w), alone.c = x.c.row(row).middleCols(lane, x.w);
        alone.factor = x.factor.middleCols(lane, x.w);
        for (Index k = 0; k < x.depth; ++k) alone.at(0, k) = x.view()(row, k);
        CHECK(same_bits(alone.by(engine, true), RowMatrix<T>(onto.row(row).middleCols(lane, x.w))));
        // A packet of lanes where it stands.
        if constexpr (LaneRangeEngine<E, T>) {
            RowMatrix<T> result = x.c, expected = x.c;
            engine.multiply(x.view(), x.rows, x.depth, x.b.data() + lane, x.w, result.data() + lane,
                            ProductOptions<T>{.factor = x.factor.data() + lane, .apart = x.lanes});
            expected.middleCols(lane, x.w) = onto.middleCols(lane, x.w);
            CHECK(same_bits(result, expected));
        }
    });
    // What is not finite reaches its row and its lane, and no bit of another; what stands in C does not show unless it
    // is scaled.
    for (const T value : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
        Product<T> x(13, 17, 3, true);
        const RowMatrix<T> finite = x.by(engine, false);
        x.at(5, 9) = value, x.b(11, 2) = value, x.c.setConstant(value);
        const RowMatrix<T> product = x.by(engine, false);
        for (Index r = 0; r < x.rows; ++r) {
            for (Index lane = 0; lane < x.lanes; ++lane) {
                const bool reached = r == 5 || lane == 2;
                CHECK((reached ? !std::isfinite(product(r, lane)) : product(r, lane) == finite(r, lane)));
            }
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("an engine keeps its laws", "", float, double) {
    check_laws<TestType>(Fastest());
    std::atomic<Index> products = 0;
    check_laws<TestType>(CountingLoops{&products});
    CHECK(products > 0);
}

}  // namespace test_engine_laws
