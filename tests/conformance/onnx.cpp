// The ONNX standard's own cases of Attention, LinearAttention and RotaryEmbedding, where they are present beside this
// project.

#include <filesystem>
#include <set>

#include <conformance/onnx_attention.hpp>
#include <conformance/onnx_linear_attention.hpp>
#include <conformance/onnx_rotary_embedding.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/conformance.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_onnx {
namespace {

template <class T>
OnnxTensor<T> tensor_of(const Tensor& tensor) {
    OnnxTensor<T> result(tensor.shape, T(0));
    result.values = Eigen::Map<const Eigen::ArrayXd>(tensor.values.data(), tensor.size()).cast<T>();
    return result;
}
template <class T>
OnnxTensor<T> input(const Case& c, const std::string& name) {
    return c.has_in(name) ? tensor_of<T>(c.in(name)) : OnnxTensor<T>();
}

/// What this adapter understands; a case with more must fail, not pass by chance.
void check_names(const Case& c, const std::set<std::string>& attributes, const std::set<std::string>& inputs) {
    for (const auto& [name, value] : c.attributes) {
        INFO("attribute " << name);
        CHECK(attributes.count(name) == 1);
    }
    for (const auto& [name, tensor] : c.inputs) {
        INFO("input " << name);
        CHECK(inputs.count(name) == 1);
    }
}

/// NumPy computed the cases in the tensors' own type and in another order: 16 roundings of the largest entry cover
/// both.
template <class T, class X>
void check_output(const Case& c, const std::string& name, const OnnxTensor<X>& actual) {
    const Tensor& tensor = c.out(name);
    const Eigen::Map<const Eigen::ArrayXd> expected(tensor.values.data(), tensor.size());
    const double largest = expected.isFinite().select(expected.abs(), 0).maxCoeff();
    const double rounding = std::is_same_v<T, Eigen::half> ? 0x1p-11 : 0x1p-24;  // Eigen 3.4's epsilon of half is wrong
    INFO(c.name << ", " << name);
    CHECK(actual.shape == tensor.shape);
    CHECK(distance(actual.values, expected) <= 8 * rounding * largest);
}

template <class T>
void check_attention(const Case& c) {
    check_names(c,
                {"scale", "softcap", "is_causal", "left_window_size", "right_window_size", "q_num_heads",
                 "kv_num_heads", "qk_matmul_output_mode", "softmax_precision"},
                {"Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"});
    OnnxAttributes attributes{.softcap = c.number("softcap", 0),
                              .is_causal = c.integer("is_causal", 0) == 1,
                              .left_window_size = c.integer("left_window_size", -1),
                              .right_window_size = c.integer("right_window_size", -1),
                              .q_num_heads = c.integer("q_num_heads", 1),
                              .kv_num_heads = c.integer("kv_num_heads", 1)};
    if (c.attributes.count("scale") != 0) attributes.scale = c.number("scale");
    if (c.outputs.count("qk_matmul_output") != 0)
        attributes.qk_matmul_output_mode = c.integer("qk_matmul_output_mode", 0);

    const bool boolean = c.has_in("attn_mask") && c.in("attn_mask").type == "bool";
    const OnnxAttention<T> node(attributes, {.Q = input<T>(c, "Q"),
                                             .K = input<T>(c, "K"),
                                             .V = input<T>(c, "V"),
                                             .keep = boolean ? input<bool>(c, "attn_mask") : OnnxTensor<bool>(),
                                             .bias = boolean ? OnnxTensor<T>() : input<T>(c, "attn_mask"),
                                             .past_key = input<T>(c, "past_key"),
                                             .past_value = input<T>(c, "past_value"),
                                             .nonpad_kv_seqlen = input<Index>(c, "nonpad_kv_seqlen")});
    for (const auto& [name, tensor] : c.outputs) {
        if (name == "Y") {
            check_output<T>(c, name, node.out.Y);
        } else if (name == "present_key") {
            check_output<T>(c, name, node.out.present_key);
        } else if (name == "present_value") {
            check_output<T>(c, name, node.out.present_value);
        } else if (name == "qk_matmul_output") {
            check_output<T>(c, name, node.out.qk_matmul_output);
        } else {
            FAIL("no output " << name);
        }
    }
}

void check_rotary_embedding(const Case& c) {
    check_names(c, {"interleaved", "num_heads", "rotary_embedding_dim"},
                {"input", "cos_cache", "sin_cache", "position_ids"});
    const OnnxRotaryInputs<float> in{.input = input<float>(c, "input"),
                                     .cos_cache = input<float>(c, "cos_cache"),
                                     .sin_cache = input<float>(c, "sin_cache"),
                                     .position_ids = input<Index>(c, "position_ids")};
    check_output<float>(c, "output",
                        onnx_rotary_embedding(in, c.integer("num_heads", 1), c.integer("interleaved", 0) == 1));
}

void check_linear_attention(const Case& c) {
    check_names(c, {"update_rule", "scale", "q_num_heads", "kv_num_heads"},
                {"query", "key", "value", "past_state", "decay", "beta"});
    const auto rule = c.attributes.find("update_rule");
    const OnnxLinearOutputs<float> out =
        onnx_linear_attention<float>({input<float>(c, "query"), input<float>(c, "key"), input<float>(c, "value"),
                                      input<float>(c, "past_state"), input<float>(c, "decay"), input<float>(c, "beta")},
                                     rule == c.attributes.end() ? "gated_delta" : rule->second, c.number("scale", 0),
                                     c.integer("q_num_heads"), c.integer("kv_num_heads"));
    check_output<float>(c, "output", out.output);
    check_output<float>(c, "present_state", out.present_state);
}

}  // namespace

