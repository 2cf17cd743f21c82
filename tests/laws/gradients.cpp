// The gradients of compositions, against differences: every score, chains of no to three modifiers in changing order,
// every kind of mask and every normalizer, over grouped heads, later queries and ragged sequences.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

namespace test_gradients {
namespace {

const Layout two_heads{.queries = 4, .keys = 5, .heads = 2, .kv_heads = 2};
const Layout grouped_and_later{.queries = 3, .keys = 6, .heads = 4, .kv_heads = 2, .query_offset = 3};
const Layout ragged{
    .queries = 5, .keys = 8, .heads = 2, .kv_heads = 1, .sequences = {0, 2, 2, 5}, .key_sequences = {0, 3, 4, 8}};

/// For compositions without parts of one shape.
template <class A>
void check_everywhere(const A& attention, std::uint64_t seed) {
    for (const Layout& layout : {two_heads, grouped_and_later, ragged})
        check_gradients(attention, random_operands(layout, seed++));
}

Eigen::MatrixXd random(Index rows, Index columns) {
    Random source(23);
    return random_matrix<double>(source, rows, columns);
}
RowMatrix<bool> half_true(Index rows, Index columns) { return random(rows, columns).array() > 0; }

const auto wavy =
    modifier([](auto s, auto p) { return s + sin(s) * decltype(s)(0.3) - tanh(decltype(s)(p.query - p.key)); });
const auto odd_or_own = mask([](Position p) { return p.key % 2 == 1 || p.key == p.query; });

}  // namespace

TEST_CASE("compositions of the dot product have exact gradients") {
    check_everywhere(dot_product >> (causal & sliding_window(3)), 100);
    const auto chain = [](const auto& values, Index heads, const auto& kept) {
        return dot_product >> bias(values, heads) >> soft_cap(2.0) >> scale(1.3) >> dense_mask(kept) >> top_k(2);
    };
    check_gradients(chain(random(4, 5), 1, half_true(4, 5)), random_operands(two_heads, 131));
    check_gradients(chain(random(12, 6), 4, half_true(3, 6)), random_operands(grouped_and_later, 141));
}

TEST_CASE("compositions of the scaled dot product have exact gradients") {
    check_everywhere(scaled_dot_product >> wavy >> relative_bias(random(8, 1), {.buckets = 8, .max_distance = 6}) >>
                         alibi(0.1) >> (causal | prefix(2)) >> softmax_with_sink(-0.2),
                     200);
    const auto with_lengths = [](const std::vector<Index>& keys) {
        return scaled_dot_product >> adaptive_span(1.6, 1.5) >> (~odd_or_own & lengths(keys)) >> sparsemax;
    };
    check_gradients(with_lengths({4}), random_operands(two_heads, 230));
    check_gradients(with_lengths({5}), random_operands(grouped_and_later, 231));
    check_gradients(with_lengths({2, 1, 3}), random_operands(ragged, 232));
}

TEST_CASE("compositions of the general score have exact gradients") {
    const GeneralAttention<double> general(3, 3, 7);
    check_everywhere(general >> scale(0.7) >> alibi(0.3) >>
                         (sliding_window(1, 2) | block_sparse(half_true(4, 3), 2, 2)) >> sigmoid(0.2),
                     310);
}

TEST_CASE("compositions of the additive score have exact gradients") {
    const AdditiveAttention<double> additive(3, 3, 4, 9);
    check_everywhere(additive >> wavy >> (odd_or_own & prefix(7)) >> entmax15, 410);
    check_everywhere(additive >> scale(2.0) >> soft_cap(1.4) >> adaptive_span(2.6, 1.0) >> documents({0, 2, 6}), 420);
}

TEST_CASE("compositions of the cosine and of a user's score have exact gradients") {
    check_everywhere(cosine(1.5) >> soft_cap(2.5) >>
                         relative_bias(random(6, 1), {.buckets = 6, .max_distance = 5, .bidirectional = false}),
                     510);
    const auto near = score([](auto q, auto k) { return -0.5 * (q - k) * (q - k); });
    check_everywhere(near >> alibi(0.15) >> (causal & ~prefix(1)) >> softmax, 520);
}

}  // namespace test_gradients
