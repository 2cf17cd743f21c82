#include <algorithm>
#include <vector>

#include <attend/core/overlap.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_overlap {
using attend::detail::may_overlap;

namespace {

/// Every byte that a view's elements lie on, in order.
template <class T>
std::vector<const char*> bytes_of(const StridedView<T>& view) {
    std::vector<const char*> bytes;
    for (Index s = 0; s < view.sequences; ++s) {
        for (Index h = 0; h < view.heads; ++h) {
            for (Index i = 0; i < view.rows; ++i) {
                for (Index j = 0; j < view.columns; ++j) {
                    const auto* element =
                        reinterpret_cast<const char*>(view.data + s * view.sequence_stride + h * view.head_stride +
                                                      i * view.row_stride + j * view.column_stride);
                    for (std::size_t byte = 0; byte < sizeof(T); ++byte) bytes.push_back(element + byte);
                }
            }
        }
    }
    std::sort(bytes.begin(), bytes.end());
    return bytes;
}

template <class A, class B>
bool do_overlap(const StridedView<A>& a, const StridedView<B>& b) {
    const auto bytes_a = bytes_of(a), bytes_b = bytes_of(b);
    std::vector<const char*> shared;
    std::set_intersection(bytes_a.begin(), bytes_a.end(), bytes_b.begin(), bytes_b.end(), std::back_inserter(shared));
    return !shared.empty();
}

template <class T>
StridedView<T> random_view(Random& random, T* memory) {
    const auto size = [&] { return random_index(random, 1, 3); };
    const auto stride = [&] { return random_index(random, 0, 12); };
    return strided(memory + random_index(random, 0, 24), {size(), size(), size(), size()},
                   {stride(), stride(), stride(), stride()});
}

/// Counts how often views were found apart, for the law to have been put to the test.
template <class A, class B>
Index check_random_views(std::uint64_t seed) {
    Random random(seed);
    alignas(16) char memory[4096];
    Index apart = 0, wrong = 0;
    for (int i = 0; i < 100000; ++i) {
        const auto a = random_view(random, reinterpret_cast<A*>(memory));
        const auto b = random_view(random, reinterpret_cast<B*>(memory));
        apart += !may_overlap(a, b);
        wrong += !may_overlap(a, b) && do_overlap(a, b);
        wrong += !may_overlap(b, a) && do_overlap(a, b);
    }
    CHECK(wrong == 0);
    return apart;
}

}  // namespace

TEST_CASE("views that share an element are never said to be apart, in either order") {
    CHECK(check_random_views<double, double>(1) > 10000);
    CHECK(check_random_views<float, double>(2) > 10000);
}

TEST_CASE("interleaved views with one period are apart, and known to be") {
    Random random(3);
    double memory[512];
    Index known = 0, apart = 0;
    for (int i = 0; i < 20000; ++i) {
        // Two sets of columns of one packed matrix, in which both stand at random.
        const Index width = random_index(random, 2, 12), rows = random_index(random, 2, 6);
        const auto columns = [&] {
            const Index first = random_index(random, 0, width - 1), count = random_index(random, 1, width - first);
            return strided(memory + first, {1, 1, rows, count}, {0, 0, width, 1});
        };
        const auto a = columns(), b = columns();
        apart += !do_overlap(a, b);
        known += !may_overlap(a, b);
    }
    CHECK(apart > 1000);
    CHECK(known == apart);
}

TEMPLATE_TEST_CASE("q, k and v of one packed matrix are apart, and so are their heads", "", Eigen::MatrixXf,
                   RowMatrix<float>) {
    TestType packed(7, 3 * 8);
    const auto part = [&](Index i) { return heads(packed.middleCols(8 * i, 8), 4); };
    for (Index i = 0; i < 3; ++i) {
        for (Index j = 0; j < 3; ++j) CHECK(may_overlap(part(i), part(j)) == (i == j));
    }
    for (Index h = 0; h < 4; ++h) {
        for (Index g = 0; g < 4; ++g) {
            CHECK(may_overlap(heads(packed.middleCols(2 * h, 2), 1), heads(packed.middleCols(2 * g, 2), 1)) ==
                  (h == g));
        }
    }
}

TEST_CASE("packed batches: (batch, token, 3, head, column) keeps q, k and v apart") {
    constexpr Index batches = 2, tokens = 5, count = 3, width = 4;
    std::vector<float> memory(batches * tokens * 3 * count * width);
    const auto part = [&](Index i) {
        return strided(memory.data() + i * count * width, {batches, count, tokens, width},
                       {tokens * 3 * count * width, width, 3 * count * width, 1});
    };
    for (Index i = 0; i < 3; ++i) {
        for (Index j = 0; j < 3; ++j) CHECK(may_overlap(part(i), part(j)) == (i == j));
    }
}

TEST_CASE("what has no element overlaps nothing") {
    double memory[4];
    const auto all = strided(memory, {1, 1, 2, 2}, {0, 0, 2, 1});
    CHECK(may_overlap(all, all));
    CHECK_FALSE(may_overlap(all, strided(memory, {1, 1, 2, 0}, {0, 0, 2, 1})));
    CHECK_FALSE(may_overlap(StridedView<double>(), all));
}

}  // namespace test_overlap
