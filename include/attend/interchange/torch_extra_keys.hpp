#pragma once
/// \file
/// PyTorch's `add_bias_kv` and `add_zero_attn`: keys that every query sees besides those of the call.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>

#include <attend/attention.hpp>
#include <attend/mixer/mixer.hpp>

namespace attend::inline ATTEND_ABI {

/// Which keys there are besides.
struct TorchExtraKeysShape {
    Index bias_kv = 0;       ///< `add_bias_kv`: the width of a key that trains, all key/value heads side by side
    bool zero_attn = false;  ///< `add_zero_attn`: a key and a value of zeros
};

/// An attention with up to two more keys for each sequence, behind those of the call: one that trains, `bias_k` and
/// `bias_v`, as wide as all key/value heads, and one of zeros. No mask hides them and no modifier changes their scores.
/// A mixer, to be the attention of a block. It makes one value of two, as `merge` does: the attention runs as it is,
/// its rows are then scaled by what the other keys leave them. So the backward call needs nothing of the forward's but
/// its LSE. O(rows · width) more.
///
/// `.weights` are those of the call's own keys, which sum up to less than 1; `extra_weights` gives the rest. It
/// computes in C, float or double, and refuses dropout, reductions, `.dlse` and `.dweights`. The other keys' part is
/// the calling thread's. Without `.lse`, which a block gives, a call takes that from the heap.
template <class C, class A = ScaledDotProductAttention>
class TorchExtraKeys {
    static_assert(std::is_same_v<typename A::ScoreFunctor, ScaledDotScore> &&
                      std::is_base_of_v<Softmax, typename A::NormalizerFunctor>,
                  "attend: torch_extra_keys stand beside those of a scaled dot product by softmax");

    template <class... Operands>
    using Scalar = typename detail::FirstScalar<Operands...>::Scalar;

public:
    static constexpr bool has_weights = true;

    A attention;                     ///< of the call's own keys
    ColumnVector<C> bias_k, bias_v;  ///< empty: none. 0 at first
    bool zero_attn = false;          ///< whether there is a key of zeros

    /// What `torch_extra_keys(attention, shape)` makes. Throws where a width is negative.
    explicit TorchExtraKeys(A attention_, const TorchExtraKeysShape& shape)
        : attention(std::move(attention_)), zero_attn(shape.zero_attn) {
        detail::require(shape.bias_kv >= 0, "torch_extra_keys: bias_kv must be a width, got ", shape.bias_kv);
        bias_k.setZero(shape.bias_kv), bias_v.setZero(shape.bias_kv);
    }

    static void parameters(auto& self, auto&& visit) {
        if (self.bias_k.size() != 0) visit("bias_k", self.bias_k), visit("bias_v", self.bias_v);
        visit("", self.attention);
    }
    void check(const Shape& shape) const {
        static constexpr C somewhere{};
        const StridedView<const C> q{&somewhere, 1, shape.heads, shape.queries, shape.d_q},
            k{&somewhere, 1, shape.kv_heads, shape.keys, shape.d_k};
        detail::check_call(attention, shape, q, k);
        if (bias_k.size() == 0 && bias_v.size() == 0) return;
        detail::require(bias_k.size() == shape.kv_heads * shape.d_k && bias_v.size() == shape.kv_heads * shape.d_v,
                        "torch_extra_keys: bias_k and bias_v have ", bias_k.size(), " and ", bias_v.size(),
                        " numbers, but ", shape.kv_heads, " key/value heads have ", shape.kv_heads * shape.d_k, " and ",
                        shape.kv_heads * shape.d_v);
    }

