// A coverage-guided fuzzer over shapes, strides, offsets, sequences and options of attention and multi-head calls. A
// call is refused in words with nothing written, or it is right; anything else stops the program. Built by fuzz.sh.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <attend/attend.hpp>

#include <support/oracle.hpp>

namespace {

using attend::Index;
using attend::StridedView;
using oracle::Pair;

constexpr int untouched = 0xff;
constexpr Index extreme = std::numeric_limits<Index>::max();

[[noreturn]] void stop(const std::string& why) {
    std::fprintf(stderr, "WRONG: %s\n", why.c_str());
    std::abort();
}

/// Decisions, from the fuzzer's bytes; zeros when there are none left.
class Bytes {
public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
    std::uint8_t byte() { return left_ == 0 ? 0 : (--left_, *data_++); }
    Index below(Index n) { return byte() % n; }
    bool one_in(Index n) { return byte() % n == n - 1; }
    /// Mostly small, now and then at the limits.
    Index position() {
        switch (byte() % 16) {
            case 10:
                return -below(9);
            case 11:
                return extreme - below(9);
            case 12:
                return -extreme - 1 + below(9);
            case 13:
                return extreme / 2 + below(9) - 4;
            case 14:
                return (Index(1) << 31) + below(9) - 4;
            case 15:
                return -(Index(1) << 32);
            default:
                return below(12);
        }
    }

private:
    const std::uint8_t* data_;
    std::size_t left_;
};

/// Memory of exactly the reach of a view, so that a step beside it is seen.
class Memory {
public:
    static constexpr Index most = 4096;  ///< elements

