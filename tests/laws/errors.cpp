// Calls that cannot be right are refused with a text that names the operands and their shapes, before anything is
// written.

#include <attend/attend.hpp>

#include <array>
#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_errors {
namespace {

using Matrix = RowMatrix<double>;

Matrix filled(Index rows, Index columns) { return Matrix::Constant(rows, columns, 7.0); }

/// Good operands of 4 queries and 6 keys, with outputs of the right shapes that no refused call may touch.
struct Call {
    Matrix q = filled(4, 3), k = filled(6, 3), v = filled(6, 2);
    Matrix out = filled(4, 2), lse = filled(4, 1), weights = filled(4, 6);
    Matrix dout = filled(4, 2), dq = filled(4, 3), dk = filled(6, 3), dv = filled(6, 2);

    template <class A>
    std::string forward(const A& attention) {
        const std::string text = refusal([&] { attention(q, k, v, out, {.lse = lse, .weights = weights}); });
        check_untouched();
        return text;
    }
    template <class A>
    std::string backward(const A& attention) {
        const std::string text = refusal([&] { attention.backward(q, k, v, out, lse, dout, dq, dk, dv); });
        check_untouched();
        return text;
    }
    void check_untouched() const {
        for (const Matrix* x : {&out, &lse, &weights, &dq, &dk, &dv}) CHECK((x->array() == 7.0).all());
    }
};

std::string forward_refusal(const Call& call) { return Call(call).forward(scaled_dot_product); }
std::string backward_refusal(const Call& call) { return Call(call).backward(scaled_dot_product); }

}  // namespace

TEST_CASE("good operands are refused nothing") {
    Matrix out;
    const Call call;
    CHECK(refusal([&] { scaled_dot_product(call.q, call.k, call.v, out); }) == "");
}

TEST_CASE("operands that do not fit each other are named with their shapes") {
    CHECK(forward_refusal({.q = filled(4, 5)}) == "q (4x5) and k (6x3) must have the same width");
    CHECK(forward_refusal({.v = filled(5, 2)}) == "k (6x3) and v (5x2) must have one row each for every key");
    CHECK(backward_refusal({.q = filled(4, 5)}) == "q (4x5) and k (6x3) must have the same width");
    CHECK(backward_refusal({.v = filled(5, 2)}) == "k (6x3) and v (5x2) must have one row each for every key");
    CHECK(Call{.q = filled(4, 5)}.forward(cosine(1.0)) == "q (4x5) and k (6x3) must have the same width");
    CHECK(Call{}.forward(GeneralAttention<double>(3, 4, 1)) ==
          "q (4x3) and k (6x3) must be as wide as the general score's weight (3x4) has rows and columns");
    CHECK(Call{}.forward(AdditiveAttention<double>(2, 3, 5, 1)) ==
          "q (4x3) must be as wide as the additive score's query_weight (2x5) has rows");
    CHECK(Call{}.forward(AdditiveAttention<double>(3, 4, 5, 1)) ==
          "k (6x3) must be as wide as the additive score's key_weight (4x5) has rows");
    AdditiveAttention<double> torn(3, 3, 5, 1);
    torn.bias.resize(4);
    CHECK(Call{}.forward(torn) ==
          "the additive score's query_weight (3x5), key_weight (3x5), bias (4) and score_weight (5) must agree on the "
          "hidden width");
}

