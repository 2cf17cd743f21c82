#pragma once
/// \file
/// The shape of a multi-head block, and what its calls take and record.

#include <array>
#include <optional>
#include <vector>

#include <attend/core/options.hpp>
#include <attend/core/row_norm.hpp>
#include <attend/layer/output_gate.hpp>
#include <attend/layer/packed_projections.hpp>
#include <attend/position/rope.hpp>

namespace attend::inline ATTEND_ABI {

/// The shape of a multi-head block.
struct MultiHeadShape {
    Index d_model = 0;              ///< width of x and of the result
    Index heads = 1;                ///< query heads
    Index kv_heads = 0;             ///< key/value heads, which divide the query heads; 0: as many
    Index d_head = 0;               ///< width of a head; 0: d_model / heads
    Index d_key = 0;                ///< width of a head's keys, which the mixer says: wider than d_head by its gates
    Index d_memory = 0;             ///< width of the memory that keys and values come from; 0: d_model
    Index d_value_memory = 0;       ///< width of the memory that values come from, if that is another one; 0: d_memory
    bool bias = true;               ///< whether the projections add b
    std::optional<Rope> rope = {};  ///< turns queries and keys by their positions
    std::optional<RmsNorm> qk_norm = {};  ///< norms each head's queries and keys, before they turn
    OutputGate gate = OutputGate::none;   ///< of what the heads give, before it is projected back

    auto spelled(const auto& say) const {
        const bool by_head = gate == OutputGate::headwise;
        return say.record(
            "", say.field(true, "d_model", d_model), say.field(true, "heads", heads),
            say.field(kv_heads != heads, "kv_heads", kv_heads),
            say.field(heads > 0 && d_head * heads != d_model, "d_head", d_head),
            say.field(d_memory != d_model, "d_memory", d_memory),
            say.field(d_value_memory != d_memory, "d_value_memory", d_value_memory), say.field(!bias, "bias", bias),
            say.field(rope.has_value(), "rope", rope), say.field(qk_norm.has_value(), "qk_norm", qk_norm),
            say.field(gate != OutputGate::none, "gate", by_head ? "OutputGate::headwise" : "OutputGate::elementwise"));
    }
};

/// Where the keys and values of a block's call came from.
enum class BlockCall {
    self,      ///< x
    memory,    ///< one memory
    memories,  ///< keys of one memory, values of another
    prepared,  ///< what `prepare` gave
    source,    ///< a source of keys and values
    step       ///< a cache that the call appended to; this records nothing
};

/// What `backward` needs to know of a forward call, and the memory that both reuse from step to step. O(n · d_model).
template <class T>
struct MultiHeadTape {
    RowMatrix<T> x, memory;                     ///< the inputs; memory is that of the latest call with one
    RowMatrix<T> value_memory;                  ///< that of the values, of a call with two memories
    RowMatrix<T> q, k, v;                       ///< projected, normed and turned where the block does so
    RowMatrix<T> raw_q, raw_k;                  ///< before the norm, if there is one
    RowMatrix<T> context;                       ///< the heads' outputs side by side
    RowMatrix<T> gates, gated;                  ///< of a block with a gate: σ of them, and the context that they leave
    RowMatrix<Compute<T>> lse;                  ///< rows × heads; × 0 of a mixer without weights
    RowMatrix<T> dq, dk, dv, dcontext, dgates;  ///< what `backward` computes on its way
    ColumnVector<Compute<T>> dgain;             ///< sums of a gain's gradient
    BlockCall call = BlockCall::self;           ///< which call it holds
    bool normed = false;                        ///< whether raw_q and raw_k are of the latest call
    Index query_offset = 0;                     ///< that of the call
    std::vector<Index> sequences, key_sequences;  ///< those of the call
    Dropout dropout = {};                         ///< that of the call
    std::vector<Index> step_offsets;              ///< the sequences of a step
    std::vector<Index> asked_offsets;             ///< those of the rows of a prompt that are asked
    std::vector<Compute<T>> step_mapped;          ///< its keys, where the score maps such
    /// Its inputs, q, k, v, context and gates, as `StepSlot` numbers them: of any number of rows without the heap.
    std::array<std::vector<T>, 7> step_memory{};
};

/// Optional arguments of a block's forward call. Held and borrowed as in `ForwardOptions`; the tape and the packed
/// weights are borrowed.
template <class T>
struct MultiHeadOptions {
    Workspace* workspace = nullptr;                ///< scratch of the attention; none: the call allocates its own
    detail::ExecutorRef executor = serial;         ///< where threads come from
    MultiHeadTape<T>* tape = nullptr;              ///< records what `backward` needs; given again, its memory is reused
    Output<Compute<T>> weights = {};               ///< (heads · rows) × keys, the heads' blocks below each other
    QueryRows weight_rows = {};                    ///< of these rows alone
    Insight<Compute<T>> insight = {};              ///< reductions that are shown the weights
    Index query_offset = 0;                        ///< absolute position of the first row of x
    detail::KeptSequences sequences = {};          ///< ragged batch: where the sequences of x begin
    detail::KeptSequences key_sequences = {};      ///< the same for the memory; by default as for x
    Dropout dropout = {};                          ///< of the attention's weights
    const PackedProjections<T>* packed = nullptr;  ///< what the block's `pack` gave: its products take less time
};

namespace detail {

/// The tape of a call: the one that it was given, or one of its own, which is made only where there is none.
template <class T>
class TapeOf {
    std::optional<MultiHeadTape<T>> own_;

public:
    MultiHeadTape<T>& tape;

    explicit TapeOf(const MultiHeadOptions<T>& options)
        : tape(options.tape != nullptr ? *options.tape : own_.emplace()) {}
    TapeOf(const TapeOf&) = delete;
};

}  // namespace detail

/// Optional arguments of a block's backward call.
template <class Block>
struct MultiHeadBackwardOptions {
    Workspace* workspace = nullptr;         ///< scratch of the attention; none: the call allocates its own
    detail::ExecutorRef executor = serial;  ///< where threads come from
    /// Where the parameters' gradients are added: see `zero_gradient`. Those of 16 bits are summed up in float and
    /// rounded once a call into a Block, or not at all into its `ComputeForm`, a block of float.
    detail::GradientPointer<Block> gradient = nullptr;
};

}  // namespace attend
