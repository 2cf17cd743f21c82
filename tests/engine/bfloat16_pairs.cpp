// Products of pairs of bfloat16 against those in double: all remainders of rows, lanes and depth, rows as they are held
// and packed ones, what is rounded, and what is not finite. Where this build has no AVX512-BF16 there is nothing to
// test.

#include <attend/core/workspace.hpp>
#include <attend/engine/fastest.hpp>

#include <cmath>
#include <limits>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
using namespace attend::detail;

namespace test_bfloat16_pairs {

#if defined(ATTEND_AVX512_BF16)
namespace {

using B = Eigen::bfloat16;
enum class From { rows, columns, scattered, held_keys, held_values };

/// What is multiplied, numbers of 16 bits, and the product of what the engine packs of it.
struct Factors {
    RowMatrix<float> a, b;  ///< rows × depth, depth × lanes

    Factors(Index rows, Index depth, Index lanes) {
        Random random(7);
        a = random_matrix<float>(random, rows, depth).cast<B>().cast<float>();
        b = random_matrix<float>(random, depth, lanes).cast<B>().cast<float>();
    }
    RowMatrix<double> exact() const { return a.cast<double>() * b.cast<double>(); }
    /// False where the engine does not take rows as they are held.
    bool multiply(From from, RowMatrix<float>& c, const ProductOptions<float>& options = {}) const {
        const BFloat16Pairs engine;
        const Index rows = a.rows(), depth = a.cols(), lanes = b.cols(), gap = 3;
        const Index a_bytes = BFloat16Pairs::packed_bytes(rows, depth);
        Workspace memory(static_cast<std::size_t>(a_bytes + BFloat16Pairs::packed_bytes(lanes, depth)));
        std::byte* const packed = memory.data(0);
        const RowMatrix<float> across = a.transpose();
        RowMatrix<float> apart = RowMatrix<float>::Constant(rows, 2 * depth, 9);
        RowMatrix<B> held = RowMatrix<B>::Constant(std::max(rows, depth), std::max(rows, depth) + gap, B(9));
        RowOperand<float> x{{}};
        switch (from) {
            case From::rows:
                x.matrix = {a.data(), depth, 1};
                break;
            case From::columns:
                x.matrix = {across.data(), 1, rows};
                break;
            case From::scattered:
                for (Index k = 0; k < depth; ++k) apart.col(2 * k) = a.col(k);
                x.matrix = {apart.data(), 2 * depth, 2};
                break;
            case From::held_keys:
                held.topLeftCorner(rows, depth) = a.cast<B>();
                if (!engine.pack_held_keys(x, {held.data(), held.cols(), rows, depth}, packed)) return false;
                break;
            case From::held_values:
                held.topLeftCorner(depth, rows) = across.cast<B>();
                if (!engine.pack_held_values(x, {held.data(), held.cols(), depth, rows}, packed)) return false;
                break;
        }
        if (x.packed == nullptr) engine.pack(x, rows, depth, packed);
        RowMatrix<float> lanes_of_b = b;
        LaneOperand<float> y{lanes_of_b.data()};
        engine.pack(y, depth, lanes, packed + a_bytes);
        engine.multiply_packed(x, rows, depth, y, lanes, c.data(), options);
        return true;
    }
};

constexpr From all_ways[] = {From::rows, From::columns, From::scattered, From::held_keys, From::held_values};

}  // namespace

TEST_CASE("products of pairs of bfloat16 are exact but for sums in float") {
    Random random(5);
    for (const Index rows : {1, 4, 6, 8, 13, 16, 17, 64}) {
        for (const Index depth : {1, 2, 15, 16, 33, 64, 100}) {
            for (const Index lanes : {16, 32, 48, 64, 80}) {
                const Factors x(rows, depth, lanes);
                const RowMatrix<double> exact = x.exact();
                const double bound = 1e-6 * std::sqrt(static_cast<double>(depth)) * magnitude(exact);
                for (const From from : all_ways) {
                    CAPTURE(rows, depth, lanes, static_cast<int>(from));
                    RowMatrix<float> c = RowMatrix<float>::Constant(rows + 1, lanes, 7), largest(1, lanes);
                    largest.setConstant(-0.25F);
                    const RowMatrix<float> low = largest;
                    const bool takes = x.multiply(from, c, {.largest = largest.data(), .scale = 0.75F});
                    CHECK(takes == (from != From::held_keys || depth % 2 == 0));
                    if (!takes) continue;
                    const RowMatrix<float> product = c.topRows(rows);
                    CHECK(distance(product, RowMatrix<double>(0.75 * exact)) <= bound);
                    CHECK(same_bits(largest, RowMatrix<float>(product.colwise().maxCoeff().cwiseMax(low))));
                    CHECK((c.row(rows).array() == 7).all());

                    const RowMatrix<float> start = random_matrix<float>(random, rows, lanes);
                    const RowMatrix<float> factor = random_matrix<float>(random, 1, lanes);
                    c.topRows(rows) = start;
                    x.multiply(from, c, {.factor = factor.data()});
                    const RowMatrix<double> scaled =
                        start.cast<double>() * factor.transpose().cast<double>().asDiagonal();
                    CHECK(distance(RowMatrix<float>(c.topRows(rows)), RowMatrix<double>(exact + scaled)) <=
                          bound + 1e-7);
                }
            }
        }
    }
}

TEST_CASE("a row and a lane have the same bits in any product of pairs, however they are packed") {
    const Factors x(40, 70, 48);
    RowMatrix<float> whole(40, 48);
    x.multiply(From::rows, whole);
    for (const From from : all_ways) {
        RowMatrix<float> same(40, 48);
        x.multiply(from, same);
        CHECK(same_bits(same, whole));
    }
    for (const Index row : {0, 17, 39}) {
        for (const Index lane : {0, 16, 32}) {
            Factors part = x;
            part.a = x.a.row(row);
            part.b = x.b.middleCols(lane, 16);
            RowMatrix<float> c(1, 16);
            part.multiply(From::rows, c);
            CHECK(same_bits(c, RowMatrix<float>(whole.row(row).middleCols(lane, 16))));
        }
    }
}

TEST_CASE("what is packed is rounded to the nearest, also while it is made") {
    constexpr Index depth = 17, lanes = 32;
    Random random(3);
    Factors x(5, depth, lanes);
    x.b = random_matrix<float>(random, depth, lanes);
    Factors rounded = x;
    rounded.b = x.b.cast<B>().cast<float>();
    RowMatrix<float> c(5, lanes), expected(5, lanes);
    x.multiply(From::rows, c);
    rounded.multiply(From::rows, expected);
    CHECK(same_bits(c, expected));

    const BFloat16Pairs engine;
    Workspace memory(static_cast<std::size_t>(2 * BFloat16Pairs::packed_bytes(lanes, depth)));
    std::byte *const packed = memory.data(0), *const a_packed = packed + BFloat16Pairs::packed_bytes(lanes, depth);
    for (Index lane = 0; lane < lanes; lane += 16) {
        const auto sum = engine.pack_made(
            depth, lane, [&](Index k) { return simd::load(x.b.data() + k * lanes + lane); }, packed);
        RowMatrix<float> sums(1, 16);
        simd::store(sums.data(), sum);
        CHECK(distance(sums, x.b.middleCols(lane, 16).colwise().sum()) <= 1e-5);
    }
    RowOperand<float> a{{x.a.data(), depth, 1}};
    engine.pack(a, 5, depth, a_packed);
    engine.multiply_packed(a, 5, depth, {x.b.data(), packed}, lanes, c.data(), {});
    CHECK(same_bits(c, expected));
}

TEST_CASE("what is not finite reaches its row and its lane, and no bit of another, in products of pairs") {
    for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        for (const From from : all_ways) {
            Factors x(13, 34, 48);
            RowMatrix<float> finite(13, 48), c = finite;
            x.multiply(from, finite);
            x.a(5, 9) = value, x.b(11, 2) = value;
            x.multiply(from, c);
            for (Index r = 0; r < 13; ++r) {
                for (Index lane = 0; lane < 48; ++lane) {
                    const bool reached = r == 5 || lane == 2;
                    CHECK((reached ? !std::isfinite(c(r, lane)) : c(r, lane) == finite(r, lane)));
                }
            }
        }
    }
}
#else
TEST_CASE("products of pairs of bfloat16") { WARN("no AVX512-BF16 in this build"); }
#endif

}  // namespace test_bfloat16_pairs
