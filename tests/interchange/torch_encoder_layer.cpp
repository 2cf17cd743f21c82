// PyTorch's nn.TransformerEncoderLayer, before and after the norm, around our block: output, and the gradients of the
// input and of every parameter. What stands around the attention is plain Eigen.

#include <cmath>
#include <filesystem>

#include <attend/attend.hpp>
#include <attend/interchange/torch_names.hpp>
#include <interchange/file_of_case.hpp>
#include <support/block_cases.hpp>

using namespace attend;
using namespace attend::test;

namespace test_torch_encoder_layer {
namespace {

using Matrix = RowMatrix<double>;
using Vector = ColumnVector<double>;

struct Norm {
    Vector weight, bias;
    Matrix normal{};  ///< of the latest call
    Vector inverse_deviation{};

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight), visit("bias", self.bias); }

    Matrix operator()(const Matrix& x) {
        constexpr double epsilon = 1e-5;
        normal = x.colwise() - x.rowwise().mean();
        inverse_deviation = (normal.rowwise().squaredNorm() / static_cast<double>(x.cols())).array() + epsilon;
        inverse_deviation = inverse_deviation.array().rsqrt().matrix().eval();
        normal = inverse_deviation.asDiagonal() * normal;
        return (normal * weight.asDiagonal()).rowwise() + bias.transpose();
    }
    Matrix backward(const Matrix& dy, Norm& gradient) const {
        gradient.weight += dy.cwiseProduct(normal).colwise().sum().transpose();
        gradient.bias += dy.colwise().sum().transpose();
        Matrix dnormal = dy * weight.asDiagonal();
        const Vector mean = dnormal.rowwise().mean(), along = dnormal.cwiseProduct(normal).rowwise().mean();
        dnormal.colwise() -= mean;
        dnormal -= along.asDiagonal() * normal;
        return inverse_deviation.asDiagonal() * dnormal;
    }
};

/// y = x Wᵀ + b
struct Linear {
    Matrix weight;
    Vector bias;
    Matrix input{};

    static void parameters(auto& self, auto&& visit) { visit("weight", self.weight), visit("bias", self.bias); }

    Matrix operator()(const Matrix& x) {
        input = x;
        return (x * weight.transpose()).rowwise() + bias.transpose();
    }
    Matrix backward(const Matrix& dy, Linear& gradient) const {
        gradient.weight += dy.transpose() * input;
        gradient.bias += dy.colwise().sum().transpose();
        return dy * weight;
    }
};

struct Activation {
    bool gelu;
    Matrix input{};

    Matrix operator()(const Matrix& x) {
        input = x;
        return x.unaryExpr([this](double v) { return gelu ? v * normal_distribution(v) : std::max(v, 0.0); });
    }
    Matrix backward(const Matrix& dy) const {
        const auto derivative = [this](double v) {
            constexpr double pi = 3.14159265358979323846;
            if (!gelu) return v > 0 ? 1.0 : 0.0;
            return normal_distribution(v) + v * std::exp(-v * v / 2) / std::sqrt(2 * pi);
        };
        return dy.cwiseProduct(input.unaryExpr(derivative));
    }
    static double normal_distribution(double v) { return 0.5 * (1 + std::erf(v / std::sqrt(2.0))); }
};

/// PyTorch calls the attention self_attn: the names of its parameters are those of `torch_names`.
template <class Block>
struct EncoderLayer {
    Block attention;
    Linear linear1, linear2;
    Norm norm1, norm2;
    bool norm_first;
    Activation activation;
    MultiHeadTape<double> tape{};

    static void parameters(auto& self, auto&& visit) {
        visit("linear1", self.linear1), visit("linear2", self.linear2);
        visit("norm1", self.norm1), visit("norm2", self.norm2);
    }

    Matrix attend(const Matrix& x, const Sequences& sequences) {
        Matrix y;
        attention.forward(x, y, {.tape = &tape, .sequences = sequences});
        return y;
    }
    Matrix feed_forward(const Matrix& x) { return linear2(activation(linear1(x))); }
    Matrix operator()(const Matrix& x, const Sequences& sequences) {
        if (norm_first) {
            const Matrix between = x + attend(norm1(x), sequences);
            return between + feed_forward(norm2(between));
        }
        const Matrix between = norm1(x + attend(x, sequences));
        return norm2(between + feed_forward(between));
    }