    /// Of a view of those sizes: compact, or with strides of the bytes' choice.
    Memory(Bytes& bytes, Index sequences, Index heads, Index rows, Index columns) {
        std::array<Index, 4> sizes{sequences, heads, rows, columns};
        std::array<Index, 4> strides{heads * rows * columns, columns, heads * columns, 1};
        const Index kind = bytes.below(8);
        if (kind == 5) strides = {sequences > 1 ? rows : 0, sequences * rows * columns, 1, sequences * rows};
        if (kind == 6) strides = {rows * (heads * columns + 2), columns, heads * columns + 2, 1};
        if (kind == 7) {
            for (Index& stride : strides) stride = bytes.below(24);
        }
        if (bytes.one_in(16)) sizes[static_cast<std::size_t>(bytes.below(4))] = bytes.below(7);
        Index size = 1;
        bool none = false;
        for (std::size_t i = 0; i < 4; ++i)
            size += std::max<Index>(0, sizes[i] - 1) * strides[i], none = none || sizes[i] == 0;
        if (none) size = 0;
        size_ = static_cast<std::size_t>(std::min(size, most));
        data_ = std::make_unique<float[]>(size_);
        view_ = attend::strided(size_ == 0 ? nullptr : data_.get(), sizes, strides);
    }
    StridedView<float> view() const { return view_; }
    StridedView<const float> input() const { return view_; }
    float* data() { return data_.get(); }
    std::size_t size() const { return size_; }
    /// Small multiples of a half, so that sums are exact.
    void fill(Bytes& bytes) {
        unsigned state = bytes.byte() + 1U;
        for (std::size_t i = 0; i < size_; ++i) {
            state = state * 1664525U + 1013904223U;
            data_[i] = static_cast<float>(static_cast<int>(state >> 29U) - 3) * 0.5F;
        }
    }
    void wipe() { std::memset(data_.get(), untouched, size_ * sizeof(float)); }
    bool is_wiped() const {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(data_.get());
        return std::all_of(bytes, bytes + size_ * sizeof(float), [](unsigned char b) { return b == untouched; });
    }
    /// Row of all sequences, head, column.
    static float& at(const StridedView<float>& v, Index row, Index head, Index column) {
        const Index sequence = v.sequences > 1 ? row / v.rows : 0;
        return v.data[sequence * v.sequence_stride + head * v.head_stride + (row - sequence * v.rows) * v.row_stride +
                      column * v.column_stride];
    }

private:
    std::unique_ptr<float[]> data_;
    std::size_t size_ = 0;
    StridedView<float> view_;
};

bool small(const Memory& m) {
    const auto v = m.view();
    return v.sequences * v.heads * v.rows * v.columns <= Memory::most && m.size() < Memory::most;
}

oracle::Tensor<double> read(const Memory& m) {
    const auto v = m.view();
    oracle::Tensor<double> all(v.sequences * v.rows, v.heads, v.columns);
    for (Index i = 0; i < all.rows; ++i) {
        for (Index h = 0; h < all.heads; ++h) {
            for (Index a = 0; a < all.width; ++a) all(i, h, a) = static_cast<double>(Memory::at(v, i, h, a));
        }
    }
    return all;
}

/// `got` may be a plain matrix, whose heads stand side by side.
void compare(const char* name, StridedView<float> got, const oracle::Tensor<oracle::Number>& want) {
    if (got.heads == 1 && want.heads > 1) got.head_stride = want.width * got.column_stride;
    for (Index i = 0; i < want.rows; ++i) {
        for (Index h = 0; h < want.heads; ++h) {
            for (Index a = 0; a < want.width; ++a) {
                const double x = static_cast<double>(Memory::at(got, i, h, a)), right = want(i, h, a).value;
                if (x == right) continue;
                const double tolerance = 4 * want(i, h, a).error + 4e-7 * std::abs(right) + 1e-30;
                if (!(std::abs(x - right) <= tolerance))
                    stop(std::string(name) + " is " + std::to_string(x) + " where " + std::to_string(right) +
                         " is right");
            }
        }
    }
}

/// Refused in words; anything else is passed on, and stops the fuzzer.
template <class Call>
bool refused(Call&& call) {
    const auto in_words = [](const std::exception& error) {
        if (std::strncmp(error.what(), "attend: ", 8) != 0) stop(std::string("refused as ") + error.what());
        return true;
    };
    try {
        call();
        return false;
    } catch (const std::invalid_argument& error) {
        return in_words(error);
    } catch (const std::length_error& error) {
        return in_words(error);
    }
}

/// Offsets of sequences: mostly fitting.
std::vector<Index> offsets(Bytes& bytes, Index count, Index rows) {
    std::vector<Index> all{0};
    for (Index s = 1; s < count; ++s) all.push_back(std::min(rows, all.back() + bytes.below(4)));
    all.push_back(rows);
    if (bytes.one_in(12)) all[static_cast<std::size_t>(bytes.below(static_cast<Index>(all.size())))] = bytes.position();
    return all;
}

struct Shape {
    Index sequences, kv_heads, group, queries, keys, d_q, d_k, d_v;
    explicit Shape(Bytes& bytes)
        : sequences(1 + (bytes.one_in(4) ? bytes.below(3) : 0)),
          kv_heads(1 + (bytes.one_in(3) ? bytes.below(2) : 0)),
          group(1 + (bytes.one_in(3) ? bytes.below(3) : 0)),
          queries(bytes.below(20)),
          keys(bytes.below(20)),
          d_q(1 + bytes.below(9)),
          d_k(d_q),
          d_v(1 + bytes.below(9)) {
        if (bytes.one_in(24)) sequences = 0;
        if (bytes.one_in(24)) d_k = bytes.below(4);
    }
};

template <class A>
void attend_to(Bytes& bytes, const Shape& shape, const A& attention, const oracle::Attention& by_oracle, Index offset) {
    const Index heads = shape.kv_heads * shape.group;
    Memory q(bytes, shape.sequences, heads, shape.queries, shape.d_q),
        k(bytes, shape.sequences, shape.kv_heads, shape.keys, shape.d_k),
        v(bytes, shape.sequences, shape.kv_heads, shape.keys, shape.d_v),
        out(bytes, shape.sequences, heads, shape.queries, shape.d_v),
        lse(bytes, shape.sequences, heads, shape.queries, 1),
        dout(bytes, shape.sequences, heads, shape.queries, shape.d_v),
        dq(bytes, shape.sequences, heads, shape.queries, shape.d_q),
        dk(bytes, shape.sequences, shape.kv_heads, shape.keys, shape.d_k),
        dv(bytes, shape.sequences, shape.kv_heads, shape.keys, shape.d_v);
    for (const Memory* m : {&q, &k, &v, &out, &lse, &dout, &dq, &dk, &dv}) {
        if (!small(*m)) return;
    }
    q.fill(bytes), k.fill(bytes), v.fill(bytes), dout.fill(bytes), out.wipe(), lse.wipe();
    const bool ragged = bytes.one_in(3), own_keys = bytes.one_in(2), wants_lse = !bytes.one_in(4);
    std::vector<Index> query_begin, key_begin;
    attend::Sequences sequences({0}), key_sequences({0});
    if (ragged) {
        const Index count = bytes.below(4);
        query_begin = offsets(bytes, std::max<Index>(1, count), shape.queries);
        key_begin = own_keys ? offsets(bytes, std::max<Index>(1, count), shape.keys) : query_begin;
        if (refused([&] { sequences = attend::sequences(query_begin), key_sequences = attend::sequences(key_begin); }))
            return;
    }
    // An operand as output, once in a while.
    StridedView<float> to = out.view();
    const bool aliases = bytes.one_in(16);
    if (aliases) to.data = bytes.one_in(2) ? q.data() : v.data();
    if (aliases && (out.size() > q.size() || out.size() > v.size())) return;
    attend::ForwardOptions<float> options{.query_offset = offset};
    attend::Workspace workspace;
    if (bytes.one_in(2)) options.workspace = &workspace;
    if (wants_lse) options.lse = lse.view();
    if (ragged) options.sequences = sequences;
    if (ragged && own_keys) options.key_sequences = key_sequences;
    const auto before = read(q), before_v = read(v);
    if (refused([&] { attention(q.input(), k.input(), v.input(), to, options); })) {
        if (!out.is_wiped() || !lse.is_wiped()) stop("a refused forward call wrote");
        if (read(q).all != before.all || read(v).all != before_v.all)
            stop("a refused forward call wrote to an operand");
        return;
    }
    if (aliases && out.size() > 0 && q.size() > 0 && v.size() > 0)
        return;  // accepted, as its elements lie between the operand's
    // Accepted: the shapes fit, so that the oracle can be asked.
    const Index batch = q.view().sequences, q_rows = q.view().rows, k_rows = k.view().rows;
    oracle::Call call{.q = read(q),
                      .k = read(k),
                      .v = read(v),
                      .dout = read(dout),
                      .query_begin = query_begin,
                      .key_begin = key_begin,
                      .query_offset = offset};
    if (!ragged) {
        call.query_begin = {0}, call.key_begin = {0};
        for (Index s = 1; s <= batch; ++s) call.query_begin.push_back(s * q_rows), call.key_begin.push_back(s * k_rows);
    }
    const auto dout_view = dout.view();
    const bool backward_fits = dout_view.sequences == batch && dout_view.heads == q.view().heads &&
                               dout_view.rows == q_rows && dout_view.columns == v.view().columns;
    if (!backward_fits) call.dout = oracle::Tensor<double>(call.q.rows, call.q.heads, call.v.width);
    if (call.q.heads == 0 || call.k.heads == 0) return;
    oracle::precision = {};
    const oracle::Result right = oracle::run(by_oracle, call);
    if (right.weights_known) compare("out", to, right.out);
    if (wants_lse && right.weights_known) compare("lse", lse.view(), right.lse);
    if (!wants_lse) return;

    dq.wipe(), dk.wipe(), dv.wipe();
    for (Memory* m : {&dq, &dk, &dv}) std::fill_n(m->data(), m->size(), 0.0F);
    A gradient = attend::zero_gradient(attention);
    attend::BackwardOptions<A> backward{.query_offset = offset};
    if (bytes.one_in(2)) backward.workspace = &workspace;
    if (bytes.one_in(2)) backward.gradient = &gradient;
    if (ragged) backward.sequences = sequences;
    if (ragged && own_keys) backward.key_sequences = key_sequences;
    const auto is_zero = [](const Memory& m) {
        const auto all = read(m).all;
        return std::all_of(all.begin(), all.end(), [](double x) { return x == 0; });
    };
    if (refused([&] {
            attention.backward(q.input(), k.input(), v.input(), out.input(), lse.input(), dout.input(), dq.view(),
                               dk.view(), dv.view(), backward);
        })) {
        if (!is_zero(dq) || !is_zero(dk) || !is_zero(dv)) stop("a refused backward call wrote");
        return;
    }
    if (!backward_fits && call.q.rows > 0) stop("backward took a dout of another shape");
    if (!right.weights_known || !right.gradients_known) return;
    compare("dq", dq.view(), right.dq), compare("dk", dk.view(), right.dk), compare("dv", dv.view(), right.dv);
}

bool within(Index least, const Pair& p, Index most) {
    const auto distance = static_cast<__int128>(p.query) - p.key;
    return least <= distance && distance <= most;
}

void attention(Bytes& bytes) {
    const Shape shape(bytes);
    const Index offset = bytes.one_in(4) ? bytes.position() : 0;
    oracle::Attention right;
    switch (bytes.below(5)) {
        case 0:
            right.mask = [](const Pair& p) { return p.key <= p.query; };
            return attend_to(bytes, shape, attend::dot_product >> attend::causal, right, offset);
        case 1: {
            attend::AdditiveAttention<float> additive(shape.d_q, std::max<Index>(1, shape.d_k), 3, 1);
            const auto linear = [](auto& weight) {
                oracle::Linear all{.in = weight.rows(), .out = weight.cols()};
                for (const float x : weight.reshaped()) all.weight.push_back(static_cast<double>(x));
                return all;
            };
            right.score =
                std::make_shared<oracle::Additive>(linear(additive.query_weight), linear(additive.key_weight),
                                                   linear(additive.bias).weight, linear(additive.score_weight).weight);
            if (bytes.one_in(16))
                return void(refused([&] {  // weights that were assigned in another shape
                    const auto resized = [&](auto& weight) {
                        weight.setOnes(bytes.below(5), weight.cols() == 1 ? 1 : bytes.below(5));
                    };
                    if (bytes.one_in(2)) resized(additive.query_weight);
                    if (bytes.one_in(2)) resized(additive.key_weight);
                    if (bytes.one_in(2)) additive.bias.setOnes(bytes.below(5));
                    const Eigen::MatrixXf q = Eigen::MatrixXf::Ones(shape.queries, shape.d_q),
                                          k = Eigen::MatrixXf::Ones(shape.keys, shape.d_k);
                    if (!additive(q, k, k).allFinite()) stop("ones give what is not finite");
                }));
            const Index n = bytes.below(20);
            right.mask = [n](const Pair& p) { return p.key < n; };
            return attend_to(bytes, shape, additive >> attend::prefix(n), right, offset);
        }
        case 2: {
            const Index left = bytes.position(), right_side = bytes.position();
            std::vector<Index> valid;
            const Index count = bytes.one_in(8) ? bytes.below(4) : shape.sequences;
            for (Index s = 0; s < count; ++s)
                valid.push_back(bytes.one_in(16) ? bytes.position() : bytes.below(shape.keys + 1));
            right.score = std::make_shared<oracle::ScaledDot>(0.5, false);
            right.mask = [=](const Pair& p) {
                return (right_side == -1 || within(-right_side, p, extreme)) &&
                       (left == -1 || within(-extreme - 1, p, left)) && p.key < valid[oracle::at(p.sequence)];
            };
            using Composed = decltype(attend::ScaledDotProductAttention(0.5) >>
                                      (attend::sliding_window(1, 1) & attend::lengths(valid)));
            std::unique_ptr<Composed> composed;
            if (refused([&] {
                    composed =
                        std::make_unique<Composed>(attend::ScaledDotProductAttention(0.5) >>
                                                   (attend::sliding_window(left, right_side) & attend::lengths(valid)));
                }))
                return;
            return attend_to(bytes, shape, *composed, right, offset);
        }
        case 3: {
            const Index rows = bytes.one_in(8) ? bytes.below(20) : shape.queries,
                        columns = bytes.one_in(8) ? bytes.below(20) : shape.keys;
            attend::RowMatrix<float> values(rows, columns);
            for (Index i = 0; i < values.size(); ++i) values.data()[i] = static_cast<float>(i % 5) * 0.25F - 0.5F;
            right.modifiers.push_back({.value =
                                           [values](const oracle::Number& s, const Pair& p) {
                                               return s + oracle::Number{static_cast<double>(values(p.row, p.key))};
                                           },
                                       .parameters = values.size(),
                                       .parameter = [rows](const Pair& p) { return p.row + rows * p.key; }});
            right.normalizer = {.kind = oracle::Weights::sparsemax};
            return attend_to(bytes, shape, attend::dot_product >> attend::bias(values) >> attend::sparsemax, right,
                             offset);
        }
        default: {
            std::vector<Index> begin{bytes.below(3)};
            for (Index i = 0; i < 3; ++i)
                begin.push_back(bytes.one_in(8) || begin.back() > extreme - 9 ? bytes.position()
                                                                              : begin.back() + bytes.below(9));
            std::unique_ptr<attend::Documents> documents;
            if (refused([&] { documents = std::make_unique<attend::Documents>(begin); })) return;
            right.mask = [begin](const Pair& p) {
                for (std::size_t i = 1; i < begin.size(); ++i) {
                    if (begin[i - 1] <= p.query && p.query < begin[i] && begin[i - 1] <= p.key && p.key < begin[i])
                        return true;
                }
                return false;
            };
            right.normalizer = {.logits = {0.5}};
            return attend_to(bytes, shape, attend::dot_product >> *documents >> attend::softmax_with_sink(0.5), right,
                             offset);
        }
    }
}

/// A block of which anything may have been assigned, its tape and another's.
void multi_head(Bytes& bytes) {
    using Block = attend::MultiHeadAttention<float>;
    const auto shape_of = [&] {
        attend::MultiHeadShape shape{.d_model = 1 + bytes.below(8),
                                     .heads = 1 + bytes.below(3),
                                     .kv_heads = bytes.below(3),
                                     .d_head = bytes.below(5),
                                     .d_memory = bytes.one_in(3) ? bytes.below(6) : 0,
                                     .bias = bytes.one_in(2)};
        if (bytes.one_in(2)) shape.rope = attend::Rope{.width = bytes.one_in(4) ? bytes.below(8) : 0};
        if (bytes.one_in(2)) shape.qk_norm = attend::RmsNorm{};
        shape.gate = static_cast<attend::OutputGate>(bytes.below(3));
        return shape;
    };
    std::unique_ptr<Block> block, other;
    if (refused([&] { block = std::make_unique<Block>(shape_of(), attend::ScaledDotProductAttention(), 1); })) return;
    const Index rows = bytes.below(12), keys = bytes.below(12);
    const bool crosses = bytes.one_in(3);
    const Index width = bytes.one_in(16) ? bytes.below(9) : block->shape().d_model;
    const Index memory_width = bytes.one_in(16) ? bytes.below(9) : block->shape().d_memory;
    if (bytes.one_in(6)) {
        const Index which = bytes.below(8), a = bytes.below(9), b = bytes.below(9);
        Block::Matrix* const weights[] = {&block->query_weight, &block->key_weight, &block->value_weight,
                                          &block->output_weight};
        attend::ColumnVector<float>* const biases[] = {&block->query_bias, &block->key_bias, &block->value_bias,
                                                       &block->output_bias};
        which < 4 ? void(weights[which]->setOnes(a, b)) : void(biases[which - 4]->setOnes(a));
    }
    const Eigen::MatrixXf x = Eigen::MatrixXf::Constant(rows, width, 0.5F),
                          memory = Eigen::MatrixXf::Constant(keys, memory_width, 0.25F);
    std::vector<Index> begin, key_begin;
    attend::Sequences sequences({0}), key_sequences({0});
    const bool ragged = bytes.one_in(2);
    if (ragged) {
        const Index count = 1 + bytes.below(3);
        begin = offsets(bytes, count, rows), key_begin = offsets(bytes, count, crosses ? keys : rows);
        if (refused([&] { sequences = attend::sequences(begin), key_sequences = attend::sequences(key_begin); }))
            return;
    }
    Block::Tape tape;
    attend::RowMatrix<float> y, fixed(rows, block->shape().d_model);
    const bool resizes = bytes.one_in(2);
    std::fill_n(reinterpret_cast<unsigned char*>(fixed.data()), static_cast<std::size_t>(fixed.size()) * sizeof(float),
                static_cast<unsigned char>(untouched));
    Block::Options options{.tape = &tape, .query_offset = bytes.one_in(4) ? bytes.position() : 0};
    if (ragged) options.sequences = sequences;
    if (ragged && bytes.one_in(2)) options.key_sequences = key_sequences;
    attend::Output<float> to = resizes ? attend::Output<float>(y) : attend::Output<float>(fixed);
    if (refused([&] { crosses ? block->forward(x, memory, to, options) : block->forward(x, to, options); })) {
        const auto* const raw = reinterpret_cast<const unsigned char*>(fixed.data());
        if (y.size() != 0 || !std::all_of(raw, raw + static_cast<std::size_t>(fixed.size()) * sizeof(float),
                                          [](unsigned char b) { return b == untouched; }))
            stop("a refused block wrote");
        return;
    }
    const attend::RowMatrix<float>& result = resizes ? y : fixed;
    if (result.rows() != rows || result.cols() != block->shape().d_model || !result.allFinite())
        stop("a block's result");
    // Backward, of this block or of another that has not made the tape.
    Block* with = block.get();
    if (bytes.one_in(4)) {
        if (refused([&] { other = std::make_unique<Block>(shape_of(), attend::ScaledDotProductAttention(), 2); }))
            return;
        with = other.get();
    }
    Block gradient = attend::zero_gradient(bytes.one_in(8) && other != nullptr ? *other : *block);
    const Index dy_rows = bytes.one_in(12) ? bytes.below(12) : rows;
    const Eigen::MatrixXf dy = Eigen::MatrixXf::Ones(dy_rows, block->shape().d_model);
    attend::RowMatrix<float> dx, dmemory;
    Block::BackwardOptions backward;
    if (bytes.one_in(2)) backward.gradient = &gradient;
    const bool one_output = bytes.one_in(12), asks_memory = bytes.one_in(12) ? !crosses : crosses;
    if (refused([&] {
            asks_memory ? with->backward(tape, dy, dx, one_output ? dx : dmemory, backward)
                        : with->backward(tape, dy, dx, backward);
        })) {
        if (dx.size() != 0 || dmemory.size() != 0) stop("a refused backward call of a block wrote");
        return;
    }
    if (!dx.allFinite() || !dmemory.allFinite()) stop("a block's gradients are not finite");
    if (rows > 0 && keys > 0 && dx.rows() != rows) stop("a block's dx has another shape");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes bytes(data, size);
    bytes.one_in(4) ? multi_head(bytes) : attention(bytes);
    return 0;
}
