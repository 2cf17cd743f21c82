#pragma once
/// \file
/// A memory that many calls of a cross-attending block read, and those calls.

#include <algorithm>
#include <concepts>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/layer/multi_head_recurrence.hpp>
#include <attend/prepared.hpp>

namespace attend::inline ATTEND_ABI {

template <class T, class A>
class MultiHeadOnMemory;

/// What `block.prepare(memory)` gives: the memory, copied, and its projected keys and values, prepared for the block's
/// attention as it was then; of two memories likewise. The block's weights are not copied: they must be the same until
/// the gradients are added. O(n · d_memory + n · d_model) memory. Calls on a const one may run at the same time. For
/// float and double.
template <class T, class A>
class MultiHeadMemory {
public:
    /// Those of the memory.
    Index rows() const { return rows_.rows(); }

private:
    friend class MultiHeadOnMemory<T, A>;

    MultiHeadMemory(Index kv_heads, Index d_head, bool two, RowMatrix<T>&& rows, RowMatrix<T>&& value_rows,
                    std::vector<Index>&& sequences, RowMatrix<T>&& raw_k, Prepared<std::remove_const_t<A>, T>&& keys)
        : kv_heads_(kv_heads),
          d_head_(d_head),
          two_(two),
          rows_(std::move(rows)),
          value_rows_(std::move(value_rows)),
          sequences_(std::move(sequences)),
          raw_k_(std::move(raw_k)),
          keys_(std::move(keys)) {}

    /// Throws unless a block of this shape has prepared it.
    void check(const MultiHeadShape& shape) const {
        if (rows_.cols() != shape.d_memory || kv_heads_ != shape.kv_heads || d_head_ != shape.d_head)
            detail::refuse(
                "the memory was prepared by a block of another shape: ", detail::named("memory", rows(), rows_.cols()),
                " with ", kv_heads_, " heads of ", d_head_, " features, not ", shape.d_memory, " columns with ",
                shape.kv_heads, " heads of ", shape.d_head);
        detail::require(values_from().cols() == shape.d_value_memory,
                        "the memory was prepared by a block of another shape: its values come from ",
                        values_from().cols(), " columns, not ", shape.d_value_memory);
    }
    const RowMatrix<T>& values_from() const { return two_ ? value_rows_ : rows_; }
    /// Calls must cut it as it was prepared.
    void check_sequences(const MultiHeadOptions<T>& options) const {
        const auto given = options.key_sequences.offsets(), own = std::span<const Index>(sequences_);
        detail::require(own.empty() == options.sequences.offsets().empty(), "sequences: the memory was prepared ",
                        own.empty() ? "without" : "with", " sequences, so that a call must be as well");
        detail::require(given.empty() || std::equal(given.begin(), given.end(), own.begin(), own.end()),
                        "key_sequences: the memory was prepared with other ones: leave them out");
    }

    Index kv_heads_, d_head_;
    bool two_;  ///< whether values came from a memory of their own
    RowMatrix<T> rows_, value_rows_;
    std::vector<Index> sequences_;
    RowMatrix<T> raw_k_;  ///< the keys before a norm
    Prepared<std::remove_const_t<A>, T> keys_;
    RowMatrix<T> dk_, dv_;
    ColumnVector<Compute<T>> dgain_;
};

/// The calls of a block on a prepared memory, if its mixer is an attention. x, y and their gradients are n × d_model, a
/// memory is n_kv × d_memory. To prepare one takes O(n_kv · d_memory · d_model) operations, which calls then do not.
/// Throws `std::invalid_argument` where shapes do not fit. They are templates in B, which is A, so that blocks of other
/// mixers do not have to know what a memory is.
template <class T, class A>
class MultiHeadOnMemory : public MultiHeadRecurrence<T, A> {
    using Call = MultiHeadCall<T, A>;
    using OnSource = MultiHeadRecurrence<T, A>;

public:
    using Memory = MultiHeadMemory<T, A>;  ///< what `prepare` gives
    using Call::shape;
    using typename Call::BackwardOptions, typename Call::Options, typename Call::Tape;
    using OnSource::operator(), OnSource::forward, OnSource::backward;

    /// A memory made ready for any number of calls: its keys and values are projected, and where the attention's score
    /// maps keys mapped, once. `sequences` are those of its rows, where calls have such.
    template <detail::Dense M>
    auto prepare(const M& memory, const detail::KeptSequences& sequences = {},
                 const detail::ExecutorRef& executor = serial) const {
        this->check_one_memory();
        this->check_input(memory, "memory", shape().d_memory, RowMatrix<T>());
        return prepared(RowMatrix<T>(memory), RowMatrix<T>(), false, sequences, executor);
    }
    /// The same of two memories.
    template <detail::Dense K, detail::Dense V>
    auto prepare(const K& keys_from, const V& values_from, const detail::KeptSequences& sequences = {},
                 const detail::ExecutorRef& executor = serial) const {
        this->check_input(keys_from, "keys_from", shape().d_memory, RowMatrix<T>());
        this->check_input(values_from, "values_from", shape().d_value_memory, RowMatrix<T>());
        this->check_rows(keys_from, values_from);
        return prepared(RowMatrix<T>(keys_from), RowMatrix<T>(values_from), true, sequences, executor);
    }