TEST_CASE("outputs of the wrong shape are refused") {
    CHECK(forward_refusal({.out = filled(4, 3)}) == "out (4x3) must be 4x2, or empty to be resized");
    CHECK(forward_refusal({.lse = filled(6, 1)}) == "lse (6x1) must be 4x1, or empty to be resized");
    CHECK(forward_refusal({.lse = filled(1, 4)}) == "lse (1x4) must be 4x1, or empty to be resized");
    CHECK(forward_refusal({.weights = filled(6, 4)}) == "weights (6x4) must be 4x6, or empty to be resized");
    CHECK(backward_refusal({.dq = filled(3, 3)}) == "dq (3x3) must be 4x3, or empty to be resized");
    CHECK(backward_refusal({.dk = filled(6, 2)}) == "dk (6x2) must be 6x3, or empty to be resized");
    CHECK(backward_refusal({.dv = filled(6, 3)}) == "dv (6x3) must be 6x2, or empty to be resized");

    Call call;
    Eigen::Matrix<double, 2, 2> fixed;
    CHECK(refusal([&] { scaled_dot_product(call.q, call.k, call.v, fixed); }) == "out (2x2) must be 4x2");
    CHECK(refusal([&] { scaled_dot_product(call.q, call.k, call.v, call.dk.leftCols(2)); }) == "out (6x2) must be 4x2");
    CHECK(refusal([&] { scaled_dot_product(call.q, call.k, call.v, Output<double>()); }) == "the output must be given");
    call.check_untouched();
}

TEST_CASE("every gradient of an operand must be given") {
    Call c;
    const std::string missing = "the gradients dq, dk and dv must be given";
    CHECK(refusal([&] { dot_product.backward(c.q, c.k, c.v, c.out, c.lse, c.dout, {}, c.dk, c.dv); }) == missing);
    CHECK(refusal([&] { dot_product.backward(c.q, c.k, c.v, c.out, c.lse, c.dout, c.dq, {}, c.dv); }) == missing);
    CHECK(refusal([&] { dot_product.backward(c.q, c.k, c.v, c.out, c.lse, c.dout, c.dq, c.dk, {}); }) == missing);
    c.check_untouched();
}

TEST_CASE("what backward takes from forward must have its shape") {
    CHECK(backward_refusal({.out = filled(4, 3)}) == "out (4x3) must be 4x2 to go with q (4x3)");
    CHECK(backward_refusal({.lse = filled(4, 2)}) == "lse (4x2) must be 4x1 to go with q (4x3)");
    CHECK(backward_refusal({.dout = filled(5, 2)}) == "dout (5x2) must be 4x2 to go with q (4x3)");
}

TEST_CASE("an output that shares memory with an operand is refused") {
    const std::string own = ": give the call memory of its own to write to";
    Matrix q = filled(4, 2), k = filled(4, 2), v = filled(4, 2), out = filled(4, 2), lse = filled(4, 1), dq, dk;
    CHECK(refusal([&] { dot_product(q, k, v, q); }) == "out (4x2) aliases q (4x2)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, k); }) == "out (4x2) aliases k (4x2)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, v.topRows(4)); }) == "out (4x2) aliases v (4x2)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, out, {.lse = out.col(1)}); }) == "lse (4x1) aliases out (4x2)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, dq, {.lse = q.col(1)}); }) == "lse (4x1) aliases q (4x2)" + own);
    Matrix square = filled(4, 4);
    CHECK(refusal([&] { dot_product(q, k, v, square.leftCols(2), {.weights = square}); }) ==
          "weights (4x4) aliases out (4x2)" + own);
    CHECK(refusal([&] { dot_product(square, square, v, out, {.weights = square}); }) ==
          "weights (4x4) aliases q (4x4)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, out, {.lse = square.col(0), .weights = square}); }) ==
          "weights (4x4) aliases lse (4x1)" + own);
    CHECK(refusal([&] { dot_product.backward(q, k, v, out, lse, out, q, dk, dk); }) ==
          "dq (4x2) aliases q (4x2)" + own);
    CHECK(refusal([&] {
              dot_product.backward(q, k, v, out, lse, square.leftCols(2), dq, square.rightCols(3).leftCols(2), dk);
          }) == "dk (4x2) aliases dout (4x2)" + own);
    CHECK(refusal([&] { dot_product.backward(q, k, v, out, lse, square.leftCols(2), dq, dk, out); }) ==
          "dv (4x2) aliases out (4x2)" + own);
    CHECK(refusal([&] {
              dot_product.backward(q, k, v, out, lse, out, square.leftCols(2), square.middleCols(1, 2), dk);
          }) == "dq (4x2) aliases dk (4x2)" + own);
    for (const Matrix* x : {&q, &k, &v, &out, &lse, &square}) CHECK((x->array() == 7.0).all());
}

