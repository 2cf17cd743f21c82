// The tiles' product against Eigen's, over all remainders of rows and lanes and any strides.

#include <attend/engine/packets.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_packets {
using attend::detail::multiply;

namespace {

template <class T>
void check_product(Index rows, Index depth, Index packets, bool transposed) {
    CAPTURE(rows, depth, packets, transposed);
    const Index lanes = packets * attend::detail::simd::width<T>;
    Random random(7);
    const RowMatrix<T> a = random_matrix<T>(random, transposed ? depth : rows, transposed ? rows : depth);
    const RowMatrix<T> b = random_matrix<T>(random, depth, lanes), start = random_matrix<T>(random, rows, lanes);
    const RowMatrix<T> factor = random_matrix<T>(random, 1, lanes), low = RowMatrix<T>::Constant(1, lanes, T(-0.25));
    const StridedMatrix<T> view{a.data(), transposed ? 1 : depth, transposed ? rows : 1};
    const RowMatrix<double> product = (transposed ? RowMatrix<double>(a.transpose().template cast<double>())
                                                  : RowMatrix<double>(a.template cast<double>())) *
                                      b.template cast<double>();
    const double bound = static_cast<double>(depth + 2) * static_cast<double>(std::numeric_limits<T>::epsilon());

    RowMatrix<T> c = start, largest = low;
    multiply<T>(view, rows, depth, b.data(), lanes, c.data(), {.largest = largest.data()});
    CHECK(distance(c, product) <= bound);
    CHECK(same_bits(largest, RowMatrix<T>(c.colwise().maxCoeff().cwiseMax(low))));

    c = start;
    multiply<T>(view, rows, depth, b.data(), lanes, c.data(), {.factor = factor.data()});
    const RowMatrix<double> scaled =
        start.template cast<double>() * factor.transpose().template cast<double>().asDiagonal();
    CHECK(distance(c, RowMatrix<double>(product + scaled)) <= bound);
}

}  // namespace

TEST_CASE("a tile's product is that of the matrices") {
    for (const Index rows : {1, 2, 3, 5, 6, 7, 13, 64}) {
        for (const Index packets : {1, 2, 3, 4, 5, 7}) {
            for (const bool transposed : {false, true}) {
                check_product<float>(rows, 17, packets, transposed);
                check_product<double>(rows, 5, packets, transposed);
            }
        }
    }
}

TEST_CASE("a row and a lane have the same bits in any tile") {
    const Index w = attend::detail::simd::width<float>, lanes = 7 * w;
    Random random(3);
    const RowMatrix<float> a = random_matrix<float>(random, 23, 31), b = random_matrix<float>(random, 31, lanes);
    RowMatrix<float> whole(23, lanes);
    multiply<float>({a.data(), 31, 1}, 23, 31, b.data(), lanes, whole.data());
    for (Index row = 0; row < 23; ++row) {
        for (Index packet = 0; packet < 7; ++packet) {
            const RowMatrix<float> part = b.middleCols(packet * w, w);
            RowMatrix<float> alone(1, w);
            multiply<float>({a.data() + row * 31, 31, 1}, 1, 31, part.data(), w, alone.data());
            CHECK(same_bits(alone, RowMatrix<float>(whole.row(row).middleCols(packet * w, w))));
        }
    }
}

}  // namespace test_packets
