// PyTorch's nn.MultiheadAttention in all its variants, from files under its own names: outputs, weights and every
// gradient. The cases stand beside this project.

#include <filesystem>

#include <attend/attend.hpp>
#include <attend/interchange/torch_extra_keys.hpp>
#include <attend/interchange/torch_masks.hpp>
#include <attend/interchange/torch_names.hpp>
#include <interchange/file_of_case.hpp>
#include <support/block_cases.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_multi_head {
namespace {

const CaseNames names_in_case = {{"in_proj_weight", "in_proj_weight"},
                                 {"q_proj_weight", "q_proj_weight"},
                                 {"k_proj_weight", "k_proj_weight"},
                                 {"v_proj_weight", "v_proj_weight"},
                                 {"in_proj_bias", "in_proj_bias"},
                                 {"bias_k", "bias_k"},
                                 {"bias_v", "bias_v"},
                                 {"out_proj.weight", "out_proj_weight"},
                                 {"out_proj.bias", "out_proj_bias"}};

/// A mask of the case, nothing absent where it has none.
RowMatrix<bool> absent(const Case& c, const std::string& name, Index rows, Index columns) {
    if (!c.has_in(name)) return RowMatrix<bool>::Constant(rows, columns, false);
    return c.in(name).matrix<bool>();
}

/// (heads · sequences · rows) × keys, as attend has them, in PyTorch's order, sequences first.
RowMatrix<double> sequences_first(const RowMatrix<double>& weights, Index heads, Index sequences) {
    const Index rows = weights.rows() / heads / sequences;
    RowMatrix<double> ordered(weights.rows(), weights.cols());
    for (Index h = 0; h < heads; ++h) {
        for (Index n = 0; n < sequences; ++n)
            ordered.middleRows((n * heads + h) * rows, rows) = weights.middleRows((h * sequences + n) * rows, rows);
    }
    return ordered;
}

struct Setting {
    Index heads, sequences, queries, keys;
    RowMatrix<double> query, key, value, dout;

    explicit Setting(const Case& c)
        : heads(c.integer("heads")),
          sequences(c.in("query").shape[0]),
          queries(c.in("query").shape[1]),
          keys(c.in("key").shape[1]),
          query(c.in("query").matrix<double>()),
          key(c.in("key").matrix<double>()),
          value(c.in("value").matrix<double>()),
          dout(c.in("dout").matrix<double>()) {}

    MultiHeadShape shape(bool bias) const {
        return {.d_model = query.cols(),
                .heads = heads,
                .d_memory = key.cols(),
                .d_value_memory = value.cols(),
                .bias = bias};
    }
    Sequences cut(Index rows) const {
        std::vector<Index> offsets;
        for (Index n = 0; n <= sequences; ++n) offsets.push_back(n * rows);
        return attend::sequences(std::move(offsets));
    }
};

template <class Block>
void check_block(const Case& c, const Setting& s, Block& block, const Safetensors& file, Comparison& comparison) {
    const TensorNames names = torch_names(block);
    load_safetensors(file, block, names);

    MultiHeadTape<double> tape;
    RowMatrix<double> y, weights, dquery, dkey, dvalue;
    auto gradient = zero_gradient(block);
    block.forward(s.query, s.key, s.value, y,
                  {.tape = &tape, .weights = weights, .sequences = s.cut(s.queries), .key_sequences = s.cut(s.keys)});
    block.backward(tape, s.dout, dquery, dkey, dvalue, {.gradient = &gradient});
    comparison.check("out", y);
    comparison.check("dquery", dquery);
    comparison.check("dkey", dkey);
    comparison.check("dvalue", dvalue);
    check_gradients_as_file(gradient, names, names_in_case, comparison);

    if constexpr (requires { block.attention.extra_weights(heads(tape.q, s.heads), tape.lse); }) {
        RowMatrix<double> all(weights.rows(), c.out("weights").columns());
        all << weights, block.attention.extra_weights(heads(tape.q, s.heads), tape.lse);
        weights = all;
    } else {
        // The mean over heads without ever holding them all beside each other is a reduction.
        auto mean = mean_weights<double>();
        block.forward(s.query, s.key, s.value, y,
                      {.insight = mean, .sequences = s.cut(s.queries), .key_sequences = s.cut(s.keys)});
        if (c.integer("average") == 1) comparison.check("weights", mean.mean());
    }
    const RowMatrix<double> ordered = sequences_first(weights, s.heads, s.sequences);
    if (c.integer("average") == 0) return comparison.check("weights", ordered);
    RowMatrix<double> average = weights.topRows(s.query.rows());
    for (Index h = 1; h < s.heads; ++h) average += weights.middleRows(h * s.query.rows(), s.query.rows());
    comparison.check("weights", average / static_cast<double>(s.heads));
}

void check_case(const Case& c, const Safetensors& file) {
    INFO(c.name);
    const Setting s(c);
    Comparison comparison(c);
    const MultiHeadShape shape = s.shape(c.integer("bias") == 1);
    const auto attention =
        scaled_dot_product >> (torch_key_padding_mask(absent(c, "key_padding_mask", s.sequences, s.keys)) &
                               torch_attn_mask(absent(c, "attn_mask", s.queries, s.keys)));
    const bool bias_kv = c.integer("add_bias_kv") == 1, zero_attn = c.integer("add_zero_attn") == 1;
    if (bias_kv || zero_attn) {
        auto block = multi_head<double>(
            shape,
            torch_extra_keys<double>(attention, {.bias_kv = bias_kv ? s.query.cols() : 0, .zero_attn = zero_attn}));
        check_block(c, s, block, file, comparison);
    } else {
        auto block = multi_head<double>(shape, attention);
        check_block(c, s, block, file, comparison);
    }
    comparison.finish();
}

}  // namespace

TEST_CASE("PyTorch's multi-head attention, from its file: outputs, weights and gradients") {
    for_each_block_case("torch_multi_head_attention", 5, [](const Case& c, const std::filesystem::path& saved) {
        const std::string bytes = file_of_case(c, names_in_case);
        check_case(c, Safetensors(std::as_bytes(std::span(bytes))));
        if (std::filesystem::exists(saved)) check_case(c, Safetensors(saved));
    });
}

}  // namespace test_torch_multi_head