TEST_CASE("packed columns of one matrix share no element and are accepted") {
    const Operands<double> x = random_operands({.queries = 5, .keys = 5, .d_v = 3}, 1);
    Matrix packed(5, 12);
    packed << x.q, x.k, x.v, filled(5, 3);
    scaled_dot_product(packed.leftCols(3), packed.middleCols(3, 3), packed.middleCols(6, 3), packed.rightCols(3));
    CHECK(same_bits(packed.rightCols(3), forward(scaled_dot_product, x).out));
}

TEST_CASE("heads must divide") {
    Matrix q = filled(4, 12), k = filled(6, 6), v = filled(6, 6), out;
    CHECK(refusal([&] { heads(q, 5); }) == "heads: 5 heads do not divide the 12 columns of x (4x12)");
    CHECK(refusal([&] { heads(q, 0); }) == "heads: 0 heads do not divide the 12 columns of x (4x12)");
    CHECK(refusal([&] { dot_product(heads(q, 4), heads(k, 3), heads(v, 3), out); }) ==
          "the 3 key/value heads of k (3 heads x 6x2) must divide the 4 query heads of q (4 heads x 4x3)");
    CHECK(refusal([&] { dot_product(heads(q, 4), heads(k, 2), heads(v, 1), out); }) ==
          "k (2 heads x 6x3) and v (6x6) must have the same number of heads");
    CHECK(out.size() == 0);
}

TEST_CASE("strided views are checked like matrices") {
    std::array<double, 96> memory{};
    const auto view = [&](Index batch, Index rows) {
        return strided(memory.data(), {batch, 1, rows, 2}, {0, 0, 2, 1});
    };
    Matrix out, lse;
    CHECK(refusal([&] {
              strided(memory.data(), {1, 1, -1, 2}, {0, 0, 2, 1});
          }) == "strided: sizes {1, 1, -1, 2} and strides {0, 0, 2, 1} must not be negative");
    CHECK(refusal([&] {
              strided(memory.data(), {1, 1, 3, 2}, {0, 0, -2, 1});
          }) == "strided: sizes {1, 1, 3, 2} and strides {0, 0, -2, 1} must not be negative");
    CHECK(refusal([&] { dot_product(view(2, 3), view(3, 4), view(3, 4), out); }) ==
          "q (2 sequences x 3x2), k (3 sequences x 4x2) and v (3 sequences x 4x2) must have the same number of "
          "sequences");
    std::array<double, 24> result{};
    CHECK(refusal([&] {
              dot_product(view(2, 3), view(2, 4), view(2, 4), strided(result.data(), {2, 1, 4, 2}, {8, 0, 2, 1}));
          }) == "out (2 sequences x 4x2) must be 2 sequences x 3x2");
    CHECK(refusal([&] {
              dot_product(view(2, 3), view(2, 4), view(2, 4), out, {.sequences = sequences({0, 3})});
          }) == "sequences cuts the rows of plain operands, but q (2 sequences x 3x2) is a batch already");
}

