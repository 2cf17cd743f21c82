#pragma once
/// \file
/// Linear attention and its kin: gated, by the delta rule, or both.

#include <cmath>
#include <limits>

#include <attend/mixer/linear_chunk.hpp>
#include <attend/mixer/recurrent.hpp>

namespace attend::inline ATTEND_ABI {

/// A state S of d_q × d_v that each token decays and writes to, and that its query reads, in time linear in the tokens:
///
///     S_t = e^decay_t S_{t−1} + k_t v_tᵀ                                 (linear, gated)
///     S_t = e^decay_t S_{t−1} + β_t k_t (v_t − (e^decay_t S_{t−1})ᵀ k_t)ᵀ   (delta rule, gated delta rule)
///     o_t = scale · S_tᵀ q_t
///
/// (Katharopoulos et al. 2020; Yang et al. 2024; Schlag et al. 2021; Yang et al. 2025; the rules of ONNX's
/// LinearAttention.) What decay and β a token has stands behind its key: a row of k is `[k, decay, β]`, of d_q columns,
/// then 0, 1 or d_q for the decay and 0 or 1 for β; `join_keys` and `split_keys` of mixer/key_gates.hpp put them
/// together and apart. Their gradients stand likewise in dk.
///
/// A recurrent mixer (mixer/mixer.hpp): `recurrent(LinearAttention{…})`, or one of the objects below. Tokens are taken
/// in chunks of 64, by matrix products: O(n · d_q · d_v + n · 64 · (d_q + d_v)). Whatever decays there are, −∞ too, all
/// stays finite that is so token by token.
struct LinearAttention {
    bool causal = true;                       ///< whether a query reads the state after its own key, or after all
    Decay decay = Decay::none;                ///< what decays the state
    bool delta = false;                       ///< by the delta rule, with a β for each token
    KeyGates gates = KeyGates::given;         ///< how decay and β stand behind a key
    FeatureMap features = FeatureMap::plain;  ///< of queries and of keys
    double scale = 0;                         ///< 0: 1/√d_q

    auto spelled(const auto& say) const {
        return say.record(
            "LinearAttention", say.field(!causal, "causal", causal),
            say.field(decay != Decay::none, "decay", decay == Decay::head ? "Decay::head" : "Decay::feature"),
            say.field(delta, "delta", delta), say.field(gates != KeyGates::given, "gates", "KeyGates::logits"),
            say.field(features != FeatureMap::plain, "features",
                      features == FeatureMap::elu ? "FeatureMap::elu" : "FeatureMap::unit"),
            say.field(scale != 0, "scale", scale));
    }
    /// Columns of k for queries of that width.
    Index key_width(Index d_q) const { return d_q + detail::decay_columns(*this, d_q) + (delta ? 1 : 0); }
    StateShape state(const Shape& shape) const { return {shape.d_q, shape.d_v}; }
    void check(const Shape& shape) const {
        detail::require(std::abs(scale) <= std::numeric_limits<double>::max(),
                        "linear attention: the scale must be a finite number, not ", scale);
        detail::require(shape.d_q > 0, "linear attention: q must have at least one column a head");
        const Index width = key_width(shape.d_q);
        if (shape.d_k != width)
            detail::refuse("linear attention: k must have ", width, " columns a head, the ", shape.d_q, " of q, ",
                           detail::decay_columns(*this, shape.d_q), " of decay and ", delta ? 1 : 0, " of beta, not ",
                           shape.d_k);
    }

    Index chunk_tokens() const { return 64; }
    template <class C>
    std::size_t chunk_bytes(const Shape& most, Pass pass) const {
        return detail::linear_chunk_bytes<C>(*this, most, pass);
    }
    /// Numbers that are none, or infinite, shall reach no token before theirs.
    template <class C>
    bool begins_chunk(const MixerRowIn<C>& k, const MixerRowIn<C>& v) const {
        return !detail::is_finite_token(*this, k, v);
    }
    template <class C>
    void mix_chunk(const MixerChunk<C>& chunk, MixerState<C>& state, MixerState<C>& out, std::byte* room) const {
        detail::LinearChunk<C>(*this, chunk, state.rows(), state.cols(), Pass::forward, room).forward(state, out);
    }
    template <class C>
    void mix_chunk_backward(const MixerChunk<C>& chunk, const MixerStateIn<C>& state, const MixerStateIn<C>& dout,
                            MixerState<C>& dstate, MixerChunkGradients<C>& d, LinearAttention*, std::byte* room) const {
        detail::LinearChunk<C>(*this, chunk, state.rows(), state.cols(), Pass::backward, room)
            .backward(state, dout, dstate, d);
    }
};

/// S + k vᵀ.
inline constexpr auto linear_attention = recurrent(LinearAttention{});
/// With a decay by head, or `Decay::feature`: by feature of k.
constexpr Recurrent<LinearAttention> gated_linear_attention(Decay decay = Decay::head,
                                                            KeyGates gates = KeyGates::given) {
    return recurrent(LinearAttention{.decay = decay, .gates = gates});
}
/// S + β k (v − Sᵀ k)ᵀ. For keys of any length give `FeatureMap::unit`: it is stable where β |k|² ≤ 2.
constexpr Recurrent<LinearAttention> delta_rule(KeyGates gates = KeyGates::given,
                                                FeatureMap features = FeatureMap::plain) {
    return recurrent(LinearAttention{.delta = true, .gates = gates, .features = features});
}
/// The same of a state that decays.
constexpr Recurrent<LinearAttention> gated_delta_rule(Decay decay = Decay::head, KeyGates gates = KeyGates::given,
                                                      FeatureMap features = FeatureMap::plain) {
    return recurrent(LinearAttention{.decay = decay, .delta = true, .gates = gates, .features = features});
}

}  // namespace attend
