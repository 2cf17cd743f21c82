#pragma once
/// \file
/// From a golden case to the composed attention that it is about.

#include <stdexcept>
#include <string>

#include <attend/attend.hpp>
#include <golden/golden.hpp>

namespace attend::test {

/// Every case that has no program of its own.
inline std::vector<Case> attention_cases() {
    return golden_cases([](const std::string& op) { return other_golden_operators.count(op) == 0; });
}

/// What a case composes, in words: the operator, its attributes and its inputs beyond the operands, each in
/// alphabetical order.
inline std::string parts_of(const Case& c) {
    std::string parts = c.op;
    for (const auto& [name, value] : c.attributes) {
        if (name != "query_offset") parts += ' ' + name;
    }
    for (const auto& [name, tensor] : c.inputs) {
        if (name != "q" && name != "k" && name != "v" && name != "dout") parts += ' ' + name;
    }
    return parts;
}

/// Calls `use(attention)` with the attention of the case. Throws for a case that nothing here composes.
template <class T, class Use>
void with_attention(const Case& c, Use&& use) {
    const std::string parts = parts_of(c);
    const Index d_q = c.in("q").columns(), d_k = c.in("k").columns();
    if (parts == "dot_product") return use(dot_product);
    if (parts == "cosine scale") return use(cosine(c.number("scale")));
    if (parts == "general w") return use(GeneralAttention<T>(d_q, d_k, 0));
    if (parts == "additive b vscore wk wq") return use(AdditiveAttention<T>(d_q, d_k, c.in("b").columns(), 0));

    constexpr auto scaled = scaled_dot_product;
    if (parts == "scaled_dot_product") return use(scaled);
    if (parts == "scaled_dot_product causal") return use(scaled >> causal);
    if (parts == "scaled_dot_product alibi_slope causal") {
        return use(scaled >> alibi(c.number("alibi_slope")) >> causal);
    }
    if (parts == "scaled_dot_product soft_cap") return use(scaled >> soft_cap(c.number("soft_cap")));
    if (parts == "scaled_dot_product causal soft_cap window_left_exclusive") {
        const Index window = c.integer("window_left_exclusive");
        return use(scaled >> soft_cap(c.number("soft_cap")) >> (causal & sliding_window(window)));
    }
    if (parts == "scaled_dot_product bias") return use(scaled >> bias(c.in("bias").matrix<T>()));
    if (parts == "scaled_dot_product keep") return use(scaled >> dense_mask(c.in("keep").matrix<bool>()));
    if (parts == "scaled_dot_product sink") return use(scaled >> softmax_with_sink(c.in("sink").values.front()));
    if (parts == "scaled_dot_product sigmoid_bias") return use(scaled >> sigmoid(c.number("sigmoid_bias")));
    if (parts == "scaled_dot_product top_k") return use(scaled >> top_k(c.integer("top_k")));
    if (parts == "scaled_dot_product normalizer" && c.attributes.at("normalizer") == "sparsemax") {
        return use(scaled >> sparsemax);
    }
    throw std::invalid_argument(c.name + ": no attention for a case of " + parts);
}

/// The name that golden files have for a parameter, empty where it is none of their inputs.
inline std::string golden_name(std::string_view parameter) {
    if (parameter == "query_weight") return "wq";
    if (parameter == "key_weight") return "wk";
    if (parameter == "bias") return "b";
    if (parameter == "score_weight") return "vscore";
    if (parameter == "weight") return "w";
    if (parameter == "modifiers.0.values") return "bias";
    if (parameter == "normalizer.sink") return "sink";
    return "";
}

/// Calls `use(name, matrix)` for the parameters of `attention` that are inputs of the case, by the name they have
/// there.
template <class Attention, class Use>
void visit_golden_parameters(const Case& c, Attention& attention, Use&& use) {
    visit_parameters(attention, [&](std::string_view parameter, auto& matrix) {
        const std::string name = golden_name(parameter);
        if (c.has_in(name)) use(name, matrix);
    });
}

/// Gives an attention the parameters of the case.
template <class Attention>
void load_parameters(const Case& c, Attention& attention) {
    visit_golden_parameters(c, attention, [&](const std::string& name, auto& matrix) {
        using Scalar = typename std::remove_reference_t<decltype(matrix)>::Scalar;
        const RowMatrix<Scalar> values = c.in(name).matrix<Scalar>();
        matrix = values.template reshaped<Eigen::RowMajor>(matrix.rows(), matrix.cols());
    });
}

}  // namespace attend::test