TEST_CASE("sequences must cut the rows") {
    const Call call;
    Matrix out;
    const auto with = [&](const Sequences& queries, const Sequences& keys) {
        return refusal(
            [&] { dot_product(call.q, call.k, call.v, out, {.sequences = queries, .key_sequences = keys}); });
    };
    CHECK(with(sequences({0, 2, 4}), sequences({0, 1, 6})) == "");
    out.resize(0, 0);
    CHECK(with(sequences({0, 2, 3}), sequences({0, 1, 6})) == "sequences must end at the 4 rows of q (4x3), not at 3");
    CHECK(with(sequences({0, 2, 4}), sequences({0, 1, 7})) ==
          "key_sequences must end at the 6 rows of k (6x3), not at 7");
    CHECK(with(sequences({0, 2, 4}), sequences({0, 6})) ==
          "sequences holds 2 sequences of queries, but key_sequences 1");
    CHECK(refusal([&] {
              dot_product(call.q, call.k, call.v, out, {.sequences = sequences({0, 4})});
          }) == "key_sequences must end at the 6 rows of k (6x3), not at 4");
    CHECK(refusal([&] {
              dot_product(call.q, call.k, call.v, out, {.key_sequences = sequences({0, 6})});
          }) == "key_sequences needs sequences for the queries as well");
    CHECK(refusal([] { sequences({1, 4}); }) == "sequences: offsets must start at 0");
    CHECK(refusal([] { sequences(std::vector<Index>{}); }) == "sequences: offsets must start at 0");
    CHECK(refusal([] { sequences({0, 4, 2}); }) == "sequences: offsets must not decrease, but 2 follows 4");
    CHECK(out.size() == 0);
}

TEST_CASE("a fixed workspace that is too small is refused before anything is written") {
    alignas(Workspace::alignment) std::array<std::byte, 256> buffer;
    Workspace small(buffer);
    const Index n = 70;  // so many that the call is not made without a workspace
    const Matrix x = Matrix::Ones(n, 3), lse = Matrix::Ones(n, 1);
    Matrix out = Matrix::Constant(n, 3, 7), dq = out, dk = out, dv = out, empty;
    const auto text = refusal<std::length_error>([&] { dot_product(x, x, x, out, {.workspace = &small}); });
    CHECK(text.starts_with("workspace: the call needs "));
    CHECK(text.ends_with(" bytes, the fixed buffer holds 256"));
    CHECK(refusal<std::length_error>(
              [&] { dot_product.backward(x, x, x, x, lse, x, dq, dk, dv, {.workspace = &small}); }) != "");
    CHECK(refusal<std::length_error>([&] { dot_product(x, x, x, empty, {.workspace = &small}); }) != "");
    CHECK(empty.size() == 0);
    for (const Matrix* untouched : {&out, &dq, &dk, &dv}) CHECK((untouched->array() == 7).all());
}

