// Products of split operands against those in double: their accuracy, all remainders of rows, lanes and depth, any
// strides, and what is not finite. Where this processor or build has no AMX there is nothing to test.

#include <attend/core/workspace.hpp>
#include <attend/engine/fastest.hpp>

#include <cmath>
#include <cstdio>
#include <limits>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
using namespace attend::detail;

namespace test_amx_split {
namespace {

struct Factors {
    RowMatrix<float> a, b;
    bool transposed;

    Factors(Index rows, Index depth, Index lanes, bool transposed_) : transposed(transposed_) {
        Random random(7);
        a = random_matrix<float>(random, transposed ? depth : rows, transposed ? rows : depth);
        b = random_matrix<float>(random, depth, lanes);
    }
    Index rows() const { return transposed ? a.cols() : a.rows(); }
    StridedMatrix<float> view() const { return {a.data(), transposed ? 1 : a.cols(), transposed ? a.cols() : 1}; }
    template <class T>
    RowMatrix<T> product() const {
        const RowMatrix<T> x = transposed ? RowMatrix<float>(a.transpose()).cast<T>() : a.cast<T>();
        return x * b.cast<T>();
    }
};

#if defined(ATTEND_AMX)
/// The product of what AMX packs, into or onto c.
void multiply_packed(Factors& x, RowMatrix<float>& c, const ProductOptions<float>& options) {
    const Fastest engine;
    const Index rows = x.rows(), depth = x.b.rows(), lanes = x.b.cols();
    const Index a_bytes = Fastest::packed_bytes(rows, depth), b_bytes = Fastest::packed_bytes(lanes, depth);
    Workspace memory(static_cast<std::size_t>(a_bytes + b_bytes));
    const Fastest::Session session(true);
    RowOperand<float> a{x.view()};
    LaneOperand<float> b{x.b.data()};
    engine.pack(a, rows, depth, memory.data(0));
    engine.pack(b, depth, lanes, memory.data(0) + a_bytes);
    engine.multiply_packed(a, rows, depth, b, lanes, c.data(), options);
}
#else
void multiply_packed(Factors&, RowMatrix<float>&, const ProductOptions<float>&) {}
#endif

bool is_absent() {
    if (amx::available()) return false;
    WARN("no AMX in this build or on this machine");
    return true;
}

}  // namespace

TEST_CASE("products of thirds are as exact as those of floats") {
    if (is_absent()) return;
    double ours = 0, theirs = 0;
    for (const Index rows : {1, 15, 16, 17, 32, 40, 64}) {
        for (const Index depth : {1, 16, 17, 32, 33, 64, 100}) {
            for (const Index lanes : {16, 32, 48, 64}) {
                for (const bool transposed : {false, true}) {
                    CAPTURE(rows, depth, lanes, transposed);
                    Factors x(rows, depth, lanes, transposed);
                    const RowMatrix<double> exact = x.product<double>();
                    const double bound = 5e-7 * std::sqrt(static_cast<double>(depth)) * magnitude(exact);
                    RowMatrix<float> c(rows, lanes), largest = RowMatrix<float>::Constant(1, lanes, -0.25F);
                    const RowMatrix<float> low = largest;
                    multiply_packed(x, c, {.largest = largest.data()});
                    CHECK(distance(c, exact) <= bound);
                    CHECK(same_bits(largest, RowMatrix<float>(c.colwise().maxCoeff().cwiseMax(low))));
                    ours += distance(c, exact);
                    theirs += distance(x.product<float>(), exact);

                    Random random(5);
                    const RowMatrix<float> start = random_matrix<float>(random, rows, lanes);
                    const RowMatrix<float> factor = random_matrix<float>(random, 1, lanes);
                    c = start;
                    multiply_packed(x, c, {.factor = factor.data()});
                    const RowMatrix<double> scaled =
                        start.cast<double>() * factor.transpose().cast<double>().asDiagonal();
                    CHECK(distance(c, RowMatrix<double>(exact + scaled)) <= bound + 1e-7);
                }
            }
        }
    }
    std::printf("mean error of products of thirds %.2g of that of float's\n", ours / theirs);
    CHECK(ours <= 2 * theirs);
}

TEST_CASE("a row and a lane have the same bits in any product of thirds") {
    if (is_absent()) return;
    Factors x(40, 70, 48, false);
    RowMatrix<float> whole(40, 48);
    multiply_packed(x, whole, {});
    for (const Index row : {0, 17, 39}) {
        for (const Index lane : {0, 16, 32}) {
            Factors part = x;
            part.a = x.a.row(row);
            part.b = x.b.middleCols(lane, 16);
            RowMatrix<float> alone(1, 16);
            multiply_packed(part, alone, {});
            CHECK(same_bits(alone, RowMatrix<float>(whole.row(row).middleCols(lane, 16))));
        }
    }
}

TEST_CASE("what is not finite reaches its row and its lane, and no bit of another") {
    if (is_absent()) return;
    constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (const bool transposed : {false, true}) {
        for (const float value : {infinity, -infinity, nan}) {
            CAPTURE(transposed, value);
            Factors x(40, 70, 48, transposed);
            RowMatrix<float> finite(40, 48), c(40, 48), largest = RowMatrix<float>::Constant(1, 48, -9.F);
            multiply_packed(x, finite, {});
            x.a(transposed ? 33 : 11, transposed ? 11 : 33) = value;
            x.b(50, 20) = value;
            const RowMatrix<float> plain = x.product<float>();
            multiply_packed(x, c, {.largest = largest.data()});
            for (Index r = 0; r < 40; ++r) {
                for (Index lane = 0; lane < 48; ++lane) {
                    if (r == 11 || lane == 20) {
                        const bool both_nan = std::isnan(c(r, lane)) && std::isnan(plain(r, lane));
                        CHECK((both_nan || c(r, lane) == plain(r, lane)));
                    } else {
                        CHECK(c(r, lane) == finite(r, lane));
                    }
                }
                if (value == infinity && c(r, 20) == infinity) CHECK(largest(0, 20) == infinity);
            }
        }
    }
}

}  // namespace test_amx_split
