// A whole multi-head block, projections and biases included: self-attention over n tokens.

#include <vector>

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

using Block = MultiHeadAttention<float>;

/// `n` tokens of width `d`.
struct Size {
    Index d, heads, n;

    std::string name(const std::string& what, const std::string& type = "f32") const {
        return what + "/" + type + "/d" + std::to_string(d) + "_h" + std::to_string(heads) + "_n" + std::to_string(n) +
               "/t1";
    }
    Block block() const { return Block({.d_model = d, .heads = heads}, {}, 1); }
    RowMatrix<float> input() const {
        Random random(2);
        return random_matrix<RowMatrix<float>>(n, d, random);
    }
};

template <class T>
Matrix<T> naive(const Block& block, const RowMatrix<T>& x, const Rows& rows) {
    const auto linear = [](const auto& in, const auto& weight, const auto& bias) {
        Matrix<T> out = in * weight.template cast<T>();
        out.rowwise() += bias.template cast<T>().transpose();
        return out;
    };
    const Matrix<T> q = linear(x, block.query_weight, block.query_bias),
                    k = linear(x, block.key_weight, block.key_bias),
                    v = linear(x, block.value_weight, block.value_bias);
    const Index heads = block.shape().heads, d_head = block.shape().d_head;
    Matrix<T> context(x.rows(), heads * d_head);
    for (Index h = 0; h < heads; ++h) {
        const auto of_head = [=](const Matrix<T>& all) { return all.middleCols(h * d_head, d_head); };
        context.middleCols(h * d_head, d_head) =
            naive_attention(of_head(q), of_head(k), of_head(v), rows, scaled_dot_scores);
    }
    return linear(context, block.output_weight, block.output_bias);
}

void add(const Size& size) {
    const Rows rows = all_rows(size.n);
    add_benchmark(size.name("block"), [=](benchmark::State& state) {
        const Block block = size.block();
        const RowMatrix<float> x = size.input();
        RowMatrix<float> y;
        Block::Tape tape;
        Workspace workspace;
        const auto packed = block.pack();
        const auto run = [&] { block.forward(x, y, {.workspace = &workspace, .tape = &tape, .packed = &packed}); };
        run();
        const Matrix<double> exact = naive<double>(block, x.cast<double>(), rows);
        if (holds(state, share_of_allowed_error<float>(y, naive<float>(block, x, rows), exact))) timed(state, run);
    });
    add_benchmark(size.name("naive/block"), [=](benchmark::State& state) {
        const Block block = size.block();
        const RowMatrix<float> x = size.input();
        timed(state, [&] { benchmark::DoNotOptimize(naive<float>(block, x, rows).data()); });
    });
}

/// The gradient of x: that of a block in double, to the rounding of sums over d_model.
double share_of_allowed_gradient_error(const Block& block, const RowMatrix<float>& x, const RowMatrix<float>& dy,
                                       const RowMatrix<float>& dx) {
    using Exact = MultiHeadAttention<double>;
    Exact exact(block.shape());
    std::vector<Eigen::VectorXd> values;
    visit_parameters(block, [&](std::string_view, const auto& value) {
        values.push_back(value.reshaped().template cast<double>());
    });
    std::size_t next = 0;
    visit_parameters(exact, [&](std::string_view, auto& value) { value.reshaped() = values[next++]; });
    Exact::Tape tape;
    RowMatrix<double> y, exact_dx;
    exact.forward(x.cast<double>(), y, {.tape = &tape});
    exact.backward(tape, dy.cast<double>(), exact_dx);
    const double allowed = rounding<float> * static_cast<double>(x.cols()) * exact_dx.cwiseAbs().maxCoeff();
    return (dx.cast<double>() - exact_dx).cwiseAbs().maxCoeff<Eigen::PropagateNaN>() / allowed;
}

/// Forward and backward, with the gradients of all weights.
void add_training(const Size& size) {
    add_benchmark(size.name("block_train"), [=](benchmark::State& state) {
        const Block block = size.block();
        Block gradient = zero_gradient(block);
        const RowMatrix<float> x = size.input(), dy = size.input();
        RowMatrix<float> y, dx;
        Block::Tape tape;
        Workspace workspace;
        const auto step = [&] {
            block.forward(x, y, {.workspace = &workspace, .tape = &tape});
            dx.setZero();
            block.backward(tape, dy, dx, {.workspace = &workspace, .gradient = &gradient});
        };
        step();
        if (holds(state, share_of_allowed_gradient_error(block, x, dy, dx))) timed(state, step);
    });
}