TEST_CASE("an output that overlaps an operand through unusual strides, or overlaps itself, is refused") {
    const std::string own = ": give the call memory of its own to write to",
                      itself = " overlaps itself: by its strides two of its elements are one";
    using Any = Eigen::Map<Matrix, Eigen::Unaligned, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
    std::vector<double> memory(64, 7.0);
    Matrix q = filled(4, 2), k = filled(4, 2), v = filled(4, 2);
    double* const end = memory.data() + 31;
    CHECK(refusal([&] {
              dot_product(Any(memory.data() + 24, 4, 2, {2, 1}), k, v, Any(end, 4, 2, {-2, -1}));
          }) == "out (4x2) aliases q (4x2)" + own);
    CHECK(refusal([&] {
              dot_product(Any(end, 4, 2, {-2, -1}), k, v, Any(memory.data() + 24, 4, 2, {2, 1}));
          }) == "out (4x2) aliases q (4x2)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, Any(memory.data(), 4, 2, {1, 1})); }) == "out (4x2)" + itself);
    CHECK(refusal([&] { dot_product(q, k, v, Any(memory.data(), 4, 2, {0, 1})); }) == "out (4x2)" + itself);
    CHECK(refusal([&] { dot_product(q, k, v, Any(memory.data(), 4, 2, {3, 9})); }) == "out (4x2)" + itself);
    CHECK(refusal([&] {
              dot_product(q, k, v, strided(memory.data(), {1, 1, 4, 2}, {0, 0, 0, 1}));
          }) == "out (4x2)" + itself);
    const auto two = [&](Index stride) { return strided(q.data(), {1, 2, 4, 1}, {0, stride, 2, 1}); };
    CHECK(refusal([&] {
              dot_product(two(1), two(1), two(1), strided(memory.data(), {1, 2, 4, 1}, {0, 3, 1, 1}));
          }) == "out (2 heads x 4x1)" + itself);
    CHECK(refusal([&] {
              dot_product(q, k, v, Any(end, 4, 2, {2, 1}), {.lse = strided(memory.data(), {1, 1, 4, 1}, {})});
          }) == "lse (4x1)" + itself);
    for (const double x : memory) CHECK(x == 7.0);
    // Operands may overlap as they like, and outputs may run backwards or be woven into each other.
    dot_product(Any(q.data(), 4, 2, {0, 1}), k, v, Any(end, 4, 2, {-2, -1}));
    dot_product(q, k, v, Any(memory.data(), 4, 2, {3, 14}));
}

TEST_CASE("one empty matrix cannot be two outputs") {
    const std::string own = ": give the call memory of its own to write to";
    const Matrix q = filled(4, 4), k = filled(4, 4), v = filled(4, 4), lse = filled(4, 1);
    Matrix one, two, three;
    CHECK(refusal([&] { dot_product(q, k, v, one, {.weights = one}); }) == "weights (0x0) aliases out (0x0)" + own);
    CHECK(refusal([&] { dot_product(q, k, v, one, {.lse = one}); }) != "");
    CHECK(refusal([&] { dot_product(q, k, v, two, {.lse = one, .weights = one}); }) != "");
    CHECK(refusal([&] { dot_product.backward(q, k, v, v, lse, v, one, one, two); }) ==
          "dq (0x0) aliases dk (0x0)" + own);
    CHECK(refusal([&] { dot_product.backward(q, k, v, v, lse, v, one, two, one); }) ==
          "dq (0x0) aliases dv (0x0)" + own);
    CHECK(refusal([&] { dot_product.backward(q, k, v, v, lse, v, one, two, two); }) ==
          "dk (0x0) aliases dv (0x0)" + own);
    CHECK((one.size() == 0 && two.size() == 0));
}

TEST_CASE("views without memory, with negative sizes or beyond any memory are refused") {
    const Matrix k = filled(6, 3), v = filled(6, 2);
    Matrix out;
    std::array<double, 12> memory{};
    CHECK(refusal([&] {
              dot_product(strided<double>(nullptr, {1, 1, 4, 3}, {0, 0, 3, 1}), k, v, out);
          }) == "q (4x3) has no memory: its pointer is null");
    CHECK(refusal([&] {
              dot_product(k, k, v, strided<double>(nullptr, {1, 1, 6, 2}, {0, 0, 2, 1}));
          }) == "out (6x2) has no memory: its pointer is null");
    CHECK(refusal([&] {
              dot_product(StridedView<double>{memory.data(), 1, 1, -4, 3, 0, 0, 3, 1}, k, v, out);
          }) == "q (-4x3), k (6x3) and v (6x2) have a negative size, or hold more than any memory");
    constexpr Index huge = Index(1) << 52;
    const auto endless = [&](Index rows, Index columns) {
        return strided(memory.data(), {1, 1, rows, columns}, {0, 0, 0, 0});
    };
    CHECK(
        refusal([&] { dot_product(filled(4, 3), endless(huge, 3), endless(huge, huge), out); }) ==
        "q (4x3), k (4503599627370496x3) and v (4503599627370496x4503599627370496) have a negative size, or hold more "
        "than any memory");
    CHECK(refusal([&] {
              strided(memory.data(), {2, 1, huge, 4}, {0, 0, huge, 1});
          }).ends_with("reach beyond any memory"));
    CHECK(refusal([] {
              dot_product.workspace_bytes({.heads = huge, .kv_heads = huge, .queries = huge, .keys = huge});
          }).ends_with("have a negative size, or hold more than any memory"));
    CHECK(out.size() == 0);
}

TEST_CASE("a gradient of other shapes, of the attention itself or in memory of the call is refused") {
    const std::string end = ", as the parameter is: make one by zero_gradient",
                      own = ": give the call memory of its own to write to";
    Call c;
    const auto refused = [&](auto attention, auto&& spoil) {
        auto gradient = zero_gradient(attention);
        spoil(gradient);
        const std::string text = refusal([&] {
            attention.backward(c.q, c.k, c.v, c.out, c.lse, c.dout, c.dq, c.dk, c.dv, {.gradient = &gradient});
        });
        c.check_untouched();
        return text;
    };
    const GeneralAttention<double> general(3, 3, 1);
    const AdditiveAttention<double> additive(3, 3, 5, 1);
    CHECK(refused(general, [](auto& g) { g.weight.setZero(3, 2); }) == "gradient: weight (3x2) must be 3x3" + end);
    CHECK(refused(additive, [](auto& g) { g.key_weight.setZero(1, 1); }) ==
          "gradient: key_weight (1x1) must be 3x5" + end);
    CHECK(refused(additive, [](auto& g) { g.score_weight.resize(0); }) ==
          "gradient: score_weight (0x1) must be 5x1" + end);
    CHECK(refused(dot_product >> alibi(0.5) >> bias(filled(4, 6)), [](auto& g) {
              std::get<1>(g.modifiers.each).values.setZero(2, 2);
          }) == "gradient: modifiers.1.values (2x2) must be 4x6" + end);
    CHECK(refused(dot_product >> alibi(filled(1, 1)), [](auto& g) { std::get<0>(g.modifiers.each).slope.resize(0); }) ==
          "gradient: modifiers.0.slope (0x1) must be 1x1" + end);
    CHECK(refused(dot_product >> softmax_with_sink(filled(1, 1)), [](auto& g) { g.normalizer.sink.resize(0); }) ==
          "gradient: normalizer.sink (0x1) must be 1x1" + end);
    auto itself = general;
    CHECK(refusal([&] {
              itself.backward(c.q, c.k, c.v, c.out, c.lse, c.dout, c.dq, c.dk, c.dv, {.gradient = &itself});
          }) == "gradient is the very value that it is asked of: make one by zero_gradient");
    auto gradient = zero_gradient(GeneralAttention<double>(3, 3, 1));
    const Matrix q = filled(3, 3);
    CHECK(refusal([&] {
              general.backward(q, c.k, c.v, filled(3, 2), filled(3, 1), filled(3, 2), gradient.weight, c.dk, c.dv,
                               {.gradient = &gradient});
          }) == "gradient: weight (3x3) aliases dq (3x3)" + own);
    c.check_untouched();
}

TEST_CASE("a workspace on memory of the call is refused") {
    Call c;
    alignas(Workspace::alignment) std::array<double, 4096> buffer{};
    Workspace workspace(std::as_writable_bytes(std::span(buffer)));
    const Eigen::Map<Matrix> inside(buffer.data() + 4000, 4, 2);
    const std::string text = "the workspace's buffer overlaps an operand or an output of the call";
    CHECK(refusal([&] { dot_product(c.q, c.k, c.v, Eigen::Map<Matrix>(inside), {.workspace = &workspace}); }) == text);
    CHECK(refusal([&] {
              dot_product.backward(c.q, c.k, c.v, c.out, c.lse, inside, c.dq, c.dk, c.dv, {.workspace = &workspace});
          }) == text);
    c.check_untouched();
}

TEST_CASE("offsets that no Sequences has checked are checked by the call") {
    Call c;
    const auto with = [&](std::vector<Index> offsets) {
        const attend::detail::SequencesRef borrowed{std::span<const Index>(offsets)};
        return refusal([&] { dot_product(c.q, c.q, c.q, c.dq, {.sequences = borrowed}); });
    };
    CHECK(with({0, 9, 4}) == "sequences: offsets must not decrease, but 4 follows 9");
    CHECK(with({-5, 4}) == "sequences: offsets must start at 0");
    c.check_untouched();
}

}  // namespace test_errors
