// Tiles, of the processor or in software: what a product of two adds up, in the documented order and against double,
// and what is read and written. In software, also what a processor would refuse. Elsewhere there is nothing to test.

#include <attend/core/amx.hpp>

#include <array>
#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;
namespace amx = attend::detail::amx;

namespace test_amx {

#if defined(ATTEND_AMX)
namespace {

using B = Eigen::bfloat16;

/// Operands of a product: 16 × 32, 32 × 16, and what it is added to.
struct Operands {
    RowMatrix<B> a = RowMatrix<B>(16, 32), b = RowMatrix<B>(32, 16);
    RowMatrix<float> c = RowMatrix<float>(16, 16);

    /// Of numbers up to 2^exponents and down to 2^-exponents, A's and B's times 2^of_a and 2^of_b, C's times both.
    explicit Operands(int exponents, std::uint64_t seed = 1, int of_a = 0, int of_b = 0) {
        Random random(seed);
        const auto fill = [&](auto& m, int centre) {
            const auto x = random_matrix<float>(random, m.rows(), m.cols());
            const auto e = random_matrix<float>(random, m.rows(), m.cols());
            for (Index i = 0; i < m.size(); ++i) {
                const float y =
                    std::ldexp(x.data()[i], centre + static_cast<int>(static_cast<float>(exponents) * e.data()[i]));
                m.data()[i] = static_cast<typename std::decay_t<decltype(m)>::Scalar>(y);
            }
        };
        fill(a, of_a), fill(b, of_b), fill(c, of_a + of_b);
    }
    /// c + a · b by tiles.
    RowMatrix<float> by_tiles() const {
        RowMatrix<B> pairs(16, 32);
        for (Index k = 0; k < 32; ++k)
            for (Index n = 0; n < 16; ++n) pairs(k / 2, 2 * n + k % 2) = b(k, n);
        RowMatrix<float> sum = c;
        const amx::Tiles tiles(true);
        amx::load<3>(sum.data(), 64);
        amx::load<5>(a.data(), 64);
        amx::load<7>(pairs.data(), 64);
        amx::multiply<3, 5, 7>();
        amx::store<3>(sum.data(), 64);
        return sum;
    }
};

/// Denormal numbers are 0.
float normal(float x) { return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.F, x) : x; }

/// The even products, then the odd ones, then both, then what was there.
float in_documented_order(const Operands& x, Index m, Index n) {
    float sums[2] = {0, 0};
    for (Index k = 0; k < 32; ++k) {
        const float a = normal(static_cast<float>(x.a(m, k))), b = normal(static_cast<float>(x.b(k, n)));
        sums[k % 2] = normal(std::fma(a, b, sums[k % 2]));
    }
    return normal(normal(x.c(m, n)) + normal(sums[0] + sums[1]));
}

bool is_absent() {
    if (amx::available()) return false;
    WARN("no tiles on this machine");
    return true;
}

}  // namespace

namespace {

void check_order(const Operands& x) {
    const RowMatrix<float> sum = x.by_tiles();
    for (Index m = 0; m < 16; ++m) {
        for (Index n = 0; n < 16; ++n) {
            const float s = sum(m, n), e = in_documented_order(x, m, n);
            CHECK((s == e || (std::isnan(s) && std::isnan(e))));
        }
    }
}

}  // namespace

TEST_CASE("a product of tiles has the bits of the documented sums") {
    if (is_absent()) return;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        for (const int exponents : {0, 8, 60, 126}) check_order(Operands(exponents, seed));
        // Operands, products and sums about the least normal number, 2^-126.
        check_order(Operands(3, seed, -63, -63));
        check_order(Operands(3, seed, -126, 0));
        check_order(Operands(3, seed, 4, -130));
    }
}

TEST_CASE("a product of tiles is exact but for sums in float") {
    if (is_absent()) return;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const Operands x(4, seed);
        const RowMatrix<double> a = x.a.cast<float>().cast<double>(), b = x.b.cast<float>().cast<double>();
        const RowMatrix<double> exact = x.c.cast<double>() + a * b;
        const RowMatrix<double> sizes = x.c.cast<double>().cwiseAbs() + a.cwiseAbs() * b.cwiseAbs();
        const RowMatrix<double> errors = (x.by_tiles().cast<double>() - exact).cwiseAbs();
        CHECK((errors.array() <= 18 * std::ldexp(1., -24) * sizes.array()).all());  // 16 sums, and two
    }
}

TEST_CASE("a product of tiles rounds to the nearest whatever the thread does, and leaves it that") {
    if (is_absent()) return;
    const Operands x(4);
    const RowMatrix<float> usual = x.by_tiles();
    std::fesetround(FE_UPWARD);
    const RowMatrix<float> upward = x.by_tiles();
    const int left = std::fegetround();
    std::fesetround(FE_TONEAREST);
    CHECK(same_bits(upward, usual));
    CHECK(left == FE_UPWARD);
}

TEST_CASE("what is not finite goes where arithmetic takes it in a product of tiles") {
    if (is_absent()) return;
    constexpr float infinity = std::numeric_limits<float>::infinity();
    Operands x(0);
    const RowMatrix<float> finite = x.by_tiles();
    x.a(3, 7) = B(infinity), x.b(20, 9) = B(std::numeric_limits<float>::quiet_NaN());
    const RowMatrix<float> sum = x.by_tiles();
    for (Index m = 0; m < 16; ++m) {
        for (Index n = 0; n < 16; ++n) {
            if (n == 9) {
                CHECK(std::isnan(sum(m, n)));
            } else if (m == 3) {
                CHECK(sum(m, n) == (static_cast<float>(x.b(7, n)) > 0 ? infinity : -infinity));
            } else {
                CHECK(sum(m, n) == finite(m, n));
            }
        }
    }
}

