// A ragged batch needs no padding: what a padded one gives through lengths({…}) is what `.sequences` gives without, in
// outputs and in every gradient, and step by step.

#include <attend/attend.hpp>

#include <vector>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head_ragged {
namespace {

using Matrix = RowMatrix<double>;

constexpr Index d = 16, longest = 21;
const std::vector<Index> query_lengths{9, 0, 14, 1}, key_lengths{21, 3, 0, 17};

Matrix rows_of(Index rows, Index columns, std::uint64_t seed) {
    Random random(seed);
    return random_matrix<double>(random, rows, columns);
}
std::vector<Index> offsets_of(const std::vector<Index>& lengths) {
    std::vector<Index> offsets{0};
    for (const Index length : lengths) offsets.push_back(offsets.back() + length);
    return offsets;
}
std::vector<Index> evenly(std::size_t count) { return offsets_of(std::vector<Index>(count, longest)); }
/// The rows of sequences in the padded batch, whose other rows hold what must reach nothing.
Matrix padded(const Matrix& rows, const std::vector<Index>& lengths, double filling) {
    Matrix all = Matrix::Constant(std::ssize(lengths) * longest, rows.cols(), filling);
    Index from = 0;
    for (std::size_t s = 0; s < lengths.size(); from += lengths[s++])
        all.middleRows(static_cast<Index>(s) * longest, lengths[s]) = rows.middleRows(from, lengths[s]);
    return all;
}
Matrix unpadded(const Matrix& all, const std::vector<Index>& lengths) {
    Matrix rows(offsets_of(lengths).back(), all.cols());
    Index to = 0;
    for (std::size_t s = 0; s < lengths.size(); to += lengths[s++])
        rows.middleRows(to, lengths[s]) = all.middleRows(static_cast<Index>(s) * longest, lengths[s]);
    return rows;
}

template <class Block>
void check_parameters(const Block& found, const Block& right) {
    std::vector<Matrix> expected;
    visit_parameters(right, [&](std::string_view, const auto& value) { expected.push_back(Matrix(value)); });
    std::size_t next = 0;
    visit_parameters(found, [&](std::string_view name, const auto& value) {
        CAPTURE(name);
        const Matrix& of = expected[next++];
        CHECK(distance(value, of) <= 1e-13 * magnitude(of));
    });
}

/// Self-attention of queries' lengths, and cross-attention to memories of keys' lengths.
template <class A>
void check(const A& attention, const MultiHeadShape& shape) {
    const auto block = multi_head<double>(shape, attention >> causal, 1);
    const auto padded_block = multi_head<double>(shape, attention >> (causal & lengths(query_lengths)), 1);
    const auto crossing = multi_head<double>(shape, attention, 1);
    const auto padded_crossing = multi_head<double>(shape, attention >> lengths(key_lengths), 1);
    const std::vector<Index> offsets = offsets_of(query_lengths), key_offsets = offsets_of(key_lengths);
    const auto cut = sequences(offsets), key_cut = sequences(key_offsets), even = sequences(evenly(4));
    const Matrix x = rows_of(offsets.back(), d, 1), dy = rows_of(offsets.back(), d, 2),
                 memory = rows_of(key_offsets.back(), d, 3), x_padded = padded(x, query_lengths, 100),
                 dy_padded = padded(dy, query_lengths, 0), memory_padded = padded(memory, key_lengths, 100);
    MultiHeadTape<double> tape, padded_tape;
    Matrix y, y_padded, dx, dx_padded, dmemory, dmemory_padded;

    auto gradient = zero_gradient(block);
    auto padded_gradient = zero_gradient(padded_block);
    block.forward(x, y, {.tape = &tape, .sequences = cut});
    padded_block.forward(x_padded, y_padded, {.tape = &padded_tape, .sequences = even});
    CHECK(distance(unpadded(y_padded, query_lengths), y) <= 1e-14 * magnitude(y));
    block.backward(tape, dy, dx, {.gradient = &gradient});
    padded_block.backward(padded_tape, dy_padded, dx_padded, {.gradient = &padded_gradient});
    CHECK(distance(dx_padded, padded(dx, query_lengths, 0)) <= 1e-13 * magnitude(dx));
    check_parameters(static_cast<const MultiHeadProjections<double>&>(padded_gradient),
                     static_cast<const MultiHeadProjections<double>&>(gradient));

    auto crossing_gradient = zero_gradient(crossing);
    auto padded_crossing_gradient = zero_gradient(padded_crossing);
    crossing.forward(x, memory, y, {.tape = &tape, .query_offset = 2, .sequences = cut, .key_sequences = key_cut});
    padded_crossing.forward(x_padded, memory_padded, y_padded,
                            {.tape = &padded_tape, .query_offset = 2, .sequences = even, .key_sequences = even});
    CHECK(distance(unpadded(y_padded, query_lengths), y) <= 1e-14 * magnitude(y));
    dx.resize(0, 0), dx_padded.resize(0, 0);
    crossing.backward(tape, dy, dx, dmemory, {.gradient = &crossing_gradient});
    padded_crossing.backward(padded_tape, dy_padded, dx_padded, dmemory_padded,
                             {.gradient = &padded_crossing_gradient});
    CHECK(distance(dx_padded, padded(dx, query_lengths, 0)) <= 1e-13 * magnitude(dx));
    CHECK(distance(dmemory_padded, padded(dmemory, key_lengths, 0)) <= 1e-13 * magnitude(dmemory));
    check_parameters(static_cast<const MultiHeadProjections<double>&>(padded_crossing_gradient),
                     static_cast<const MultiHeadProjections<double>&>(crossing_gradient));
}

}  // namespace