TEST_CASE("the ONNX standard's cases") {
    if (!std::filesystem::exists(ATTEND_TEST_ONNX_DIR)) {
        WARN("NOT RUN: ../shared/conformance/onnx is not present");
        return;
    }
    for (const Case& c : read_cases(ATTEND_TEST_ONNX_DIR)) {
        INFO(c.name);
        if (c.op == "Attention" && c.in("Q").type == "f16") {
            check_attention<Eigen::half>(c);
        } else if (c.op == "Attention" && c.in("Q").type == "f32") {
            check_attention<float>(c);
        } else if (c.op == "RotaryEmbedding") {
            check_rotary_embedding(c);
        } else if (c.op == "LinearAttention") {
            check_linear_attention(c);
        } else {
            FAIL("no adapter for " << c.op << " of " << c.in("Q").type);
        }
    }
}

TEST_CASE("what a mask is too short for is masked") {
    Random random(1);
    const auto tensor = [&](std::vector<Index> shape) {
        OnnxTensor<float> x(std::move(shape), 0.f);
        x.values = random_matrix<float>(random, x.values.size(), 1).array();
        return x;
    };
    OnnxInputs<float> in{.Q = tensor({2, 1, 3, 4}), .K = tensor({2, 1, 5, 4}), .V = tensor({2, 1, 5, 2})};
    const bool boolean = GENERATE(true, false);
    if (boolean) {
        in.keep = OnnxTensor<bool>({3, 4}, true);
    } else {
        in.bias = tensor({3, 4});
    }
    const OnnxTensor<float> y = OnnxAttention<float>({}, in).out.Y;
    // The last key of each sequence lies behind the mask: it may as well not be there.
    in.nonpad_kv_seqlen = OnnxTensor<Index>({2}, 4);
    const OnnxTensor<float> without = OnnxAttention<float>({}, in).out.Y;
    CHECK(same_bits(y.values, without.values));
    in.keep = OnnxTensor<bool>();
    in.bias = OnnxTensor<float>();
    in.nonpad_kv_seqlen = OnnxTensor<Index>();
    CHECK_FALSE(same_bits(y.values, OnnxAttention<float>({}, in).out.Y.values));
}

}  // namespace test_onnx
