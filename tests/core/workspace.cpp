#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <attend/attention.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_workspace {
namespace {

bool is_aligned(const std::byte* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % Workspace::alignment == 0;
}

const auto attention = scaled_dot_product >> soft_cap(5.0);

struct Operands {
    RowMatrix<double> q, k, v;

    Operands(Index queries, Index keys) {
        Random random(1);
        q = random_matrix<double>(random, queries, 16);
        k = random_matrix<double>(random, keys, 16);
        v = random_matrix<double>(random, keys, 8);
    }
};

}  // namespace

TEST_CASE("a workspace grows to the largest need, is aligned, and then stays where it is") {
    Workspace workspace;
    CHECK(workspace.bytes() == 0);
    CHECK(is_aligned(workspace.data(100)));
    std::byte* const large = workspace.data(5000);
    CHECK(is_aligned(large));
    CHECK(workspace.bytes() >= 5000);
    const std::size_t bytes = workspace.bytes();
    std::memset(large, 1, bytes);
    for (const std::size_t need : {std::size_t{1}, std::size_t{5000}, std::size_t{0}})
        CHECK(workspace.data(need) == large);
    CHECK(workspace.bytes() == bytes);
    CHECK(Workspace(std::size_t{4096}).bytes() >= 4096);
}

TEST_CASE("a moved workspace takes its memory along") {
    Workspace first(1000);
    std::byte* const memory = first.data(1000);
    Workspace second(std::move(first));
    CHECK(second.data(1000) == memory);
    Workspace third(10);
    third = std::move(second);
    CHECK(third.data(1000) == memory);
    CHECK(second.bytes() == 0);
}

TEST_CASE("calls with a warm workspace do not make it grow") {
    Workspace workspace;
    RowMatrix<double> out;
    const Operands large(40, 70), small(3, 5);
    attention(large.q, large.k, large.v, out, {.workspace = &workspace});
    const std::size_t bytes = workspace.bytes();
    const std::byte* const memory = workspace.data(bytes);
    CHECK(bytes > 0);
    for (const Operands* x : {&small, &large}) {
        RowMatrix<double> again;
        attention(x->q, x->k, x->v, again, {.workspace = &workspace});
        CHECK(same_bits(again, attention(x->q, x->k, x->v)));
    }
    CHECK(workspace.bytes() == bytes);
    CHECK(workspace.data(bytes) == memory);
}

TEST_CASE(
    "a fixed buffer of what a call needs is enough, at any alignment, and one byte less is refused before anything is "
    "written") {
    const Operands x(40, 70);
    Workspace growing;
    RowMatrix<double> expected;
    attention(x.q, x.k, x.v, expected, {.workspace = &growing});
    const std::size_t need = growing.bytes();

    std::vector<std::byte> memory(need + 2 * Workspace::alignment);
    for (std::size_t shift = 0; shift < Workspace::alignment; shift += 7) {
        CAPTURE(shift);
        std::byte* const start = memory.data() + shift;
        const std::size_t lost =
            (Workspace::alignment - reinterpret_cast<std::uintptr_t>(start) % Workspace::alignment) %
            Workspace::alignment;
        Workspace enough(std::span(start, need + lost));
        CHECK(enough.bytes() == need);
        CHECK(is_aligned(enough.data(need)));
        RowMatrix<double> out;
        attention(x.q, x.k, x.v, out, {.workspace = &enough});
        CHECK(same_bits(out, expected));

        Workspace lacking(std::span(start, need + lost - 1));
        RowMatrix<double> untouched = RowMatrix<double>::Constant(40, 8, 7.0);
        Eigen::VectorXd lse;
        std::fill(memory.begin(), memory.end(), std::byte{0x5a});
        CHECK_THROWS_MATCHES(attention(x.q, x.k, x.v, untouched, {.workspace = &lacking, .lse = lse}),
                             std::length_error,
                             Catch::Matchers::Message("attend: workspace: the call needs " + std::to_string(need) +
                                                      " bytes, the fixed buffer holds " + std::to_string(need - 1)));
        CHECK((untouched.array() == 7.0).all());
        CHECK(lse.size() == 0);
        CHECK(std::all_of(memory.begin(), memory.end(), [](std::byte b) { return b == std::byte{0x5a}; }));
    }
}

TEST_CASE("a buffer without an aligned byte holds nothing") {
    alignas(Workspace::alignment) std::byte memory[Workspace::alignment];
    Workspace workspace(std::span(memory + 1, Workspace::alignment - 1));
    CHECK(workspace.bytes() == 0);
    CHECK_THROWS_AS(workspace.data(1), std::length_error);
}

}  // namespace test_workspace