/// A block with more than projections and an attention: `times_plain` is over one without.
void add_with(const std::string& what, MultiHeadShape shape, Index n) {
    const Size size{shape.d_model, shape.heads, n};
    add_benchmark(size.name("block_" + what), [=](benchmark::State& state) {
        const Block block(shape, {}, 1), plain = size.block();
        const RowMatrix<float> x = size.input();
        RowMatrix<float> y;
        Block::Tape tape;
        Workspace workspace;
        const auto call = [&](const Block& of) { of.forward(x, y, {.workspace = &workspace, .tape = &tape}); };
        timed(state, [&] { call(block); });
        state.counters["times_plain"] = times_as_long([&] { call(block); }, [&] { call(plain); });
    });
}

/// A block of bfloat16, forward and its training step with gradients in float: `times_float` is over one of floats.
void add_of_16_bits(const Size& size) {
    using X = Eigen::bfloat16;
    struct Both {
        Block wide, gradient = zero_gradient(wide);
        MultiHeadAttention<X> narrow{wide.shape()};
        RowMatrix<float> x, y, dx;
        RowMatrix<X> narrow_x = x.cast<X>(), narrow_y, narrow_dx;
        Block::Tape tape;
        MultiHeadAttention<X>::Tape narrow_tape;
        Workspace workspace;

        explicit Both(const Size& size_) : wide(size_.block()), x(size_.input()) {
            assign_parameters(narrow, wide);
            assign_parameters(wide, narrow);  // of the same numbers
            x = narrow_x.cast<float>();
        }
        void forward() { narrow.forward(narrow_x, narrow_y, {.workspace = &workspace, .tape = &narrow_tape}); }
        void forward_wide() { wide.forward(x, y, {.workspace = &workspace, .tape = &tape}); }
        void backward() {
            narrow_dx.setZero();
            narrow.backward(narrow_tape, narrow_x, narrow_dx, {.workspace = &workspace, .gradient = &gradient});
        }
        void backward_wide() {
            dx.setZero();
            wide.backward(tape, x, dx, {.workspace = &workspace, .gradient = &gradient});
        }
        /// What stands between projections and attention is rounded too.
        static double share_of_allowed(const RowMatrix<X>& found, const RowMatrix<float>& right) {
            return (found.cast<float>() - right).norm() / (4 * rounding<X> * static_cast<double>(right.norm()));
        }
    };
    const auto pair = [=](const std::string& what, auto narrow, auto wide, auto share) {
        add_benchmark(size.name(what, "bf16"), [=](benchmark::State& state) {
            Both both(size);
            narrow(both), wide(both);
            if (!holds(state, share(both))) return;
            timed(state, [&] { narrow(both); });
            state.counters["times_float"] = times_as_long([&] { narrow(both); }, [&] { wide(both); });
        });
    };
    pair(
        "block", [](Both& both) { both.forward(); }, [](Both& both) { both.forward_wide(); },
        [](const Both& both) { return Both::share_of_allowed(both.narrow_y, both.y); });
    pair(
        "block_train", [](Both& both) { both.forward(), both.backward(); },
        [](Both& both) { both.forward_wide(), both.backward_wide(); },
        [](const Both& both) { return Both::share_of_allowed(both.narrow_dx, both.dx); });
}

const bool added = [] {
    for (const Index n : {32, 128, 512}) add({512, 8, n});
    add({768, 12, 197});
    for (const Index n : {32, 512}) {
        add_with("qk_norm", {.d_model = 512, .heads = 8, .qk_norm = RmsNorm{}}, n);
        add_with("gate", {.d_model = 512, .heads = 8, .gate = OutputGate::elementwise}, n);
        add_with("gate_by_head", {.d_model = 512, .heads = 8, .gate = OutputGate::headwise}, n);
        add_with("rope", {.d_model = 512, .heads = 8, .rope = Rope{}}, n);
    }
    add_training({512, 8, 128});
    add_training({512, 8, 512});
    for (const Index n : {128, 512}) add_of_16_bits({512, 8, n});
    return true;
}();

}  // namespace
}  // namespace attend::bench
