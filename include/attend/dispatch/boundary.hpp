#pragma once
/// \file
/// What passes between a program and the calls that were compiled for other instruction sets than its own: numbers and
/// pointers, in structures that lie alike in memory whatever they are compiled for. It declares data and no code.

#include <cstddef>
#include <cstdint>

namespace attend::boundary {

/// Eigen's, in which attend counts.
using Index = std::ptrdiff_t;

/// A strided view, as in core/view.hpp; without memory where it is not given.
struct View {
    void* data;
    Index sequences, heads, rows, columns;
    Index sequence_stride, head_stride, row_stride, column_stride;
};
/// Numbers that follow each other; none: not given.
struct Indices {
    const Index* first;
    Index count;
};

/// Parameters, one for all heads or one a head, and where their gradients are added; none: no such part.
struct Numbers {
    const double* values;
    double* gradients;
    Index count;
};
/// A dense bias in rows: `rows` × `columns` of the scalar that the call computes in.
struct Matrix {
    const void* values;
    void* gradients;
    Index rows, columns;
    Index heads;  ///< that have rows of their own
};

/// As in core/types.hpp.
struct Position {
    Index query, key, row, head, kv_head, sequence;
};
struct Tile {
    Index query_begin, query_end, key_begin, key_end, row_begin, head, kv_head, sequence;
};

/// What all of these keep.
struct Mask {
    bool causal;
    bool window;  ///< −right ≤ query − key ≤ left
    Index left, right;
    const bool* dense;  ///< by columns
    Index dense_rows, dense_columns;
    Indices documents;  ///< offsets: where documents begin, then the end of the last
    Indices lengths;    ///< keys, by sequence
    const void* other;  ///< any mask of the program's, which it asks itself
    /// Of `count` pairs, whose queries or whose keys go by that step.
    void (*keep)(const void* other, const Position* first, Index query_step, Index row_step, Index key_step,
                 Index count, bool* kept);
    int (*cover)(const void* other, const Tile* tile);
};

/// An attention: score, modifiers in this order, mask and normalizer.
struct Composition {
    bool scaled;  ///< by `scale` in place of 1/√d_k
    double scale;
    Numbers cap, slopes;
    Matrix bias;
    Mask mask;
    Numbers sink;
};

/// As in core/types.hpp.
struct Shape {
    Index sequences, heads, kv_heads, queries, keys, d_q, d_k, d_v, query_offset, key_rows;
    bool own_positions;
};

/// Where threads come from: `parallel_for` calls `run(task, i)` for each i below `count`.
struct Executor {
    Index concurrency;
    const void* given;
    void (*parallel_for)(const void* given, Index count, void* task, void (*run)(void* task, Index i));
};

/// What a cache holds rows as.
enum Stored : int { stored_f32, stored_f64, stored_bf16, stored_f16, stored_int8, stored_types };
/// Rows that follow each other, and a factor for each, if they have such.
struct Rows {
    const void* numbers;
    const float* factors;
    Index width;
};
/// Keys and values of a cache: those of a head of a sequence are rows (sequence · heads + head) · capacity and
/// following.
struct Cache {
    int stored;
    Index sequences, heads, capacity, key_width, value_width;
    Rows keys, values;
    const void* given;
    Index (*length)(const void* given, Index sequence);
};

/// What all calls have.
struct Call {
    View q, k, v;  ///< k and v of operands
    Index query_offset;
    Indices query_positions, sequences, key_sequences;
    double dropout_rate;
    std::uint64_t dropout_seed;
    Executor executor;
    std::byte* scratch;  ///< none: the call takes its own
    std::size_t scratch_bytes;
};
struct ForwardCall {
    Call call;
    View out, lse, weights;
    bool some_rows;  ///< of the weights
    Indices weight_rows;
};
struct BackwardCall {
    Call call;
    View out, lse, dout, dlse, dweights;
    View dq, dk, dv;
    bool rounds;      ///< whether these are of the operands' scalar, and not of that which the call computes in
    bool parameters;  ///< whether their gradients are wanted
};

/// The calls on operands of one scalar type, of one instruction set. They throw what the header's calls throw.
struct Calls {
    std::size_t (*workspace_bytes)(const Composition* attention, const Shape* shape, Index workers, int pass);
    void (*forward)(const Composition* attention, const ForwardCall* call);
    void (*backward)(const Composition* attention, const BackwardCall* call);
    /// Of a forward call whose keys and values are a cache's, `stored` as that: none where no such is served.
    std::size_t (*cache_workspace_bytes)(const Composition* attention, const Shape* shape, Index workers);
    void (*forward_on_cache[stored_types])(const Composition* attention, const ForwardCall* call, const Cache* cache);
};

/// The scalar types of operands.
enum Scalar : int { f32, f64, bf16, f16, scalars };

}  // namespace attend::boundary

/// The calls of the level that serves this process. Throws `std::invalid_argument` where ATTEND_LEVEL names none that
/// there is. Of the library `attend::dispatch`.
extern "C" const attend::boundary::Calls* attend_dispatch_calls(int scalar);
/// The name of that level.
extern "C" const char* attend_dispatch_level();