    /// As an attention's call.
    template <class Q, class Key, class V>
    void operator()(const Q& q, const Key& k, const V& v, Output<Scalar<Q, Key, V>> out,
                    ForwardOptions<Compute<Scalar<Q, Key, V>>> options = {}) const {
        using T = Scalar<Q, Key, V>;
        if constexpr (detail::are_operands<Q, Key, V>() && computes<T>()) {
            const detail::Operand q_operand(q);
            const detail::Operand k_operand(k);
            const detail::Operand v_operand(v);
            refuse_dropout(options.dropout);
            detail::require(!options.insight, "insight: torch_extra_keys cannot show their weights: leave it out");
            detail::require(!options.weight_rows, "weight_rows: torch_extra_keys give the weights of all rows");
            const detail::Problem problem(q_operand, k_operand, v_operand,
                                          detail::QueryPlaces(options.query_offset, options.query_positions),
                                          options.sequences, options.key_sequences, options.dropout);
            check(problem.shape);
            RowMatrix<C> own_lse;
            if (!options.lse) options.lse = own_lse;
            detail::check_outputs(problem, out, options);
            const StridedView<T> y = problem.query_output(out, problem.v.columns);
            const StridedView<C> lse = problem.query_output(options.lse, 1),
                                 weights = problem.pair_output(options.weights);
            const bool with_weights = static_cast<bool>(options.weights);
            options.lse = lse;
            if (with_weights) options.weights = weights;
            attention(problem.q, problem.k, problem.v, y, options);
            for_each_head(problem, [&](Index s, Index h, Index kv_head) {
                const auto q_rows = problem.query_slice(problem.q, s, h);
                auto y_rows = problem.query_slice(y, s, h);
                auto lses = problem.query_slice(lse, s, h);
                for (Index i = 0; i < q_rows.rows(); ++i) {
                    const C score = bias_score(q_rows.row(i), kv_head), all = joined_lse(lses(i, 0), score);
                    if (all == -std::numeric_limits<C>::infinity()) continue;  // there is no key at all
                    const C own = std::exp(lses(i, 0) - all);
                    lses(i, 0) = all;
                    auto y_row = y_rows.row(i);
                    if (bias_k.size() == 0) {
                        y_row = (own * y_row.template cast<C>()).template cast<T>();
                    } else {
                        const auto bias = of_head(bias_v, kv_head, y_row.size()).transpose();
                        y_row = (own * y_row.template cast<C>() + std::exp(score - all) * bias).template cast<T>();
                    }
                    if (with_weights) problem.query_slice(weights, s, h).row(i) *= own;
                }
            });
        }
    }

    /// As an attention's `backward`.
    template <class Q, class Key, class V, class Out, class Lse, class DOut>
    void backward(const Q& q, const Key& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                  Output<Scalar<Q, Key, V>> dq, Output<Scalar<Q, Key, V>> dk, Output<Scalar<Q, Key, V>> dv,
                  BackwardOptions<TorchExtraKeys> options = {}) const {
        using T = Scalar<Q, Key, V>;
        if constexpr (detail::are_operands<Q, Key, V, Out, DOut>() && detail::are_operands<Lse>() && computes<T>()) {
            const detail::Operand q_operand(q);
            const detail::Operand k_operand(k);
            const detail::Operand v_operand(v);
            const detail::Operand out_operand(out);
            const detail::Operand lse_operand(lse);
            const detail::Operand dout_operand(dout);
            refuse_dropout(options.dropout);
            detail::require(!options.dlse && !options.dweights,
                            "dlse and dweights: torch_extra_keys take none: leave them out");
            const detail::Problem problem(q_operand, k_operand, v_operand,
                                          detail::QueryPlaces(options.query_offset, options.query_positions),
                                          options.sequences, options.key_sequences, options.dropout);
            check(problem.shape);
            const detail::BackwardInputs<T> inputs{
                .out = problem.query_input(out_operand.view(), "out", problem.v.columns),
                .dout = problem.query_input(dout_operand.view(), "dout", problem.v.columns),
                .lse = problem.query_input(lse_operand.view(), "lse", 1),
                .dlse = {},
                .dweights = {}};
            detail::require(dq && dk && dv, "the gradients dq, dk and dv must be given");
            detail::check_outputs(*this, problem, inputs, options, dq, dk, dv);
            const StridedView<T> dq_view = problem.query_output(dq, problem.q.columns);
            attention.backward(problem.q, problem.k, problem.v, inputs.out, inputs.lse, inputs.dout, dq_view, dk, dv,
                               {.workspace = options.workspace,
                                .executor = options.executor,
                                .gradient = options.gradient == nullptr ? nullptr : &options.gradient->attention,
                                .query_offset = options.query_offset,
                                .query_positions = options.query_positions,
                                .sequences = options.sequences,
                                .key_sequences = options.key_sequences});
            if (bias_k.size() == 0) return;  // zeros have no gradient, and give none to queries
            for_each_head(problem, [&](Index s, Index h, Index kv_head) {
                const auto q_rows = problem.query_slice(problem.q, s, h), y = problem.query_slice(inputs.out, s, h),
                           dy = problem.query_slice(inputs.dout, s, h);
                const auto lses = problem.query_slice(inputs.lse, s, h);
                auto dq_rows = problem.query_slice(dq_view, s, h);
                const auto key = of_head(bias_k, kv_head, q_rows.cols()), value = of_head(bias_v, kv_head, y.cols());
                for (Index i = 0; i < q_rows.rows(); ++i) {
                    const auto q_row = q_rows.row(i).transpose().template cast<C>();
                    const auto dy_row = dy.row(i).transpose().template cast<C>();
                    const C p = std::exp(bias_score(q_rows.row(i), kv_head) - lses(i, 0)),
                            delta = y.row(i).transpose().template cast<C>().dot(dy_row),
                            ds = p * (value.dot(dy_row) - delta) * factor(q_rows.cols());
                    dq_rows.row(i) = (dq_rows.row(i).template cast<C>() + ds * key.transpose()).template cast<T>();
                    if (options.gradient == nullptr) continue;
                    of_head(options.gradient->bias_k, kv_head, key.size()) += ds * q_row;
                    of_head(options.gradient->bias_v, kv_head, value.size()) += p * dy_row;
                }
            });
        }
    }

