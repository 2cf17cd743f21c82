// Products of bfloat16 by tiles against those in double: all remainders of rows, lanes and depth, keys and values as
// they are held, between NaNs that nobody may read; what is rounded, and what is not finite. In software, also how many
// instructions products and calls take, and what comes out where the system refuses tiles.

#include <attend/attention.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
using namespace attend::detail;

namespace test_bfloat16_tiles {

#if defined(ATTEND_AMX) && defined(ATTEND_AVX512_BF16)
namespace {

using B = Eigen::bfloat16;
constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();

enum class From { rows, columns, scattered, held_keys, held_values };
constexpr From all_ways[] = {From::rows, From::columns, From::scattered, From::held_keys, From::held_values};

/// A (rows × depth) and B (depth × lanes) of a product, of numbers that bfloat16 holds.
struct Factors {
    RowMatrix<float> a, b;

    Factors(Index rows, Index depth, Index lanes) {
        Random random(static_cast<std::uint64_t>(rows + 100 * depth + 10000 * lanes));
        a = random_matrix<float>(random, rows, depth).cast<B>().cast<float>();
        b = random_matrix<float>(random, depth, lanes).cast<B>().cast<float>();
    }
    RowMatrix<double> exact() const { return a.cast<double>() * b.cast<double>(); }

