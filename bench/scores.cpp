// Scores other than the dot product, on 512 queries and keys of width 64; `times_plain` is over the scaled dot product.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

constexpr Index n = 512, d = 64, hidden = 64;

template <class Attention, class Scores>
void add(const std::string& name, const Attention& attention, const Scores& scores) {
    const auto make = [] { return Operands<float>({.queries = n, .keys = n, .d_q = d, .d_k = d, .d_v = d}); };
    add_pair("score", name, make, attention, scores, report_times_plain(attention));
}

void add_additive() {
    const AdditiveAttention<float> attention(d, d, hidden, 1);
    add("additive", attention, [attention](const auto& q, const auto& k, const Rows&) {
        using T = typename std::decay_t<decltype(q)>::Scalar;
        RowMatrix<T> projected_q = q * attention.query_weight.template cast<T>();
        projected_q.rowwise() += attention.bias.template cast<T>().transpose();
        const RowMatrix<T> projected_k = k * attention.key_weight.template cast<T>();
        const Eigen::Array<T, 1, Eigen::Dynamic> weight = attention.score_weight.template cast<T>().transpose();
        Matrix<T> s(q.rows(), k.rows());
        for (Index j = 0; j < s.cols(); ++j) {
            for (Index i = 0; i < s.rows(); ++i) {
                s(i, j) = ((projected_q.row(i) + projected_k.row(j)).array().tanh() * weight).sum();
            }
        }
        return s;
    });
}

void add_general() {
    const GeneralAttention<float> attention(d, d, 1);
    add("general", attention, [attention](const auto& q, const auto& k, const Rows&) {
        using T = typename std::decay_t<decltype(q)>::Scalar;
        return Matrix<T>(q * attention.weight.template cast<T>() * k.transpose());
    });
}

void add_cosine() {
    add("cosine", cosine(10), [](const auto& q, const auto& k, const Rows&) {
        using T = typename std::decay_t<decltype(q)>::Scalar;
        return Matrix<T>(T(10) * q.rowwise().normalized() * k.rowwise().normalized().transpose());
    });
}

void add_rms_norm() {
    add("rms_norm", RmsNormAttention<float>(d), [](const auto& q, const auto& k, const Rows&) {
        using T = typename std::decay_t<decltype(q)>::Scalar;
        const auto normed = [](const auto& x) {
            const auto squares = (x.array().square().rowwise().mean() + T(1e-6)).rsqrt().matrix().eval();
            return Matrix<T>(squares.asDiagonal() * x);
        };
        return Matrix<T>(normed(q) * normed(k).transpose() / std::sqrt(T(d)));
    });
}

const bool added = [] {
    add_additive();
    add_general();
    add_cosine();
    add_rms_norm();
    return true;
}();

}  // namespace
}  // namespace attend::bench