    Matrix attend_backward(const Matrix& dy, EncoderLayer& gradient) {
        Matrix dx;
        attention.backward(tape, dy, dx, {.gradient = &gradient.attention});
        return dx;
    }
    Matrix feed_forward_backward(const Matrix& dy, EncoderLayer& gradient) const {
        return linear1.backward(activation.backward(linear2.backward(dy, gradient.linear2)), gradient.linear1);
    }
    Matrix backward(const Matrix& dy, EncoderLayer& gradient) {
        if (norm_first) {
            const Matrix dbetween = dy + norm2.backward(feed_forward_backward(dy, gradient), gradient.norm2);
            return dbetween + norm1.backward(attend_backward(dbetween, gradient), gradient.norm1);
        }
        const Matrix dsum = norm2.backward(dy, gradient.norm2);
        const Matrix dbetween = norm1.backward(dsum + feed_forward_backward(dsum, gradient), gradient.norm1);
        return dbetween + attend_backward(dbetween, gradient);
    }
};

CaseNames names_in_case(const std::string& prefix, const std::vector<std::string>& names) {
    CaseNames in_case;
    for (const std::string& name : names) {
        std::string own = prefix + name;
        std::replace(own.begin(), own.end(), '.', '_');
        in_case[prefix + name] = own;
    }
    return in_case;
}

template <class Attention>
void check_layer(const Case& c, const Attention& attention, const Safetensors& file) {
    INFO(c.name);
    const CaseNames attention_names = names_in_case(
                        "self_attn.", {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}),
                    other_names = names_in_case("", {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
                                                     "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"});
    const Index sequences = c.in("x").shape[0], rows = c.in("x").shape[1], width = c.in("x").shape[2],
                hidden = c.in("linear1_weight").shape[0];
    auto block = multi_head<double>({.d_model = width, .heads = c.integer("heads")}, attention);
    EncoderLayer<decltype(block)> layer{.attention = block,
                                        .linear1 = {Matrix(hidden, width), Vector(hidden)},
                                        .linear2 = {Matrix(width, hidden), Vector(width)},
                                        .norm1 = {Vector(width), Vector(width)},
                                        .norm2 = {Vector(width), Vector(width)},
                                        .norm_first = c.integer("norm_first") == 1,
                                        .activation = {c.attributes.at("activation") == "gelu"}};
    const TensorNames names = torch_names(layer.attention, "self_attn.");
    load_safetensors(file, layer.attention, names);
    TensorNames others;
    for (const auto& [name, in_case] : attention_names) others.ignored.push_back(name);
    load_safetensors(file, layer, others);

    std::vector<Index> offsets;
    for (Index n = 0; n <= sequences; ++n) offsets.push_back(n * rows);
    Comparison comparison(c);
    comparison.check("out", layer(c.in("x").matrix<double>(), attend::sequences(offsets)));
    auto gradient = layer;
    gradient.attention = zero_gradient(layer.attention);
    visit_parameters(gradient, [](std::string_view, auto& parameter) { parameter.setZero(); });
    comparison.check("dx", layer.backward(c.in("dout").matrix<double>(), gradient));
    check_gradients_as_file(gradient.attention, names, attention_names, comparison);
    check_gradients_as_file(gradient, {}, other_names, comparison);
    comparison.finish();
}

void check_case(const Case& c, const Safetensors& file) {
    if (c.integer("causal") == 1) {
        check_layer(c, scaled_dot_product >> causal, file);
    } else {
        check_layer(c, scaled_dot_product, file);
    }
}

}  // namespace

TEST_CASE("PyTorch's encoder layer around our block, from its file: output and gradients") {
    for_each_block_case("torch_transformer_encoder_layer", 2, [](const Case& c, const std::filesystem::path& saved) {
        CaseNames names = names_in_case("", {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
                                             "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"});
        names.merge(
            names_in_case("self_attn.", {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}));
        const std::string bytes = file_of_case(c, names);
        check_case(c, Safetensors(std::as_bytes(std::span(bytes))));
        if (std::filesystem::exists(saved)) check_case(c, Safetensors(saved));
    });
}

}  // namespace test_torch_encoder_layer
