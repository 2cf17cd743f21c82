#pragma once

#include "../support/layers.hpp"

#include <attend/attend.hpp>
#include <attend/interchange/safetensors.hpp>
#include <attend/interchange/torch_names.hpp>

/// The encoder layer of Vaswani et al. 2017 around attend's multi-head block, and a small model around the layer. All
/// parameters bear PyTorch's names.
namespace encoder_layer {

using Eigen::Index;
using support::Rows, support::RowVector;

struct Shape {
    Index d_model = 16;
    Index heads = 2;
    Index hidden = 32;              ///< width of the feed-forward part
    bool norm_first = false;        ///< as most do since GPT-2 (Xiong et al. 2020); otherwise as in the paper
    bool gelu = false;              ///< x Φ(x) (Hendrycks and Gimpel 2016); otherwise max(x, 0)
    Index words = 19, places = 14;  ///< of the model around the layer
};

/// Each row with mean 0 and variance 1, times a weight, and a bias (Ba et al. 2016).
template <class T>
struct LayerNorm {
    explicit LayerNorm(Index width) : weight(RowVector<T>::Ones(width)), bias(RowVector<T>::Zero(width)) {}

    Rows<T> operator()(const Rows<T>& x) const {
        const Rows<T> centred = x.colwise() - x.rowwise().mean();
        const auto variance = centred.rowwise().squaredNorm().array() / static_cast<T>(x.cols());
        const auto unit = centred.array().colwise() * (variance + T(1e-5)).rsqrt();
        return (unit.rowwise() * weight.array()).rowwise() + bias.array();
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("weight", self.weight);
        visit("bias", self.bias);
    }

    RowVector<T> weight, bias;
};

/// `nn.TransformerEncoderLayer(d_model, heads, hidden, dropout=0, activation=…, norm_first=…)`.
template <class T>
struct EncoderLayer {
    EncoderLayer(const Shape& shape_, support::Random& random)
        : shape(shape_),
          self_attn({.d_model = shape.d_model, .heads = shape.heads}, attend::scaled_dot_product, random.bits()),
          linear1(shape.d_model, shape.hidden, random),
          linear2(shape.hidden, shape.d_model, random),
          norm1(shape.d_model),
          norm2(shape.d_model) {}

    /// `weights`, where given, gets those of the heads, below each other.
    Rows<T> operator()(const Rows<T>& x, attend::Output<T> weights = {}) const {
        const auto attended = [&](const Rows<T>& from) {
            Rows<T> y(from.rows(), from.cols());
            self_attn.forward(from, y, {.weights = weights});
            return y;
        };
        const auto fed_forward = [&](const Rows<T>& from) { return linear2(activated(linear1(from))); };
        if (shape.norm_first) {
            const Rows<T> y = x + attended(norm1(x));
            return y + fed_forward(norm2(y));
        }
        const Rows<T> y = norm1(x + attended(x));
        return norm2(y + fed_forward(y));
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("self_attn", self.self_attn);
        visit("linear1", self.linear1);
        visit("linear2", self.linear2);
        visit("norm1", self.norm1);
        visit("norm2", self.norm2);
    }

    Shape shape;
    attend::MultiHeadAttention<T, attend::ScaledDotProductAttention> self_attn;
    support::Linear<T> linear1, linear2;
    LayerNorm<T> norm1, norm2;

private:
    Rows<T> activated(const Rows<T>& h) const {
        if (!shape.gelu) return h.cwiseMax(T(0));
        return h.unaryExpr([](T z) { return T(0.5) * z * (T(1) + std::erf(z / std::sqrt(T(2)))); });
    }
};

/// Words and their places, embedded; the layer; and how likely each word is where one is missing.
template <class T>
struct Encoder {
    explicit Encoder(const Shape& shape, support::Random random = support::Random(1))
        : word(Rows<T>::Zero(shape.words, shape.d_model)),
          place(Rows<T>::Zero(shape.places, shape.d_model)),
          layer(shape, random),
          readout(shape.d_model, shape.words, random) {}

    Rows<T> embedded(const std::vector<Index>& text) const {
        Rows<T> x = place.topRows(static_cast<Index>(text.size()));
        for (Index i = 0; i < x.rows(); ++i) x.row(i) += word.row(text[static_cast<std::size_t>(i)]);
        return x;
    }

    template <class Self, class Visit>
    static void parameters(Self& self, Visit&& visit) {
        visit("word.weight", self.word);
        visit("place.weight", self.place);
        visit("layer", self.layer);
        visit("readout", self.readout);
    }

    Rows<T> word, place;
    EncoderLayer<T> layer;
    support::Linear<T> readout;
};

/// Where a file of PyTorch's holds the parameters of an encoder. `torch_names` knows the attention's; PyTorch keeps the
/// weights of its linear maps out × in.
template <class T>
attend::TensorNames names_in_torch(const Encoder<T>& encoder, std::string prefix) {
    const std::string attention = "layer.self_attn.";
    const auto place = [attention, of_attention = attend::torch_names(encoder.layer.self_attn, attention)](
                           std::string_view own) -> attend::TensorPlace {
        if (own.starts_with(attention)) return of_attention.of(own.substr(attention.size()));
        const bool linear = own.starts_with("layer.linear") || own.starts_with("readout");
        return {.name = std::string(own), .transposed = linear && own.ends_with("weight")};
    };
    return {.prefix = std::move(prefix), .place = place, .ignored = {"output"}};
}

}  // namespace encoder_layer
