#pragma once
/// \file
/// Calls of a block on a source of keys and values of a user's own.

#include <concepts>

#include <attend/layer/multi_head_call.hpp>

namespace attend::inline ATTEND_ABI {

/// Cross-attention to a source (source/source.hpp), which gives keys and values as the block's mixer would get them: of
/// kv_heads heads, projected, where there is RoPE turned, and as features of the attention's score. If the mixer is an
/// attention. x, y and their gradients are n × d_model; O(n · d_model²) operations and those of the attention. Throws
/// `std::invalid_argument` where shapes do not fit.
template <class T, class A>
class MultiHeadOnSource : public MultiHeadCall<T, A> {
    using Call = MultiHeadCall<T, A>;

public:
    using Call::shape;
    using typename Call::BackwardOptions, typename Call::Options, typename Call::Tape;

    /// Returns the result, or writes it to y.
    /// @{
    // Source comes first: beside the block's own calls Clang takes members for hidden that differ in constraints alone.
    template <detail::GivenAsSource Source, detail::Dense X>
    RowMatrix<T> operator()(const X& x, const Source& source, Options options = {}) const {
        RowMatrix<T> y;
        forward(x, source, y, options);
        return y;
    }
    template <detail::GivenAsSource Source, detail::Dense X>
    void forward(const X& x, const Source& source, Output<T> y, Options options = {}) const {
        if constexpr (fits<Source>()) {
            detail::TapeOf<T> recorded(options);
            Tape& tape = recorded.tape;
            detail::require(!options.key_sequences,
                            "key_sequences: a source says itself how many keys a sequence has: leave them out");
            this->check_input(x, "x", shape().d_model, tape.x);
            this->check_parameters();
            detail::check(options.dropout);
            this->check_outputs(
                this->problem_of(x.rows(), source, options.query_offset, options.sequences, options.dropout), y,
                x.rows(), options, tape);
            tape.call = BlockCall::source;
            this->run(this->input(x, options.tape != nullptr, tape.x), tape, y, options, {},
                      first_query(source, x.rows(), options.query_offset, options.sequences),
                      [&](const auto& q, const auto& context, const auto& call) {
                          this->attention(q, source, context, call);
                      });
        }
    }
    /// @}

    /// Given dy, adds the gradient of x and with `.gradient` those of the parameters of queries, of the output and of
    /// the attention; those of keys and values go to `gradients.add(sequence, head, begin, dk, dv)`.
    template <detail::Dense DY, detail::GivenAsSource Source, class KeysInto>
    void backward(Tape& tape, const DY& dy, Output<T> dx, const Source& source, KeysInto&& gradients,
                  BackwardOptions options = {}) const {
        if constexpr (!detail::DenseMemory<DY>) {  // evaluated first
            backward(tape, typename DY::PlainObject(dy), dx, source, gradients, options);
        } else if constexpr (fits<Source>()) {
            detail::require(tape.call == BlockCall::source, "backward: the tape holds no call with a source of keys");
            this->check_parameters();
            this->problem_of(tape.x.rows(), source, tape.query_offset, Call::sequences_of(tape.sequences),
                             tape.dropout);
            this->check_gradients(tape, 0, dy, dx, {}, options);
            detail::with_gradient(options.gradient, [&](auto* gradient) {
                this->run_backward(
                    tape, dy, options, gradient,
                    first_query(source, tape.x.rows(), tape.query_offset, Call::sequences_of(tape.sequences)),
                    [&](const auto& q, const auto& context, const auto& dcontext, const auto& dq) {
                        this->attention.backward(q, source, context, tape.lse, dcontext, dq, gradients,
                                                 Call::mixer_options(tape, options, detail::attention_of(gradient)));
                    });
            });
            this->add_query_inputs(tape, dx, options.executor);
        }
    }

protected:
    using Call::Call;

private:
    /// Where the queries of a sequence stand: a source may say it, as caches do.
    template <class Source>
    static auto first_query(const Source& source, Index rows, Index query_offset,
                            const detail::SequencesRef& sequences) {
        if constexpr (requires { source.query_offset(rows, rows); }) {
            return [&source, rows, sequences](Index s) {
                return static_cast<Index>(source.query_offset(s, sequences ? sequences.length(s) : rows));
            };
        } else {
            return Call::from(query_offset);
        }
    }
    template <class Source>
    static consteval bool fits() {
        constexpr bool attends = OfKind<A, Kind::attention>, gives = KeySourceOf<Source, Compute<T>>;
        static_assert(attends, "attend: only blocks of attentions read sources of keys: this block's mixer is none");
        static_assert(
            gives,
            "attend: this key source does not fit a call in the scalar of q: it needs sequences, heads, keys, "
            "key_width, value_width, key_rows and value_rows, see source/source.hpp");
        return attends && gives;
    }
};

}  // namespace attend
