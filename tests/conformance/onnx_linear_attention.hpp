#pragma once
/// \file
/// ONNX LinearAttention by attend: by its update rule a linear attention, whose states are the past and the present.

#include <string>

#include <conformance/onnx_tensor.hpp>

namespace attend::test {

template <class T>
struct OnnxLinearInputs {
    OnnxTensor<T> query, key, value, past_state, decay, beta;
};
template <class T>
struct OnnxLinearOutputs {
    OnnxTensor<T> output, present_state;
};

/// All but states are (batch, tokens, heads · width).
template <class T>
OnnxLinearOutputs<T> onnx_linear_attention(const OnnxLinearInputs<T>& in, const std::string& rule, double scale,
                                           Index heads, Index kv_heads) {
    const Index batch = in.query.shape[0], tokens = in.query.shape[1], d = in.key.shape[2] / kv_heads,
                d_v = in.value.shape[2] / kv_heads;
    const bool gated = rule.starts_with("gated");
    const auto rows = [&](const OnnxTensor<T>& x) {
        return Eigen::Map<const RowMatrix<T>>(x.values.data(), batch * tokens, x ? x.shape[2] : 0);
    };
    const auto mixer = recurrent(LinearAttention{.decay = !gated                          ? Decay::none
                                                          : in.decay.shape[2] == kv_heads ? Decay::head
                                                                                          : Decay::feature,
                                                 .delta = rule.ends_with("delta"),
                                                 .scale = scale});
    const RowMatrix<T> keys = join_keys(mixer.mixer, rows(in.key), rows(in.decay), rows(in.beta), kv_heads);
    const Index width = keys.cols() / kv_heads;
    RecurrentCache<T> cache = mixer.template cache<T>(
        {.sequences = batch, .heads = heads, .kv_heads = kv_heads, .d_q = d, .d_k = width, .d_v = d_v});
    OnnxLinearOutputs<T> result{OnnxTensor<T>({batch, tokens, heads * d_v}, T(0)),
                                OnnxTensor<T>({batch, kv_heads, d, d_v}, T(0))};
    const auto states = [&](auto&& each) {
        for (Index b = 0, at = 0; b < batch; ++b)
            for (Index h = 0; h < kv_heads; ++h, at += d * d_v) each(cache.state(b, h), at);
    };
    if (in.past_state)
        states(
            [&](auto state, Index at) { state = Eigen::Map<const RowMatrix<T>>(&in.past_state.values[at], d, d_v); });
    mixer(by_heads(in.query.shape, in.query.values.data(), heads),
          by_heads({batch, tokens, keys.cols()}, keys.data(), kv_heads),
          by_heads(in.value.shape, in.value.values.data(), kv_heads), cache,
          by_heads(result.output.shape, result.output.values.data(), heads));
    states([&](auto state, Index at) { Eigen::Map<RowMatrix<T>>(&result.present_state.values[at], d, d_v) = state; });
    return result;
}

}  // namespace attend::test