TEST_CASE("tiles are read and written by rows, and nothing else is") {
    if (is_absent()) return;
    constexpr Index rows = 16, apart = 100, bytes = rows * apart;
    std::vector<unsigned char> from(bytes), to(bytes, 7);
    for (Index i = 0; i < bytes; ++i) from[static_cast<std::size_t>(i)] = static_cast<unsigned char>(i % 251);
    const auto check = [&](Index some_rows, Index some_bytes) {
        for (Index i = 0; i < bytes; ++i) {
            const bool is_of_tile = i / apart < some_rows && i % apart < some_bytes;
            CHECK(to[static_cast<std::size_t>(i)] == (is_of_tile ? from[static_cast<std::size_t>(i)] : 7));
        }
    };
    {
        const amx::Tiles tiles(true);
        amx::load<2>(from.data(), apart);
        amx::store<2>(to.data(), apart);
        check(16, 64);
    }
    // A tile of fewer rows and bytes; then all of it, when rows behind have become 0.
    amx::Layout layout;
    layout.rows[2] = 5, layout.bytes_of_row[2] = 12;
    std::fill(to.begin(), to.end(), static_cast<unsigned char>(7));
    amx::configure(layout);
    amx::load<2>(from.data(), apart);
    amx::store<2>(to.data(), apart);
    check(5, 12);
    amx::zero<2>();
    amx::store<2>(to.data(), apart);
    amx::release();
    CHECK(to[0] == 0);
    CHECK(to[4 * apart + 11] == 0);
    CHECK(to[12] == 7);
}

TEST_CASE("tiles inside tiles are the outer ones") {
    if (is_absent()) return;
    RowMatrix<float> x = RowMatrix<float>::Constant(16, 16, 3), y(16, 16);
    const amx::Tiles tiles(true);
    amx::load<0>(x.data(), 64);
    { const amx::Tiles inner(true), none(false); }
    amx::store<0>(y.data(), 64);
    CHECK(same_bits(x, y));
}

#if defined(ATTEND_AMX_IN_SOFTWARE)
namespace {

/// Why a processor would refuse what `f` does; empty where it would not.
template <class F>
std::string fault_of(F&& f) {
    const auto as_before = amx_tiles::on_fault;
    amx_tiles::on_fault = [](const char* what) { throw std::runtime_error(what); };
    std::string what;
    try {
        f();
    } catch (const std::runtime_error& error) {
        what = error.what();
    }
    amx_tiles::on_fault = as_before;
    return what;
}

}  // namespace

TEST_CASE("tiles in software refuse what a processor does") {
    float x[256] = {};
    const auto says = [](const char* words) { return std::string(words); };
    CHECK(fault_of([&] { amx::load<0>(x, 64); }) == says("no tiles are configured"));
    CHECK(fault_of([&] { amx::multiply<0, 1, 2>(); }) == says("no tiles are configured"));
    {
        const amx::Tiles tiles(true);
        CHECK(fault_of([&] { amx::multiply<0, 1, 2>(); }) == says(""));
        CHECK(fault_of([&] { amx::multiply<0, 1, 1>(); }) == says("TDPBF16PS: a tile is given twice"));
        CHECK(fault_of([&] { amx::store<8>(x, 64); }) == says("there are 8 tiles"));
    }
    CHECK(fault_of([&] { amx::zero<0>(); }) == says("no tiles are configured"));
    const auto with = [](auto&& change) {
        amx::Layout layout;
        change(layout);
        amx::configure(layout);
    };
    using Layout = amx::Layout;
    CHECK(fault_of([&] { with([](Layout& l) { l.palette = 2; }); }) == says("LDTILECFG: no such palette"));
    CHECK(fault_of([&] { with([](Layout& l) { l.rows[1] = 17; }); }) ==
          says("LDTILECFG: a tile has 16 rows of 64 bytes at most"));
    CHECK(fault_of([&] { with([](Layout& l) { l.rows[1] = 0; }); }) ==
          says("LDTILECFG: a tile has rows or bytes alone"));
    CHECK(fault_of([&] { with([](Layout& l) { l.rows[9] = 1, l.bytes_of_row[9] = 4; }); }) ==
          says("LDTILECFG: there are 8 tiles"));
    CHECK(fault_of([&] { with([](Layout& l) { l.reserved[3] = 1; }); }) == says("LDTILECFG: a reserved byte is not 0"));
    CHECK(fault_of([&] {
              with([](Layout& l) { l.rows[1] = 8; });
              amx::multiply<0, 1, 2>();
          }) == says("TDPBF16PS: the tiles do not fit each other"));
    CHECK(fault_of([&] {
              with([](Layout& l) { l.rows[1] = 0, l.bytes_of_row[1] = 0; });
              amx::load<1>(x, 64);
          }) == says("this tile is not configured"));
    amx::release();
}
#endif
#else
TEST_CASE("tiles of AMX") { WARN("no AMX in this build"); }
#endif

}  // namespace test_amx
