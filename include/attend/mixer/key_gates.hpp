#pragma once
/// \file
/// Keys and what gates them, put into one operand and apart.

#include <string_view>

#include <attend/mixer/linear_attention.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// Columns of k, decay and β of one head, of `heads` of them side by side.
struct KeyParts {
    Index heads, d, decays, betas;

    KeyParts(const LinearAttention& mixer, Index heads_, Index width)
        : heads(heads_),
          d(heads_ > 0 ? width / heads_ : 0),
          decays(decay_columns(mixer, d)),
          betas(mixer.delta ? 1 : 0) {
        require(heads > 0 && width % heads == 0, "k has ", width, " columns, which ", heads, " heads do not divide");
    }
    Index all() const { return d + decays + betas; }
};

}  // namespace detail

/// The keys that linear attention takes: [k, decay, β] of each of `heads` heads, side by side. k is n × heads · d,
/// decay n × heads, or n × heads · d of `Decay::feature`, beta n × heads; what the mixer does not read must be empty.
/// Throws where shapes do not fit. O(n · heads · d), in copies.
template <detail::Dense K, detail::Dense D, detail::Dense B>
RowMatrix<typename K::Scalar> join_keys(const LinearAttention& mixer, const K& k, const D& decay, const B& beta,
                                        Index heads = 1) {
    using T = typename K::Scalar;
    const detail::KeyParts parts(mixer, heads, k.cols());
    const auto fits = [&](const auto& x, std::string_view name, Index columns) {
        const Index rows = columns > 0 ? k.rows() : 0;
        if (columns > 0 ? x.rows() != rows || x.cols() != heads * columns : x.size() != 0)
            detail::refuse("join_keys: ", detail::named(name, x.rows(), x.cols()), " must be ", rows, "x",
                           heads * columns, " to go with ", detail::named("k", k.rows(), k.cols()));
    };
    fits(decay, "decay", parts.decays), fits(beta, "beta", parts.betas);
    RowMatrix<T> joined(k.rows(), heads * parts.all());
    for (Index h = 0; h < heads; ++h) {
        auto to = joined.middleCols(h * parts.all(), parts.all());
        to.leftCols(parts.d) = k.middleCols(h * parts.d, parts.d);
        if (parts.decays > 0) to.middleCols(parts.d, parts.decays) = decay.middleCols(h * parts.decays, parts.decays);
        if (parts.betas > 0) to.rightCols(1) = beta.col(h);
    }
    return joined;
}

/// What `split_keys` gives.
template <class T>
struct SplitKeys {
    RowMatrix<T> k, decay, beta;  ///< shaped as `join_keys` takes them
};
/// The way back of `join_keys`, of keys or of their gradients: copies of their parts, for a width d_q of a head. Throws
/// where `joined` has not the columns of these.
template <detail::Dense K>
SplitKeys<typename K::Scalar> split_keys(const LinearAttention& mixer, const K& joined, Index d_q, Index heads = 1) {
    const detail::KeyParts parts(mixer, heads, heads * d_q);
    detail::require(joined.cols() == heads * parts.all(),
                    "split_keys: ", detail::named("keys", joined.rows(), joined.cols()), " must have ",
                    heads * parts.all(), " columns, of ", heads, " heads with ", d_q, " features");
    SplitKeys<typename K::Scalar> apart;
    apart.k.resize(joined.rows(), heads * parts.d), apart.decay.resize(joined.rows(), heads * parts.decays);
    apart.beta.resize(joined.rows(), heads * parts.betas);
    for (Index h = 0; h < heads; ++h) {
        const auto from = joined.middleCols(h * parts.all(), parts.all());
        apart.k.middleCols(h * parts.d, parts.d) = from.leftCols(parts.d);
        apart.decay.middleCols(h * parts.decays, parts.decays) = from.middleCols(parts.d, parts.decays);
        apart.beta.middleCols(h * parts.betas, parts.betas) = from.rightCols(parts.betas);
    }
    return apart;
}

}  // namespace attend