TEST_CASE("padding through lengths gives the numbers of a ragged batch, outputs and all gradients") {
    check(scaled_dot_product, {.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}});
    for (const OutputGate gate : {OutputGate::elementwise, OutputGate::headwise})
        check(scaled_dot_product,
              {.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}, .qk_norm = RmsNorm{}, .gate = gate});
    check(scaled_dot_product >> alibi(0.2), {.d_model = d, .heads = 2, .bias = false});
    check(AdditiveAttention<double>(8, 8, 5, 1), {.d_model = d, .heads = 2});
}

TEST_CASE("a ragged batch over a cache, in pieces of any lengths, gives the padded batch at once") {
    const auto block =
        multi_head<double>({.d_model = d, .heads = 4, .kv_heads = 2, .rope = Rope{}}, scaled_dot_product >> causal, 1);
    const std::vector<Index> all{21, 8, 14, 1};
    const Matrix x = rows_of(offsets_of(all).back(), d, 5), padding = padded(x, all, 100);
    const auto masked = multi_head<double>(block.shape(), scaled_dot_product >> (causal & lengths(all)), 1);
    const Matrix right = masked(padding, {.sequences = sequences(evenly(4))});
    KvCache<double> cache({.heads = 2, .d_k = 4, .capacity = longest, .sequences = 4});
    const std::vector<std::vector<Index>> pieces{{9, 0, 2, 1}, {1, 7, 0, 0}, {11, 1, 12, 0}};
    std::vector<Index> done(4, 0);
    for (const auto& piece : pieces) {
        const auto offsets = offsets_of(piece);
        Matrix next(offsets.back(), d), y;
        for (std::size_t s = 0; s < 4; ++s)
            next.middleRows(offsets[s], piece[s]) =
                padding.middleRows(static_cast<Index>(s) * longest + done[s], piece[s]);
        block.step(next, cache, y, {.sequences = sequences(offsets)});
        for (std::size_t s = 0; s < 4; done[s] += piece[s], ++s)
            CHECK(distance(y.middleRows(offsets[s], piece[s]),
                           right.middleRows(static_cast<Index>(s) * longest + done[s], piece[s])) <=
                  4e-15 * magnitude(right));
    }
    CHECK(done == all);
}

}  // namespace test_multi_head_ragged