    /// Into or onto c, by what packs in that way. NaN stands around A, in its memory and where it is packed.
    void multiply(From from, RowMatrix<float>& c, const ProductOptions<float>& options = {}) const {
        const FastestOfBFloat16 engine;
        const Index rows = a.rows(), depth = a.cols(), lanes = b.cols();
        const bool across = from == From::columns || from == From::held_values;
        const RowMatrix<float> matrix = across ? RowMatrix<float>(a.transpose()) : a;
        const Index apart = from == From::scattered ? 2 : 1, stride = apart * matrix.cols() + 3;
        std::vector<float> floats(static_cast<std::size_t>(matrix.rows() * stride), nan);
        for (Index r = 0; r < matrix.rows(); ++r) {
            for (Index k = 0; k < matrix.cols(); ++k)
                floats[static_cast<std::size_t>(r * stride + apart * k)] = matrix(r, k);
        }
        const std::vector<B> held(floats.begin(), floats.end());
        const RowBlock<B> held_rows{held.data(), stride, matrix.rows(), matrix.cols()};

        const Index a_bytes = FastestOfBFloat16::packed_bytes(rows, depth);
        const Index bytes = a_bytes + FastestOfBFloat16::packed_bytes(lanes, depth);
        Workspace memory(static_cast<std::size_t>(bytes));
        std::byte* const packed = memory.data(0);
        std::fill_n(packed, bytes, std::byte(0xff));
        const FastestOfBFloat16::Session session(true);
        RowOperand<float> x{{floats.data(), across ? 1 : stride, across ? stride : apart}};
        if (from == From::held_keys) {
            if (!engine.pack_held_keys(x, held_rows, packed)) engine.pack(x, rows, depth, packed);
        } else if (from == From::held_values) {
            CHECK(engine.pack_held_values(x, held_rows, packed));
        } else {
            engine.pack(x, rows, depth, packed);
        }
        RowMatrix<float> lanes_of_b = b;
        LaneOperand<float> y{lanes_of_b.data()};
        engine.pack(y, depth, lanes, packed + a_bytes);
        engine.multiply_packed(x, rows, depth, y, lanes, c.data(), options);
    }
};

bool is_absent() {
    if (amx::available()) return false;
    WARN("no tiles on this machine");
    return true;
}

/// Products with a scale and the largest, and with a factor, against double.
void check_products(const Factors& x) {
    const Index rows = x.a.rows(), depth = x.a.cols(), lanes = x.b.cols();
    const RowMatrix<double> exact = x.exact();
    const double bound = 1e-6 * std::sqrt(static_cast<double>(depth)) * magnitude(exact);
    Random random(5);
    const RowMatrix<float> start = random_matrix<float>(random, rows, lanes);
    const RowMatrix<float> factor = random_matrix<float>(random, 1, lanes);
    for (const From from : all_ways) {
        CAPTURE(rows, depth, lanes, static_cast<int>(from));
        RowMatrix<float> c = RowMatrix<float>::Constant(rows + 1, lanes, 7);
        const RowMatrix<float> low = RowMatrix<float>::Constant(1, lanes, -0.25F);
        RowMatrix<float> largest = low;
        x.multiply(from, c, {.largest = largest.data(), .scale = 0.75F});
        const RowMatrix<float> product = c.topRows(rows);
        CHECK(distance(product, RowMatrix<double>(0.75 * exact)) <= bound);
        CHECK(same_bits(largest, RowMatrix<float>(product.colwise().maxCoeff().cwiseMax(low))));
        CHECK((c.row(rows).array() == 7).all());

        c.topRows(rows) = start;
        x.multiply(from, c, {.factor = factor.data(), .scale = 1.5F});
        const RowMatrix<double> expected =
            1.5 * exact + start.cast<double>() * factor.transpose().cast<double>().asDiagonal();
        CHECK(distance(RowMatrix<float>(c.topRows(rows)), expected) <= 1.5 * bound + 1e-7);
        CHECK((c.row(rows).array() == 7).all());
    }
}

}  // namespace

TEST_CASE("products of tiles of bfloat16 are exact but for sums in float") {
    if (is_absent()) return;
    for (const Index rows : {1, 15, 16, 17, 32, 33, 64, 80}) {
        for (const Index depth : {1, 2, 16, 31, 32, 33, 64, 100}) {
            for (const Index lanes : {16, 32, 48, 64}) check_products({rows, depth, lanes});
        }
    }
}

TEST_CASE("a row and a lane have the same bits in any product of tiles, however they are packed") {
    if (is_absent()) return;
    const Factors x(48, 64, 48);
    RowMatrix<float> whole(48, 48);
    x.multiply(From::rows, whole);
    for (const From from : all_ways) {
        RowMatrix<float> same(48, 48);
        x.multiply(from, same);
        CHECK(same_bits(same, whole));
    }
    for (const Index row : {0, 17, 47}) {
        for (const Index lane : {0, 16, 32}) {
            Factors part = x;
            part.a = x.a.row(row);
            part.b = x.b.middleCols(lane, 16);
            for (const From from : all_ways) {
                RowMatrix<float> c(1, 16);
                part.multiply(from, c);
                CHECK(same_bits(c, RowMatrix<float>(whole.row(row).middleCols(lane, 16))));
            }
        }
    }
}

TEST_CASE("what tiles hold is rounded to the nearest, also while it is made") {
    if (is_absent()) return;
    constexpr Index depth = 37, lanes = 32;
    Random random(3);
    Factors x(5, depth, lanes);
    x.a = random_matrix<float>(random, 5, depth);
    x.b = random_matrix<float>(random, depth, lanes);
    Factors rounded = x;
    rounded.a = x.a.cast<B>().cast<float>(), rounded.b = x.b.cast<B>().cast<float>();
    RowMatrix<float> expected(5, lanes), c(5, lanes);
    rounded.multiply(From::rows, expected);
    for (const From from : {From::rows, From::columns, From::scattered}) {
        x.multiply(from, c);
        CHECK(same_bits(c, expected));
    }

    const FastestOfBFloat16 engine;
    const Index b_bytes = FastestOfBFloat16::packed_bytes(lanes, depth);
    Workspace memory(static_cast<std::size_t>(b_bytes + FastestOfBFloat16::packed_bytes(5, depth)));
    std::byte* const packed = memory.data(0);
    for (Index lane = 0; lane < lanes; lane += 16) {
        const auto sum = engine.pack_made(
            depth, lane, [&](Index k) { return simd::load(x.b.data() + k * lanes + lane); }, packed);
        RowMatrix<float> sums(1, 16);
        simd::store(sums.data(), sum);
        CHECK(distance(sums, x.b.middleCols(lane, 16).colwise().sum()) <= 1e-5);
    }
    const FastestOfBFloat16::Session session(true);
    RowOperand<float> a{{x.a.data(), depth, 1}};
    engine.pack(a, 5, depth, packed + b_bytes);
    engine.multiply_packed(a, 5, depth, {x.b.data(), packed}, lanes, c.data(), {});
    CHECK(same_bits(c, expected));
}

TEST_CASE("what is not finite reaches its row and its lane, and no bit of another, in products of tiles") {
    if (is_absent()) return;
    for (const float value : {infinity, -infinity, nan}) {
        for (const Index depth : {34, 64}) {
            for (const From from : all_ways) {
                CAPTURE(value, depth, static_cast<int>(from));
                Factors x(32, depth, 48);
                RowMatrix<float> finite(32, 48), c(32, 48), largest = RowMatrix<float>::Constant(1, 48, -9);
                x.multiply(from, finite);
                x.a(5, 9) = value, x.b(11, 2) = value;
                x.multiply(from, c, {.largest = largest.data()});
                for (Index r = 0; r < 32; ++r) {
                    for (Index lane = 0; lane < 48; ++lane) {
                        if (r == 5 || lane == 2) {
                            const float by = r == 5 ? x.b(9, lane) : x.a(r, 11);
                            const bool both = r == 5 && lane == 2;
                            CHECK((both || std::isnan(value) ? !std::isfinite(c(r, lane)) : c(r, lane) == value * by));
                        } else {
                            CHECK(c(r, lane) == finite(r, lane));
                        }
                    }
                }
            }
        }
    }
}

#if defined(ATTEND_AMX_IN_SOFTWARE)
TEST_CASE("a product of bfloat16 takes one instruction for each tile of it, and loads two tiles for two") {
    const Factors x(64, 128, 64);
    RowMatrix<float> c(64, 64);
    auto& bank = amx_tiles::bank();
    const auto products = bank.products, loads = bank.loads, stores = bank.stores;
    x.multiply(From::rows, c);
    CHECK(bank.products - products == 4 * 4 * 4);
    CHECK(bank.loads - loads == 4 * 4 * 4);
    CHECK(bank.stores - stores == 4 * 4);
}

namespace {

/// Products of tiles that a call takes.
template <class X>
long products_of(Index queries, Index keys, Index width) {
    Random random(1);
    const RowMatrix<X> q = random_matrix<float>(random, queries, width).cast<X>(),
                       k = random_matrix<float>(random, keys, width).cast<X>(),
                       v = random_matrix<float>(random, keys, width).cast<X>();
    RowMatrix<X> out;
    const auto before = amx_tiles::bank().products;
    scaled_dot_product(q, k, v, out);
    return amx_tiles::bank().products - before;
}

}  // namespace

TEST_CASE("a call multiplies each tile of bfloat16 once, and those of floats six times") {
    constexpr long of_both_products = 2 * (128 / 16) * (192 / 16) * (64 / 32);
    CHECK(products_of<Eigen::bfloat16>(128, 192, 64) == of_both_products);
    CHECK(products_of<float>(128, 192, 64) == 6 * of_both_products);
    CHECK(products_of<Eigen::bfloat16>(128, 192, 8) == 0);
    CHECK(products_of<Eigen::bfloat16>(1, 192, 64) == 0);
    CHECK(products_of<Eigen::half>(128, 192, 64) == 6 * of_both_products);
}

TEST_CASE("where the system refuses tiles, pairs are multiplied") {
    auto& bank = amx_tiles::bank();
    const auto products = bank.products;
    amx_tiles::leave_is_given() = false;
    for (const Index rows : {1, 16, 40}) {
        for (const Index depth : {2, 32, 70}) check_products({rows, depth, 48});
    }
    CHECK(products_of<Eigen::bfloat16>(128, 192, 64) == 0);
    CHECK(bank.products == products);
    amx_tiles::leave_is_given() = true;
}
#endif
#else
TEST_CASE("products of tiles of bfloat16") { WARN("no AMX with AVX512-BF16 in this build"); }
#endif

}  // namespace test_bfloat16_tiles
