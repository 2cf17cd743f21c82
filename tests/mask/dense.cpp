#include <attend/mask/dense.hpp>

#include <array>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_dense {

TEST_CASE("true keeps, by row and key") {
    const auto mask = dense_mask(RowMatrix<bool>{{true, false, true}, {false, false, true}});
    CHECK(mask({.query = 100, .key = 0, .row = 0, .head = 3}));
    CHECK_FALSE(mask({.query = 100, .key = 1, .row = 0}));
    CHECK_FALSE(mask({.query = 0, .key = 0, .row = 1}));
    CHECK(mask({.query = 0, .key = 2, .row = 1}));
}

TEST_CASE("any boolean expression is a mask") {
    Random random(1);
    const Eigen::MatrixXd values = random_matrix<double>(random, 4, 6);
    const Operands<double> x = random_operands({.queries = 4, .keys = 6}, 2);
    const auto y = forward(dot_product >> dense_mask(values.array() > 0), x);
    CHECK(((y.weights.array() > 0) == (values.array() > 0)).all());
}

TEST_CASE("a view of foreign booleans is read through its strides, a size of 1 serving all") {
    std::array<bool, 24> memory{};
    memory[0 * 12 + 1 * 4 + 3] = true;  // of 2 sequences × 3 rows × 4 keys
    const auto view = [&](Index sequences, Index heads) {
        return dense_mask(strided(memory.data(), {sequences, heads, 3, 4}, {12, 0, 4, 1}));
    };
    CHECK(view(2, 1)({.query = 50, .key = 3, .row = 1, .head = 7, .sequence = 0}));
    CHECK_FALSE(view(2, 1)({.query = 50, .key = 3, .row = 1, .head = 7, .sequence = 1}));
    CHECK(view(1, 1)({.query = 50, .key = 3, .row = 1, .head = 7, .sequence = 1}));
    CHECK_FALSE(view(1, 1)({.query = 50, .key = 2, .row = 1}));
    memory[12 + 4 + 3] = true;
    CHECK(view(2, 1)({.key = 3, .row = 1, .sequence = 1}));
}

}  // namespace test_dense
