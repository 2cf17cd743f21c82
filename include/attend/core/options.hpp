#pragma once
/// \file
/// The optional arguments of a call.

#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/core/any_input.hpp>
#include <attend/core/compute_form.hpp>
#include <attend/core/dropout.hpp>
#include <attend/core/executor.hpp>
#include <attend/core/insight.hpp>
#include <attend/core/output.hpp>
#include <attend/core/workspace.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {
class KeptSequences;
}

/// Where the sequences of a stack of rows begin: n + 1 offsets for n sequences, the first 0, the last the number of
/// rows. Copies share the offsets, and so do options that were given them: a temporary may be stored there.
class Sequences {
public:
    /// Throws unless the offsets begin with 0 and never decrease. O(n).
    explicit Sequences(std::vector<Index> offsets)
        : offsets_(std::make_shared<const std::vector<Index>>(std::move(offsets))) {
        const std::vector<Index>& begin = *offsets_;
        detail::require(!begin.empty() && begin.front() == 0, "sequences: offsets must start at 0");
        for (std::size_t i = 1; i < begin.size(); ++i) {
            detail::require(begin[i - 1] <= begin[i], "sequences: offsets must not decrease, but ", begin[i],
                            " follows ", begin[i - 1]);
        }
    }
    /// A move is a copy: what was moved from would have no offsets at all.
    Sequences(const Sequences&) = default;
    Sequences& operator=(const Sequences&) = default;

    /// The n + 1 offsets.
    /// @{
    const std::vector<Index>& offsets() const& { return *offsets_; }
    std::vector<Index> offsets() const&& { return *offsets_; }
    /// @}

private:
    friend class detail::KeptSequences;
    std::shared_ptr<const std::vector<Index>> offsets_;
};

/// A ragged batch: `sequences({0, 17, 40})` are the rows 0–16 and 17–39. Throws unless the offsets begin with 0 and
/// never decrease.
/// @{
inline Sequences sequences(std::initializer_list<Index> offsets) { return Sequences(std::vector<Index>(offsets)); }
inline Sequences sequences(std::vector<Index> offsets) { return Sequences(std::move(offsets)); }
/// @}

/// Rows of queries, in rising order, of which something is asked. Copies share them.
class QueryRows {
public:
    QueryRows() = default;
    /// Throws unless the rows rise from 0 on.
    explicit QueryRows(std::vector<Index> rows) : rows_(std::make_shared<const std::vector<Index>>(std::move(rows))) {
        for (std::size_t i = 0; i < rows_->size(); ++i) {
            const Index row = (*rows_)[i], least = i == 0 ? 0 : (*rows_)[i - 1] + 1;
            detail::require(row >= least, "query_rows: rows must rise from 0 on, but row ", row, " is number ", i);
        }
    }

    explicit operator bool() const { return rows_ != nullptr; }
    /// The rows; none where none were given.
    std::span<const Index> get() const {
        return rows_ == nullptr ? std::span<const Index>() : std::span<const Index>(rows_->data(), rows_->size());
    }

private:
    std::shared_ptr<const std::vector<Index>> rows_;
};
/// `query_rows({3, 7})`. Throws unless the rows rise from 0 on.
/// @{
inline QueryRows query_rows(std::initializer_list<Index> rows) { return QueryRows(std::vector<Index>(rows)); }
inline QueryRows query_rows(std::vector<Index> rows) { return QueryRows(std::move(rows)); }
/// @}

/// A position for each row of the queries. Borrows them from where they stand.
class QueryPositions {
public:
    QueryPositions() = default;
    /// Borrows; a temporary vector is refused by the compiler.
    /// @{
    QueryPositions(std::span<const Index> positions) : positions_(positions) {}  // NOLINT(google-explicit-constructor)
    template <class Positions>
        requires std::is_same_v<std::remove_cvref_t<Positions>, std::vector<Index>>
    QueryPositions(Positions&& positions)  // NOLINT(google-explicit-constructor)
        : positions_(positions.data(), positions.size()) {
        static_assert(std::is_lvalue_reference_v<Positions>,
                      "attend: options borrow query_positions, and this vector is a temporary: give it a name");
    }
    /// @}

    /// The positions; none where none were given.
    std::span<const Index> get() const { return positions_; }

private:
    std::span<const Index> positions_;
};

namespace detail {

/// Borrowed offsets of a ragged batch; none stands for "as the operands say".
class SequencesRef {
public:
    SequencesRef() = default;
    SequencesRef(const Sequences& sequences)  // NOLINT(google-explicit-constructor)
        : offsets_(sequences.offsets().data()), count_(static_cast<Index>(sequences.offsets().size()) - 1) {}

