// Numbers held as narrower ones become what a conversion of each makes of them.

#include <attend/core/stored.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <support/catch.hpp>

using namespace attend;

namespace test_stored {
namespace {

template <class T, class S>
void check(const std::vector<S>& numbers) {
    namespace simd = attend::detail::simd;
    const Index w = simd::width<T>, count = static_cast<Index>(numbers.size());
    const auto same = [](T a, T b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    std::vector<T> packets(numbers.size() + 1, T(7));
    simd::convert(numbers.data(), count, packets.data());
    for (Index i = 0; i < count; ++i)
        CHECK(same(packets[static_cast<std::size_t>(i)], static_cast<T>(numbers[static_cast<std::size_t>(i)])));
    CHECK(packets.back() == T(7));
    for (Index some = 1; some <= std::min(w, count); ++some) {  // from the end: nothing behind may be read
        std::vector<S> last(numbers.end() - some, numbers.end());
        T lanes[64];
        simd::store(lanes, simd::load_as<T>(last.data(), some));
        for (Index i = 0; i < w; ++i)
            CHECK(same(lanes[i], i < some ? static_cast<T>(last[static_cast<std::size_t>(i)]) : T(0)));
    }
}

/// All numbers of 8 bits.
template <class S>
std::vector<S> all_of_8_bits() {
    std::vector<S> numbers(256);
    for (std::size_t code = 0; code < 256; ++code) numbers[code].bits = static_cast<std::uint8_t>(code);
    return numbers;
}

/// All numbers of 16 bits, but NaNs of which there are many.
template <class S>
std::vector<S> all_of_16_bits() {
    std::vector<S> numbers;
    for (int bits = 0; bits < 65536; bits += 7)
        numbers.push_back(Eigen::numext::bit_cast<S>(static_cast<std::uint16_t>(bits)));
    numbers.push_back(S(std::numeric_limits<float>::infinity())), numbers.push_back(S(-0.0F));
    return numbers;
}

template <class T, class S>
void check_narrowing(const std::vector<T>& numbers) {
    namespace simd = attend::detail::simd;
    const Index w = simd::width<T>;
    for (std::size_t begin = 0; begin + static_cast<std::size_t>(w) <= numbers.size(); ++begin) {
        for (const Index count : {Index(1), (w + 1) / 2, w}) {
            std::vector<S> narrow(static_cast<std::size_t>(w) + 1, S(7.0F));
            simd::store_as<T>(narrow.data(), simd::load(numbers.data() + begin), count);
            for (Index i = 0; i <= w; ++i) {
                const S x = narrow[static_cast<std::size_t>(i)];
                const S expected = i < count ? static_cast<S>(numbers[begin + static_cast<std::size_t>(i)]) : S(7.0F);
                const bool nan = (Eigen::numext::isnan)(expected) && (Eigen::numext::isnan)(x);
                CHECK((nan ||
                       Eigen::numext::bit_cast<std::uint16_t>(x) == Eigen::numext::bit_cast<std::uint16_t>(expected)));
            }
        }
    }
}

}  // namespace

TEMPLATE_TEST_CASE("numbers are narrowed as a conversion of each does", "", float, double) {
    using T = TestType;
    std::vector<T> numbers;
    // Between two numbers of 16 bits, a little more and less; too large and too small ones; none.
    for (int bits = 0; bits < 65536; bits += 1021) {
        const auto x = static_cast<float>(Eigen::numext::bit_cast<Eigen::bfloat16>(static_cast<std::uint16_t>(bits)));
        const auto y = static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(static_cast<std::uint16_t>(bits)));
        for (const float factor : {1.F, 1.00390625F, 1.00390637F, 1.00048828125F, 1.000488F})
            numbers.push_back(T(x * factor)), numbers.push_back(T(y * factor));
    }
    for (int i = 0; i < 16; ++i) numbers.push_back(std::numeric_limits<T>::quiet_NaN());
    check_narrowing<T, Eigen::bfloat16>(numbers);
    check_narrowing<T, Eigen::half>(numbers);
}

TEST_CASE("floats of any upper half become what Eigen makes of each in bfloat16") {
    namespace simd = attend::detail::simd;
    constexpr Index w = simd::width<float>;
    Index wrong = 0;
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
        for (std::uint32_t upper = 0; upper < 0x10000; upper += static_cast<std::uint32_t>(w)) {
            float numbers[w];
            for (std::uint32_t i = 0; i < w; ++i)
                numbers[i] = Eigen::numext::bit_cast<float>((upper + i) << 16 | lower);
            Eigen::bfloat16 narrow[w];
            simd::store_as<float>(narrow, simd::load(numbers));
            for (Index i = 0; i < w; ++i) {
                const auto expected = static_cast<Eigen::bfloat16>(numbers[i]);
                if (Eigen::numext::bit_cast<std::uint16_t>(narrow[i]) !=
                    Eigen::numext::bit_cast<std::uint16_t>(expected))
                    ++wrong;
            }
        }
    }
    CHECK(wrong == 0);
}

TEMPLATE_TEST_CASE("narrow numbers are widened exactly", "", float, double) {
    std::vector<std::int8_t> bytes;
    for (int i = -128; i < 128; ++i) bytes.push_back(static_cast<std::int8_t>(i));
    check<TestType>(bytes);
    check<TestType>(all_of_8_bits<Float8E4M3>());
    check<TestType>(all_of_8_bits<Float8E5M2>());
    check<TestType>(all_of_16_bits<Eigen::half>());
    check<TestType>(all_of_16_bits<Eigen::bfloat16>());
    check<TestType>(std::vector<float>{1.5F, -2.25F, 3e30F, 0, 5, 6, 7, 8, 9});
}

}  // namespace test_stored