    /// The weights of the other keys in a call, given its q and the LSE that it gave: rows · heads below each other as
    /// `.weights`, and a column for the one that trains, then one for zeros, as far as there are such. Of a block: `
    /// block.attention.extra_weights(heads(tape.q, h), tape.lse)`.
    template <class Q>
    RowMatrix<C> extra_weights(const Q& q, const RowMatrix<C>& lse) const {
        const detail::Operand operand(q);
        const auto view = operand.view();
        const Index kv_heads = bias_k.size() == 0 ? 1 : bias_k.size() / view.columns, bias = bias_k.size() == 0 ? 0 : 1;
        detail::require(
            view.sequences == 1 && lse.rows() == view.rows && lse.cols() == view.heads && view.heads % kv_heads == 0,
            "extra_weights: ", detail::named("q", view), " and ", detail::named("lse", lse.rows(), lse.cols()),
            " must be those of one call");
        RowMatrix<C> weights(view.heads * view.rows, bias + (zero_attn ? 1 : 0));
        for (Index h = 0; h < view.heads; ++h) {
            const auto rows = detail::rows_of(view, 0, h, view.rows);
            for (Index i = 0; i < view.rows; ++i) {
                auto row = weights.row(h * view.rows + i);
                if (bias == 1) row[0] = std::exp(bias_score(rows.row(i), h / (view.heads / kv_heads)) - lse(i, h));
                if (zero_attn) row[bias] = std::exp(-lse(i, h));
            }
        }
        return weights;
    }

    /// As that of the attention.
    template <class X = float>
    std::size_t workspace_bytes(const Shape& shape, Index workers = 1, Pass pass = Pass::forward) const {
        return attention.template workspace_bytes<X>(shape, workers, pass);
    }

private:
    template <class T>
    static consteval bool computes() {
        constexpr bool one = std::is_same_v<C, Compute<T>>;
        static_assert(one, "attend: torch_extra_keys<C> computes in C: float for calls of float and of 16 bits");
        return one;
    }
    static void refuse_dropout(const Dropout& dropout) {
        detail::require(dropout.rate == 0, "dropout: torch_extra_keys have none: leave it out");
    }
    template <class X, class F>
    static void for_each_head(const detail::Problem<X>& problem, const F& f) {
        for (Index s = 0; s < problem.shape.sequences; ++s) {
            for (Index h = 0; h < problem.shape.heads; ++h) f(s, h, h / problem.shape.group());
        }
    }
    static auto of_head(auto& vector, Index kv_head, Index width) { return vector.segment(kv_head * width, width); }
    C factor(Index width) const { return attention.score().template query_factor<C>(width); }
    /// The score of the key that trains; −∞ where there is none.
    template <class Row>
    C bias_score(const Row& q, Index kv_head) const {
        if (bias_k.size() == 0) return -std::numeric_limits<C>::infinity();
        return factor(q.size()) * q.transpose().template cast<C>().dot(of_head(bias_k, kv_head, q.size()));
    }
    /// The LSE of a row with the other keys.
    C joined_lse(C lse, C score) const {
        constexpr C none = -std::numeric_limits<C>::infinity();
        const C zero = zero_attn ? C(0) : none, top = std::max({lse, score, zero});
        if (top == none) return top;
        return top + std::log(std::exp(lse - top) + std::exp(score - top) + std::exp(zero - top));
    }
};

/// `multi_head<float>({.d_model = 512, .heads = 8}, torch_extra_keys<float>(attention, {.bias_kv = 512}))`
template <class C, class A>
TorchExtraKeys<C, A> torch_extra_keys(A attention, const TorchExtraKeysShape& shape) {
    return TorchExtraKeys<C, A>(std::move(attention), shape);
}

}  // namespace attend
