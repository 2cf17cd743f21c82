// The gradients of compositions, against differences: every score, chains of no to three modifiers in changing order,
// every kind of mask and every normalizer, over grouped heads, later queries and ragged sequences.

#include <attend/attend.hpp>

#include <support/catch.hpp>
#include <support/finite_difference.hpp>

using namespace attend;
using namespace attend::test;

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
    check_everywhere(dot_product >> causal, 100);
    check_everywhere(dot_product >> soft_cap(1.2) >> alibi(0.2) >> (causal & sliding_window(3)), 110);
    check_everywhere(dot_product >> wavy >> scale(0.8) >> odd_or_own >> softmax_with_sink(0.3), 120);
    check_gradients(
        dot_product >> bias(random(4, 5)) >> soft_cap(2.0) >> scale(1.3) >> dense_mask(half_true(4, 5)) >> softmax,
        random_operands(two_heads, 130));
    check_gradients(dot_product >> adaptive_span(1.4, 2.0) >> bias(random(12, 6), 4) >> prefix(4) >> top_k(2),
                    random_operands(grouped_and_later, 140));
}

TEST_CASE("compositions of the scaled dot product have exact gradients") {
    check_everywhere(
        scaled_dot_product >> relative_bias(random(8, 1), {.buckets = 8, .max_distance = 6}) >> softmax_with_sink(-0.2),
        200);
    check_everywhere(scaled_dot_product >> (causal | prefix(2)) >> sparsemax, 210);
    check_everywhere(scaled_dot_product >> alibi(0.1) >> wavy >> soft_cap(3.0) >> ~odd_or_own >> entmax15, 220);
    check_everywhere(scaled_dot_product >> adaptive_span(1.6, 1.5) >> documents({0, 2, 6}) >> sigmoid(-1.0), 230);
    check_gradients(scaled_dot_product >> soft_cap(0.9) >> lengths({2, 1, 3}) >> softmax, random_operands(ragged, 240));
}

TEST_CASE("compositions of the general score have exact gradients") {
    const GeneralAttention<double> general(3, 3, 7);
    check_everywhere(general >> block_sparse(half_true(4, 3), 2, 2), 300);
    check_everywhere(general >> scale(0.7) >> alibi(0.3) >> sliding_window(1, 2) >> top_k(3), 310);
    check_everywhere(general >> soft_cap(1.1) >> causal >> sigmoid(0.2), 320);
}

TEST_CASE("compositions of the additive score have exact gradients") {
    const AdditiveAttention<double> additive(3, 3, 4, 9);
    check_everywhere(additive >> causal, 400);
    check_everywhere(additive >> wavy >> (odd_or_own & prefix(7)) >> entmax15, 410);
    check_everywhere(additive >> scale(2.0) >> soft_cap(1.4) >> adaptive_span(2.6, 1.0) >> softmax_with_sink(0.1), 420);
    check_gradients(additive >> bias(random(3, 6)) >> sparsemax, random_operands(grouped_and_later, 430));
}

TEST_CASE("compositions of the cosine and of a user's score have exact gradients") {
    const auto near = score([](auto q, auto k) { return -0.5 * (q - k) * (q - k); });
    check_everywhere(cosine(2.0) >> alibi(0.15) >> causal >> sparsemax, 500);
    check_everywhere(
        cosine(1.5) >> wavy >> relative_bias(random(6, 1), {.buckets = 6, .max_distance = 5, .bidirectional = false}),
        510);
    check_everywhere(near >> soft_cap(2.5) >> sliding_window(2) >> softmax, 520);
    check_everywhere(near >> (causal & ~prefix(1)) >> top_k(1), 540);
}
