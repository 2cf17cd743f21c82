// The first calls, as one program.
#include <cstdio>

#include <attend/attend.hpp>

using namespace attend;

int main() {
    const Eigen::MatrixXf q = Eigen::MatrixXf::Random(64, 32), k = Eigen::MatrixXf::Random(128, 32),
                          v = Eigen::MatrixXf::Random(128, 48);

    Eigen::MatrixXf out = scaled_dot_product(q, k, v);  // softmax(QKᵀ/√d) V
    std::printf("scaled_dot_product: %td x %td\n", out.rows(), out.cols());

    auto attention = scaled_dot_product >> alibi(0.125f) >> soft_cap(30.f) >> (causal & sliding_window(256));

    auto custom = scaled_dot_product >>
                  modifier([](auto s, auto p) { return s - 0.1f * tanh(decltype(s)(p.query - p.key)); }) >>
                  mask([](Position p) { return p.key % 2 == 0 || p.key == p.query; }) >> sparsemax;

    Workspace workspace;  // grows once, then no call allocates scratch
    Eigen::MatrixXf weights;
    Eigen::VectorXf lse;
    attention(q, k, v, out, {.workspace = &workspace, .lse = lse, .weights = weights, .query_offset = 64});
    std::printf("weights of query 0 (position 64) sum to %.6f\n", static_cast<double>(weights.row(0).sum()));

    auto entropy = row_entropy<float>();
    auto sums = column_sums<float>();  // how much each key is looked at
    auto top = top_keys<float>(5);
    auto largest = largest_score<float>();                                // what QK-clip needs
    attention(q, k, v, out, {.insight = {entropy, sums, top, largest}});  // entropy.values(): rows × heads
    std::printf("query 63: entropy %.3f, most at key %td; largest score %.3f; all column sums %.3f\n",
                static_cast<double>(entropy.values()(63, 0)), top.keys()(63, 0),
                static_cast<double>(largest.of_heads()[0]), static_cast<double>(sums.values().sum()));
    attention(q, k, v, out, {.workspace = &workspace, .lse = lse, .query_offset = 64});

    const Eigen::MatrixXf dout = 2 * out;  // of the loss |out|²
    Eigen::MatrixXf dq, dk, dv;            // empty: resized; otherwise added into
    auto gradient = zero_gradient(attention);
    attention.backward(q, k, v, out, lse, dout, dq, dk, dv,
                       {.workspace = &workspace, .gradient = &gradient, .query_offset = 64});
    visit_parameters(gradient, [](std::string_view name, auto& value) {
        std::printf("d%.*s = %g\n", static_cast<int>(name.size()), name.data(), static_cast<double>(value.sum()));
    });

    const Eigen::MatrixXf x = Eigen::MatrixXf::Random(10, 64);
    auto block = multi_head<float>({.d_model = 64, .heads = 8, .kv_heads = 2, .rope = Rope{}}, attention, 1);
    Eigen::MatrixXf y = block(x);  // self-attention; block(x, memory) crosses
    std::printf("multi-head block: %td x %td\n", y.rows(), y.cols());

    attention(heads(x, 8), heads(x, 8), heads(x, 8), y,
              {.sequences = sequences({0, 4, 10})});  // two texts, eight heads, no copy

    out = custom(q, k, v);
    out = dot_product(q, k, v);
    out = cosine(10.f)(q, k, v);
    out = RmsNormAttention<float>(32)(q, k, v);
    LocationDecoder decoder(coverage_attention<float>(32, 32, 16, 1), k, v);
    Eigen::MatrixXf step;
    for (Index i = 0; i < 3; ++i) decoder.step(q.row(i), step);
    out = GeneralAttention<float>(32, 32, 1)(q, k, v);
    out = AdditiveAttention<float>(32, 32, 16, 1)(q, k, v);
    std::printf("additive: %td x %td\n", out.rows(), out.cols());
    return std::fflush(stdout) == 0 ? 0 : 1;
}