    /// Borrows n + 1 offsets that a `Sequences` has checked before.
    explicit SequencesRef(std::span<const Index> offsets)
        : offsets_(offsets.empty() ? nullptr : offsets.data()), count_(static_cast<Index>(offsets.size()) - 1) {}
    std::span<const Index> offsets() const {
        return offsets_ == nullptr ? std::span<const Index>()
                                   : std::span(offsets_, static_cast<std::size_t>(count_ + 1));
    }

    explicit operator bool() const { return offsets_ != nullptr; }
    Index count() const { return count_; }
    Index total() const { return offsets_[count_]; }
    Index begin(Index sequence) const { return offsets_[sequence]; }
    Index length(Index sequence) const { return offsets_[sequence + 1] - offsets_[sequence]; }
    Index longest() const {
        Index most = 0;
        for (Index s = 0; s < count_; ++s) most = length(s) > most ? length(s) : most;
        return most;
    }

private:
    const Index* offsets_ = nullptr;
    Index count_ = 0;
};

/// The offsets of options, which may outlive the `Sequences` that they were given: kept alive, at the cost of a
/// reference count. Those of a `SequencesRef` stay borrowed.
class KeptSequences : public SequencesRef {
public:
    KeptSequences() = default;
    KeptSequences(const Sequences& sequences)  // NOLINT(google-explicit-constructor)
        : SequencesRef(sequences), owner_(sequences.offsets_) {}
    KeptSequences(const SequencesRef& borrowed)  // NOLINT(google-explicit-constructor)
        : SequencesRef(borrowed) {}

private:
    std::shared_ptr<const std::vector<Index>> owner_;
};

}  // namespace detail

/// What a call computes, as far as it decides how much scratch memory the call needs.
enum class Pass {
    forward,  ///< the output and the LSE
    weights,  ///< those and the weights
    insight,  ///< those and reductions that see scores
    backward  ///< the gradients
};

/// Optional arguments of a forward call that computes in T. May be stored and used again: sequences and the library's
/// executors are held, the workspace, the outputs and an executor of the user's own that has a name are borrowed.
template <class T>
struct ForwardOptions {
    Workspace* workspace = nullptr;         ///< scratch; none: the call allocates its own
    detail::ExecutorRef executor = serial;  ///< where threads come from
    Output<T> lse = {};                     ///< rows × heads: natural-log log-sum-exp of each row of final scores
    Output<T> weights = {};  ///< (heads · rows) × keys: the weights after dropout, the heads' blocks below each other
    QueryRows weight_rows = {};  ///< of these rows alone, of each sequence of a batch or of a ragged one's stack
    Insight<T> insight = {};     ///< reductions of the weights: see core/insight.hpp; not with dropout
    Index query_offset = 0;      ///< absolute position of the first query; keys start at 0
    /// Where queries do not follow each other: the absolute position of each row of q, in place of `query_offset` and
    /// of what a source says. Borrowed. Rows whose positions go by one step, such as all at one position, are fastest.
    QueryPositions query_positions = {};
    detail::KeptSequences sequences = {};      ///< ragged batch: where the sequences of q begin
    detail::KeptSequences key_sequences = {};  ///< the same for k and v; by default as for q
    Dropout dropout = {};                      ///< which weights are dropped, and by what seed
};

/// Optional arguments of a backward call on an attention of type A. Held and borrowed as in `ForwardOptions`; the
/// gradients are borrowed.
template <class A>
struct BackwardOptions {
    Workspace* workspace = nullptr;         ///< scratch; none: the call allocates its own
    detail::ExecutorRef executor = serial;  ///< where threads come from
    /// Where the parameters' gradients are added: see `zero_gradient`. Those of 16 bits are summed up in float and
    /// rounded once a call into an A, or not at all into a `ComputeForm<A>`.
    detail::GradientPointer<A> gradient = nullptr;
    /// The gradient of a loss in the LSE, rows × heads as that, of attentions by softmax or another fold: of
    /// what `merge` made of parts of the keys, or of a penalty on large scores.
    detail::AnyInput dlse = {};
    /// The gradient of a loss in the weights, (heads · rows) × keys, as `.weights` gives them and whether or not they
    /// were asked for: of coverage, of an entropy, of a place that should be looked at. Weights that a mask hides have
    /// none.
    detail::AnyInput dweights = {};
    Index query_offset = 0;                    ///< that of the forward call
    QueryPositions query_positions = {};       ///< those of the forward call
    detail::KeptSequences sequences = {};      ///< those of the forward call
    detail::KeptSequences key_sequences = {};  ///< those of the forward call
    Dropout dropout = {};                      ///< that of the forward call
};

}  // namespace attend