    /// Cross-attention over a prepared memory: what a call on the memory itself gives, to the bit.
    /// @{
    template <detail::Dense X, std::same_as<A> B>
    RowMatrix<T> operator()(const X& x, const MultiHeadMemory<T, B>& memory, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, memory, y, options);
        return y;
    }
    template <detail::Dense X, std::same_as<A> B>
    void forward(const X& x, const MultiHeadMemory<T, B>& memory, Output<T> y, Options options = {}) const {
        memory.check(shape());
        memory.check_sequences(options);
        detail::TapeOf<T> recorded(options);
        Tape& tape = recorded.tape;
        this->check_input(x, "x", shape().d_model, tape.x);
        const detail::SequencesRef key_sequences = Call::sequences_of(memory.sequences_);
        this->check_forward(x.rows(), memory.rows(), y, options, key_sequences, tape);
        tape.call = BlockCall::prepared;
        this->run(this->input(x, options.tape != nullptr, tape.x), tape, y, options, key_sequences,
                  this->from(options.query_offset),
                  [&](const auto& q, const auto& context, const auto& call) { memory.keys_(q, context, call); });
    }
    /// @}

    /// Given dy, adds the gradient of x and with `.gradient` those of the parameters of queries and of the output. The
    /// memory gathers its own gradients and those of the parameters of keys, of values and of the attention until
    /// `add_gradients`.
    template <detail::DenseMemory DY, std::same_as<A> B>
    void backward(Tape& tape, const DY& dy, Output<T> dx, MultiHeadMemory<T, B>& memory,
                  BackwardOptions options = {}) const {
        detail::require(tape.call == BlockCall::prepared, "backward: the tape holds no call with a prepared memory");
        memory.check(shape());
        detail::require(tape.key_sequences == memory.sequences_,
                        "backward: the tape holds a call with a memory of other sequences");
        this->check_backward(tape, memory.rows(), dy, dx, {}, options);
        this->run_backward(tape, dy, options, options.gradient, this->from(tape.query_offset),
                           [&](const auto& q, const auto& context, const auto& dcontext, const auto& dq) {
                               using Keys = typename Prepared<std::remove_const_t<A>, T>::Inner;
                               memory.keys_.backward(q, context, tape.lse, dcontext, dq,
                                                     Call::template mixer_options<Keys>(tape, options, nullptr));
                           });
        this->add_query_inputs(tape, dx, options.executor);
    }
    /// A dy that is not memory is evaluated first.
    template <detail::Dense DY, std::same_as<A> B>
        requires(!detail::DenseMemory<DY>)
    void backward(Tape& tape, const DY& dy, Output<T> dx, MultiHeadMemory<T, B>& memory,
                  BackwardOptions options = {}) const {
        backward(tape, typename DY::PlainObject(dy), dx, memory, options);
    }
    /// Adds what a prepared memory has gathered: its gradient and, with `.gradient`, those of the parameters; then
    /// nothing is gathered any more. Of the options the gradient and the executor.
    /// @{
    template <std::same_as<A> B>
    void add_gradients(MultiHeadMemory<T, B>& memory, Output<T> dmemory, BackwardOptions options = {}) const {
        add_gathered(memory, BlockCall::memory, {.keys = dmemory}, options);
    }
    template <std::same_as<A> B>
    void add_gradients(MultiHeadMemory<T, B>& memory, Output<T> dkeys_from, Output<T> dvalues_from,
                       BackwardOptions options = {}) const {
        add_gathered(memory, BlockCall::memories, {.keys = dkeys_from, .values = dvalues_from}, options);
    }
    /// @}

protected:
    using OnSource::OnSource;

private:
    auto prepared(RowMatrix<T>&& rows, RowMatrix<T>&& value_rows, bool two, const detail::SequencesRef& sequences,
                  const detail::ExecutorRef& executor) const {
        constexpr bool attends = OfKind<A, Kind::attention>;
        static_assert(attends, "attend: only blocks of attentions prepare memories: this block's mixer is none");
        if constexpr (attends) {
            this->check_parameters();
            const auto offsets = sequences.offsets();
            static constexpr T somewhere{};
            const StridedView<const T> one{&somewhere, 1, 1, rows.rows(), 1};
            const detail::Problem<T> problem(one, one, one, 0, sequences, sequences);  // refuses those of other rows
            RowMatrix<T> raw_k, k, v;
            std::vector<Index> own(offsets.begin(), offsets.end());
            this->project_memory(rows, two ? value_rows : rows, own, raw_k, k, v, executor);
            const Index g = shape().kv_heads;
            return Memory(g, shape().d_head, two, std::move(rows), std::move(value_rows), std::move(own),
                          std::move(raw_k), this->attention.prepare(heads(k, g), heads(v, g), executor));
        }
    }
    template <class B>
    void add_gathered(MultiHeadMemory<T, B>& memory, BlockCall call, MemoryGradients<T> to,
                      const BackwardOptions& options) const {
        this->check_parameters();
        memory.check(shape());
        detail::require(memory.two_ == (call == BlockCall::memories), "add_gradients: the memory was prepared from ",
                        memory.two_ ? "two memories: give the gradients of both, dkeys_from and dvalues_from"
                                    : "one memory, which has one gradient: dmemory");
        this->check_memory_gradients(call, memory.rows(), to, [&](const Output<T>& output, std::string_view name) {
            this->check_apart(output, name, Tape());
            this->check_gradient(options, [&](const auto& matrix, const auto& parameter) {
                this->check_parameter_apart(matrix, parameter, output.given(), name);
            });
        });
        const Index g = shape().kv_heads, width = this->key_width();
        memory.dk_.setZero(memory.rows(), width), memory.dv_.setZero(memory.rows(), width);
        memory.keys_.add_gradients(heads(memory.dk_, g), heads(memory.dv_, g), detail::attention_of(options.gradient));
        this->add_memory_parameters(memory.rows_, memory.values_from(), memory.sequences_, memory.raw_k_, memory.dk_,
                                    memory.dv_, memory.dgain_, options.gradient, options.executor);
        this->add_memory_inputs(memory.dk_, memory.dv_, to, options.executor);
    }
};

}  // namespace attend
