// Golden multi-head blocks with PyTorch's weights: output, weights of the heads, and every gradient in PyTorch's
// layout.

#include <attend/attend.hpp>
#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_multi_head {
namespace {

std::vector<Case> multi_head_cases() { return golden_cases_of("multi_head"); }

template <class T>
RowMatrix<T> matrix_or_empty(const Case& c, const std::string& name) {
    return c.has_in(name) ? c.in(name).matrix<T>() : RowMatrix<T>();
}

/// Calls `use(block)` with the block of the case.
template <class T, class Use>
void with_block(const Case& c, Use&& use) {
    const MultiHeadShape shape{
        .d_model = c.in("x").columns(), .heads = c.integer("heads"), .bias = c.has_in("in_proj_bias")};
    const auto load_and_use = [&](auto attention) {
        MultiHeadAttention<T, decltype(attention)> block(shape, attention);
        block.import_torch(c.in("in_proj_weight").matrix<T>(), matrix_or_empty<T>(c, "in_proj_bias"),
                           c.in("out_proj_weight").matrix<T>(), matrix_or_empty<T>(c, "out_proj_bias"));
        use(block);
    };
    if (c.integer("causal") == 1) {
        load_and_use(scaled_dot_product >> causal);
    } else {
        load_and_use(scaled_dot_product);
    }
}

/// The gradients of a block as PyTorch packs them: the inverse of `import_torch`.
template <class Block>
void check_parameters(const Block& gradient, const Case& c, Comparison& comparison) {
    const Index width = gradient.query_weight.cols();
    Eigen::MatrixXd din_weight(3 * width, gradient.shape().d_model);
    din_weight << gradient.query_weight.transpose(), gradient.key_weight.transpose(), gradient.value_weight.transpose();
    comparison.check("din_proj_weight", din_weight);
    comparison.check("dout_proj_weight", gradient.output_weight.transpose().eval());
    if (!c.has_in("in_proj_bias")) return;
    Eigen::VectorXd din_bias(3 * width);
    din_bias << gradient.query_bias, gradient.key_bias, gradient.value_bias;
    comparison.check("din_proj_bias", din_bias);
    comparison.check("dout_proj_bias", gradient.output_bias);
}

/// x Wᵀ + b with rows [first, first + width) of PyTorch's packed weight.
Eigen::MatrixXf project(const Case& c, const Eigen::MatrixXf& x, const std::string& name, Index first, Index width) {
    Eigen::MatrixXf y = x * c.in(name + "_weight").matrix<float>().middleRows(first, width).transpose();
    if (c.has_in(name + "_bias")) y.rowwise() += c.in(name + "_bias").matrix<float>().row(0).segment(first, width);
    return y;
}

/// The block as one writes it in Eigen, in float.
struct NaiveMultiHead {
    Eigen::MatrixXf out, weights;

    explicit NaiveMultiHead(const Case& c) {
        const RowMatrix<float> x = c.in("x").matrix<float>(),
                               memory = c.has_in("memory") ? c.in("memory").matrix<float>() : x;
        const Index d_model = x.cols(), heads = c.integer("heads"), d_head = d_model / heads;
        const Eigen::MatrixXf q = project(c, x, "in_proj", 0, d_model),
                              k = project(c, memory, "in_proj", d_model, d_model),
                              v = project(c, memory, "in_proj", 2 * d_model, d_model);
        weights.resize(heads * q.rows(), k.rows());
        Eigen::MatrixXf context(q.rows(), d_model);
        for (Index h = 0; h < heads; ++h) {
            Eigen::MatrixXf s = q.middleCols(h * d_head, d_head) * k.middleCols(h * d_head, d_head).transpose();
            s /= std::sqrt(static_cast<float>(d_head));
            for (Index i = 0; i < s.rows(); ++i) {
                const Index visible = c.integer("causal") == 1 ? i + 1 : s.cols();
                s.row(i).head(visible) = (s.row(i).head(visible).array() - s.row(i).head(visible).maxCoeff()).exp();
                s.row(i).head(visible) /= s.row(i).head(visible).sum();
                s.row(i).tail(s.cols() - visible).setZero();
            }
            weights.middleRows(h * s.rows(), s.rows()) = s;
            context.middleCols(h * d_head, d_head) = s * v.middleCols(h * d_head, d_head);
        }
        out = project(c, context, "out_proj", 0, d_model);
    }
};

}  // namespace

TEST_CASE("golden multi-head blocks in double: output, weights and every gradient") {
    const Case c = GENERATE(from_range(multi_head_cases()));
    Comparison comparison(c);
    with_block<double>(c, [&](auto& block) {
        const RowMatrix<double> x = c.in("x").matrix<double>(), dy = c.in("dout").matrix<double>();
        RowMatrix<double> y, again, weights, dx, dmemory;
        MultiHeadTape<double> tape;
        auto gradient = zero_gradient(block);
        if (c.has_in("memory")) {
            block.forward(x, c.in("memory").matrix<double>(), y, {.tape = &tape});
            block.forward(x, c.in("memory").matrix<double>(), again, {.weights = weights});
            block.backward(tape, dy, dx, dmemory, {.gradient = &gradient});
            comparison.check("dmemory", dmemory);
        } else {
            block.forward(x, y, {.tape = &tape});
            block.forward(x, again, {.weights = weights});
            block.backward(tape, dy, dx, {.gradient = &gradient});
        }
        comparison.check("out", y);
        comparison.check("out", again);
        if (c.outputs.count("weights") != 0) comparison.check("weights", weights);
        comparison.check("dx", dx);
        check_parameters(gradient, c, comparison);
    });
    comparison.finish();
}

TEST_CASE("golden multi-head blocks in float are as exact as plain float expressions") {
    const Case c = GENERATE(from_range(multi_head_cases()));
    Comparison comparison(c);
    const NaiveMultiHead naive(c);
    with_block<float>(c, [&](auto& block) {
        RowMatrix<float> y, again, weights;
        if (c.has_in("memory")) {
            block.forward(c.in("x").matrix<float>(), c.in("memory").matrix<float>(), y);
            block.forward(c.in("x").matrix<float>(), c.in("memory").matrix<float>(), again, {.weights = weights});
        } else {
            block.forward(c.in("x").matrix<float>(), y);
            block.forward(c.in("x").matrix<float>(), again, {.weights = weights});
        }
        comparison.check_float("out", y, comparison.error("out", naive.out));
        comparison.check_float("out", again, comparison.error("out", naive.out));
        if (c.outputs.count("weights") != 0)
            comparison.check_float("weights", weights, comparison.error("weights", naive.weights));
    });
}

}  // namespace test_multi_head
