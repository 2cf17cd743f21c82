#pragma once
/// \file
/// One key/value head of one sequence of a recurrent mixer's call.

#include <algorithm>

#include <attend/mixer/mixer.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What a backward call reads beside its operands, and where it adds.
template <class X>
struct RecurrentGradients {
    StridedView<const X> dout;
    StridedView<X> dq, dk, dv;
};

/// The states that a call finds and leaves, where it carries such, and in backward the gradients of those that it left,
/// which become those of what it found: a state for each key/value head of each sequence, one behind the other. Queries
/// then stand at the latest keys.
template <class C>
struct CarriedStates {
    const C* past = nullptr;
    C* present = nullptr;  ///< the same, of a forward call
    C* gradients = nullptr;

    explicit operator bool() const { return past != nullptr; }
};

/// The rows of one key/value head of one sequence, and which of them queries see.
template <class M, class X>
class RecurrentHead {
    using C = Compute<X>;

public:
    RecurrentHead(const M& mixer, const Problem<X>& problem, Index task, const CarriedStates<C>& carried)
        : mixer_(mixer),
          problem_(problem),
          carried_(carried),
          task_(task),
          sequence_(task / problem.shape.kv_heads),
          head_(task % problem.shape.kv_heads),
          group_(problem.shape.group()),
          queries_(problem.queries(sequence_)),
          k_(key_rows(problem.k)),
          v_(key_rows(problem.v)),
          offset_(carried ? k_.rows() - queries_ : problem.shape.query_offset) {}

protected:
    /// How many keys query i sees. It never falls from query to query.
    Index keys_of(Index i) const {
        return mixer_.causal ? std::clamp<Index>(offset_ + i + 1, 0, k_.rows()) : k_.rows();
    }
    /// How many the state takes in: where it is left to somebody, all.
    Index absorbs() const { return carried_ ? k_.rows() : queries_ == 0 ? 0 : keys_of(queries_ - 1); }

    MixerState<C> present() const { return state_in<MixerState<C>>(carried_.present); }
    MixerState<C> carried_gradient() const { return state_in<MixerState<C>>(carried_.gradients); }
    /// The state before the first key.
    void start(MixerState<C>& state) const {
        if (carried_) {
            state = state_in<MixerStateIn<C>>(carried_.past);
        } else {
            state.setZero();
        }
    }

    template <class T>
    Slice<T> queries(const StridedView<T>& view, Index head) const {
        return problem_.query_slice(view, sequence_, head);
    }
    template <class T>
    Slice<T> key_rows(const StridedView<T>& view) const {
        return problem_.key_slice(view, sequence_, head_);
    }
    template <class F>
    void for_each_head(const F& f) const {
        for (Index head = head_ * group_; head < (head_ + 1) * group_; ++head) f(head);
    }
    /// 16-bit numbers are rounded once.
    static void add_rows(const auto& rows, Slice<X> to, Index begin) {
        auto some = to.middleRows(begin, rows.rows());
        some = (some.template cast<C>() + rows).template cast<X>();
    }

    const M& mixer_;
    const Problem<X>& problem_;
    CarriedStates<C> carried_;
    Index task_, sequence_, head_, group_, queries_;
    Slice<const X> k_, v_;
    Index offset_;

private:
    template <class State>
    State state_in(auto* states) const {
        const StateShape shape = mixer_.state(problem_.shape);
        return {states + task_ * shape.rows * shape.columns, shape.rows, shape.columns};
    }
};

}  // namespace attend::detail
