#pragma once

#include "batch.hpp"

namespace translate_dates {

/// A gated recurrent unit (Cho et al. 2014) that reads tokens. For token a and state h, with W_a one row of the input
/// weight (so that no embedding and no input bias is needed) and U, b the hidden weight and bias:
///
///     z = sigma(W_a,z + h U_z + b_z)        how much of the state stays
///     r = sigma(W_a,r + h U_r + b_r)        how much of it the candidate sees
///     c = tanh (W_a,c + r * (h U_c + b_c))  the candidate
///     h' = z * h + (1 - z) * c
template <class T>
class Gru {
public:
    /// What one step leaves behind for the backward pass: a sentence a row.
    struct Step {
        Rows<T> before, update, reset, candidate, recalled;  // h, z, r, c, h U_c + b_c
    };
    using Tape = std::vector<Step>;

    Gru(Index tokens, Index hidden, Random& random)
        : input_weight(random_weight<T>(tokens, 3 * hidden, random)),
          hidden_weight(random_weight<T>(hidden, 3 * hidden, random)),
          hidden_bias(RowVector<T>::Zero(3 * hidden)) {}

    Index hidden() const { return hidden_weight.rows(); }

    /// Reads the stacked tokens in the given order, each sentence from the state 0, and writes the state after each
    /// token into that token's row of `states`.
    void forward(const Tokens& tokens, const Order& order, Tape& tape, Eigen::Ref<Rows<T>> states) const {
        tape.resize(order.size());
        Rows<T> state = Rows<T>::Zero(order.empty() ? 0 : rows_of(order[0]), hidden());
        for (std::size_t t = 0; t < order.size(); ++t) {
            const Index running = rows_of(order[t]);
            auto now = state.topRows(running);
            step(tokens, order[t], now, tape[t]);
            for (Index s = 0; s < running; ++s) states.row(order[t][static_cast<std::size_t>(s)]) = now.row(s);
        }
    }

    /// Adds the gradients of the parameters, given those of every state.
    template <class States>
    void backward(const Tokens& tokens, const Order& order, const Tape& tape, const States& dstates,
                  Gru& gradient) const {
        Rows<T> dstate = Rows<T>::Zero(order.empty() ? 0 : rows_of(order[0]), hidden());
        for (std::size_t t = order.size(); t-- > 0;) {
            const Index running = rows_of(order[t]);
            auto dnow = dstate.topRows(running);
            for (Index s = 0; s < running; ++s) dnow.row(s) += dstates.row(order[t][static_cast<std::size_t>(s)]);
            step_backward(tokens, order[t], tape[t], dnow, gradient);
        }
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("input_weight", self.input_weight);
        visit("hidden_weight", self.hidden_weight);
        visit("hidden_bias", self.hidden_bias);
    }

    Rows<T> input_weight;      // (tokens x 3 hidden), columns in the order z, r, c
    Rows<T> hidden_weight;     // (hidden x 3 hidden)
    RowVector<T> hidden_bias;  // (3 hidden)

private:
    static Index rows_of(const std::vector<Index>& rows) { return static_cast<Index>(rows.size()); }

    template <class State>
    void step(const Tokens& tokens, const std::vector<Index>& rows, State& state, Step& kept) const {
        const Index n = hidden();
        Rows<T> gates = (state * hidden_weight).rowwise() + hidden_bias;
        kept.before = state;
        kept.recalled = gates.rightCols(n);
        for (Index s = 0; s < state.rows(); ++s) {
            const auto input = input_weight.row(tokens[static_cast<std::size_t>(rows[static_cast<std::size_t>(s)])]);
            gates.row(s).leftCols(2 * n) += input.leftCols(2 * n);
            gates.row(s).rightCols(n) = input.rightCols(n);
        }
        kept.update = gates.leftCols(n).array().logistic();
        kept.reset = gates.middleCols(n, n).array().logistic();
        kept.candidate = (gates.rightCols(n).array() + kept.reset.array() * kept.recalled.array()).tanh();
        state.array() = kept.candidate.array() + kept.update.array() * (kept.before - kept.candidate).array();
    }

    /// Turns the gradient of the state after the step into that of the state before it.
    template <class State>
    void step_backward(const Tokens& tokens, const std::vector<Index>& rows, const Step& kept, State& dstate,
                       Gru& gradient) const {
        const Index n = hidden();
        const auto z = kept.update.array();
        const auto r = kept.reset.array();
        const auto c = kept.candidate.array();
        const auto dh = dstate.array();

        Rows<T> dgates(dstate.rows(), 3 * n);  // of the sums inside the two sigmas and the tanh
        auto dz = dgates.leftCols(n);
        auto dr = dgates.middleCols(n, n);
        auto dc = dgates.rightCols(n);
        dz.array() = dh * (kept.before.array() - c) * z * (T(1) - z);
        dc.array() = dh * (T(1) - z) * (T(1) - c * c);
        dr.array() = dc.array() * kept.recalled.array() * r * (T(1) - r);
        for (Index s = 0; s < dstate.rows(); ++s)
            gradient.input_weight.row(tokens[static_cast<std::size_t>(rows[static_cast<std::size_t>(s)])]) +=
                dgates.row(s);

        dc.array() *= r;  // from here on `dgates` is the gradient of h U + b
        gradient.hidden_weight.noalias() += kept.before.transpose() * dgates;
        gradient.hidden_bias += dgates.colwise().sum();
        dstate.array() *= z;
        dstate.noalias() += dgates * hidden_weight.transpose();
    }
};

}  // namespace translate_dates
