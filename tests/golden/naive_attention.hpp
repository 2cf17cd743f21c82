#pragma once
/// \file
/// Attention as one writes it in Eigen without this library: whole matrices of scores, in float. What law 10 measures
/// against.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <support/conformance.hpp>

namespace attend::test {

struct NaiveAttention {
    Eigen::MatrixXf out, weights;
    Eigen::VectorXf lse;

    explicit NaiveAttention(const Case& c) {
        scores(c);
        modify(c);
        mask(c);
        normalize(c);
        out = weights * c.in("v").matrix<float>();
    }

private:
    static constexpr float infinity = std::numeric_limits<float>::infinity();

    void scores(const Case& c) {
        Eigen::MatrixXf q = c.in("q").matrix<float>(), k = c.in("k").matrix<float>();
        if (c.op == "additive") {
            const Eigen::RowVectorXf b = c.in("b").matrix<float>(), v = c.in("vscore").matrix<float>();
            q = (q * c.in("wq").matrix<float>()).rowwise() + b;
            k = k * c.in("wk").matrix<float>();
            s_.resize(q.rows(), k.rows());
            for (Index j = 0; j < k.rows(); ++j)
                s_.col(j) = (q.rowwise() + k.row(j)).array().tanh().matrix() * v.transpose();
            return;
        }
        if (c.op == "cosine") {
            q = static_cast<float>(c.number("scale")) * q.rowwise().normalized();
            k.rowwise().normalize();
        }
        if (c.op == "general") q *= c.in("w").matrix<float>();
        s_ = q * k.transpose();
        if (c.op == "scaled_dot_product") s_ /= std::sqrt(static_cast<float>(q.cols()));
    }

    void modify(const Case& c) {
        if (c.attributes.count("soft_cap") != 0) {
            const float cap = static_cast<float>(c.number("soft_cap"));
            s_ = cap * (s_ / cap).array().tanh();
        }
        if (c.attributes.count("alibi_slope") != 0) {
            const float slope = static_cast<float>(c.number("alibi_slope"));
            for_each_pair([&](Index i, Index j) { s_(i, j) -= slope * static_cast<float>(i - j); });
        }
        if (c.has_in("bias")) s_ += c.in("bias").matrix<float>();
    }

    void mask(const Case& c) {
        const bool is_causal = c.integer("causal", 0) == 1;
        const Index offset = c.integer("query_offset", 0);
        const Index window = c.integer("window_left_exclusive", std::numeric_limits<Index>::max());
        const RowMatrix<bool> keep = c.has_in("keep") ? c.in("keep").matrix<bool>() : RowMatrix<bool>();
        for_each_pair([&](Index i, Index j) {
            const Index ahead = offset + i - j;
            const bool kept = (!is_causal || ahead >= 0) && ahead < window && (keep.size() == 0 || keep(i, j));
            if (!kept) s_(i, j) = -infinity;
        });
    }

    void normalize(const Case& c) {
        if (c.attributes.count("sigmoid_bias") != 0) {
            weights = (1 + (-s_.array() - static_cast<float>(c.number("sigmoid_bias"))).exp()).inverse();
        } else if (c.attributes.count("normalizer") != 0) {
            sparsemax_rows();
        } else {
            if (c.attributes.count("top_k") != 0) keep_largest(c.integer("top_k"));
            softmax_rows(c.has_in("sink") ? c.in("sink").matrix<float>()(0, 0) : -infinity);
        }
    }

    void softmax_rows(float sink) {
        weights.setZero(s_.rows(), s_.cols());
        lse.setConstant(s_.rows(), -infinity);
        for (Index i = 0; i < s_.rows(); ++i) {
            const float most = std::max(s_.row(i).maxCoeff(), sink);
            if (most == -infinity) continue;
            weights.row(i) = (s_.row(i).array() - most).exp();
            const float sum = weights.row(i).sum() + std::exp(sink - most);
            weights.row(i) /= sum;
            lse[i] = most + std::log(sum);
        }
    }

    void keep_largest(Index count) {
        for (Index i = 0; i < s_.rows(); ++i) {
            std::vector<float> sorted(s_.row(i).begin(), s_.row(i).end());
            std::sort(sorted.begin(), sorted.end(), std::greater<>());
            if (count >= s_.cols()) continue;
            const float least = sorted[static_cast<std::size_t>(count - 1)];
            s_.row(i) = (s_.row(i).array() < least).select(-infinity, s_.row(i));
        }
    }

    /// τ from the sorted scores: the largest prefix whose least entry still lies above it.
    void sparsemax_rows() {
        weights.resize(s_.rows(), s_.cols());
        for (Index i = 0; i < s_.rows(); ++i) {
            std::vector<float> sorted(s_.row(i).begin(), s_.row(i).end());
            std::sort(sorted.begin(), sorted.end(), std::greater<>());
            float sum = 0, count = 0, tau = 0;
            for (const float s : sorted) {
                if (1 + (count + 1) * s <= sum + s) break;
                sum += s, count += 1;
                tau = (sum - 1) / count;
            }
            weights.row(i) = (s_.row(i).array() - tau).max(0.f);
        }
    }

    template <class F>
    void for_each_pair(F&& f) {
        for (Index i = 0; i < s_.rows(); ++i) {
            for (Index j = 0; j < s_.cols(); ++j) f(i, j);
        }
    }

    Eigen::MatrixXf s_;
};

}  // namespace attend::test
