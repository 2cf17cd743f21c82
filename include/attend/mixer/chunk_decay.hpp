#pragma once
/// \file
/// How a state's features decay within a chunk of tokens. All is made of products of the tokens' factors, never of
/// quotients or of exponents' differences: factors of 0 and such that underflow are like any other.

#include <algorithm>

#include <attend/mixer/chunk_matrix.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Factors a_l by token and feature, 0 ≤ a_l where a state shall not grow. Pairs i ≥ j decay by D_ij = Π_{j < l ≤ i}
/// a_l. Scores of decayed pairs, Σ_c x_ic k_jc D_ijc, are one product where all features decay alike. Where each has
/// its own, blocks of 16 tokens are one after the other pairs of a block's own, feature by feature, and a product with
/// all keys before, whose decay is cut at the beginning of the block (Yang et al. 2024).
template <class C>
class ChunkDecay {
public:
    using Matrix = ChunkMatrix<C>;

    Matrix factor;  ///< a, to be filled before `prepare`
    Matrix since;   ///< row i: the product of the first i factors, of one row more than there are tokens
    Matrix until;   ///< row j: that of the factors behind token j
    Matrix log_gradient;

    ChunkDecay(Arena& arena, Index keys, Index width, bool by_feature, bool backward)
        : factor(Matrix::in(arena, keys, width)),
          since(Matrix::in(arena, keys + 1, width)),
          until(Matrix::in(arena, keys, width)),
          log_gradient(Matrix::in(arena, backward ? keys : 0, width)),
          at_(Matrix::in(arena, backward ? keys : 0, width)),
          behind_(Matrix::in(arena, backward ? keys : 0, width)),
          pairs_(Matrix::in(arena, by_feature ? 0 : keys, keys)),
          cut_(Matrix::in(arena, by_feature ? keys : 0, width)),
          keys_(Matrix::in(arena, by_feature ? keys : 0, width)),
          keys_gradient_(Matrix::in(arena, by_feature && backward ? keys : 0, width)),
          keys_transposed_(Matrix::in(arena, by_feature ? width : 0, keys)),
          rows_(Matrix::in(arena, by_feature ? block : 0, width)),
          rows_gradient_(Matrix::in(arena, by_feature ? block : 0, width)),
          running_(Matrix::in(arena, by_feature ? block : 0, width)),
          sums_(arena.take<C>(simd::padded<C>(std::max(keys, width)))),
          by_feature_(by_feature) {}

    void prepare() {
        const Index n = factor.rows;
        since.row(0).setOnes();
        for (Index i = 0; i < n; ++i) since.row(i + 1) = since.row(i) * factor.row(i);
        if (n > 0) until.row(n - 1).setOnes();
        for (Index j = n - 1; j-- > 0;) until.row(j) = until.row(j + 1) * factor.row(j + 1);
        for (Index i = 0; i < pairs_.rows; ++i) {
            if (i > 0) pairs_.row(i).head(i) = pairs_.row(i - 1).head(i) * factor(i, 0);
            pairs_(i, i) = 1;
        }
        for (const Matrix* sum : {&log_gradient, &at_, &behind_}) sum->all().setZero();
    }

    /// s(r, j), where row r of x stands at token first + r: of the keys before it, and with `own` its own; else 0.
    void scores(const Matrix& x, Index first, const Matrix& k, const Matrix& k_transposed, bool own,
                const Matrix& s) const {
        if (by_feature_) return scores_by_feature(x, first, k, own, s);
        chunk_product(s, x.plain(), x.columns, k_transposed);
        for (Index r = 0; r < x.rows; ++r) {
            const Index at = first + r, sees = own ? at + 1 : at;
            s.row(r).head(sees) *= pairs_.row(at).head(sees);
            s.row(r).tail(s.lanes - sees).setZero();
        }
    }
    /// From ds, which is overwritten, of the scores s: adds to dx, to dk and to the factors' gradients.
    void scores_backward(const Matrix& ds, const Matrix& s, const Matrix& x, Index first, const Matrix& k, bool own,
                         const Matrix& dx, const Matrix& dk, const C* ones) {
        for (Index r = 0; r < ds.rows; ++r) {
            const Index sees = own ? first + r + 1 : first + r;
            ds.row(r).tail(ds.lanes - sees).setZero();
        }
        if (by_feature_) return scores_backward_by_feature(ds, x, first, k, own, dx, dk);
        // Factor l stands in the scores of all pairs j < l <= i.
        Eigen::Map<Eigen::Array<C, 1, Eigen::Dynamic>> sums(sums_, s.lanes);
        sums.setZero();
        Index l = first + ds.rows - 1;
        for (Index r = ds.rows - 1; r >= 0; --r, --l) {
            sums.head(l) += ds.row(r).head(l) * s.row(r).head(l);
            log_gradient(l, 0) += sums.head(l).sum();
            ds.row(r).head(l + 1) *= pairs_.row(l).head(l + 1);
        }
        for (; l > 0; --l) log_gradient(l, 0) += sums.head(l).sum();
        chunk_product(dx, ds.plain(), k.rows, k, ones);
        chunk_product(dk, ds.transposed(), x.rows, x, ones);
    }

    /// A row that was multiplied by `since` of so many tokens, and its gradient: what the factors get of it.
    void add_since(Index tokens, const auto& row, const auto& gradient) {
        if (tokens > 0) at_.row(tokens - 1) += row * gradient;
    }
    /// The same of a row that was multiplied by `until`.
    void add_until(Index token, const auto& row, const auto& gradient) { behind_.row(token) += row * gradient; }

    /// `log_gradient` becomes the gradient of log a, in all.
    void finish() {
        add_ends(at_, 0, factor.rows);
        add_beginnings(behind_, factor.rows);
    }

private:
    static constexpr Index block = 16;

    auto sums(Index lanes) const { return Eigen::Map<Eigen::Array<C, 1, Eigen::Dynamic>>(sums_, lanes); }
    /// log_gradient(l) += Σ_{l <= i < end} terms(i − begin), for l from `begin` on.
    void add_ends(const Matrix& terms, Index begin, Index end) {
        auto sum = sums(terms.lanes);
        sum.setZero();
        for (Index l = end - 1; l >= begin; --l) {
            sum += terms.row(l - begin);
            log_gradient.row(l) += sum;
        }
    }
    /// log_gradient(l) += Σ_{j < l} terms(j), for l below `end`.
    void add_beginnings(const Matrix& terms, Index end) {
        auto sum = sums(terms.lanes);
        sum.setZero();
        for (Index l = 1; l < end; ++l) {
            sum += terms.row(l - 1);
            log_gradient.row(l) += sum;
        }
    }

    /// Calls `f(begin, end, row, rows)` for each block of tokens and the rows of x that stand there, when `cut_` holds
    /// the decay of the keys before, up to the block.
    template <class F>
    void for_each_block(Index rows, Index first, const F& f) const {
        const Index n = factor.rows;
        for (Index begin = 0; begin < n; begin += block) {
            const Index end = std::min(begin + block, n), row = std::max<Index>(0, begin - first),
                        count = std::min(rows, end - first) - row;
            if (count > 0) f(begin, end, row, count);
            auto all = sums(cut_.lanes);
            all.setOnes();
            for (Index j = end - 1; j >= begin; --j) {
                cut_.row(j) = all;
                all *= factor.row(j);
            }
            for (Index j = 0; j < begin; ++j) cut_.row(j) *= all;
        }
    }
    /// The keys before a block, decayed up to it.
    Matrix keys_before(const Matrix& k, Index begin) const {
        keys_.some(0, begin).all() = k.some(0, begin).all() * cut_.some(0, begin).all();
        return keys_.some(0, begin);
    }
    /// Rows of x, decayed since the beginning of the block, by `running_`.
    Matrix rows_since(const Matrix& x, Index first, Index begin, Index row, Index count) const {
        auto all = sums(x.lanes);
        all.setOnes();
        for (Index i = begin; i < first + row + count; ++i) {
            all *= factor.row(i);
            if (i < first + row) continue;
            running_.row(i - first - row) = all;
            rows_.row(i - first - row) = x.row(i - first) * all;
        }
        return rows_.some(0, count);
    }

    void scores_by_feature(const Matrix& x, Index first, const Matrix& k, bool own, const Matrix& s) const {
        for_each_block(x.rows, first, [&](Index begin, Index end, Index row, Index count) {
            keys_transposed_.set_transposed(keys_before(k, begin));
            chunk_product(s.some(row, count), rows_since(x, first, begin, row, count).plain(), x.columns,
                          keys_transposed_);
            for (Index i = begin; i < std::min(end, first + row + count); ++i) {
                running_.row(i - begin) = k.row(i);
                for (Index j = begin; j < i; ++j) running_.row(j - begin) *= factor.row(i);
                if (i < first) continue;
                for (Index j = begin; j < i + (own ? 1 : 0); ++j)
                    s(i - first, j) = (x.row(i - first) * running_.row(j - begin)).sum();
            }
        });
    }
    void scores_backward_by_feature(const Matrix& ds, const Matrix& x, Index first, const Matrix& k, bool own,
                                    const Matrix& dx, const Matrix& dk) {
        for_each_block(x.rows, first, [&](Index begin, Index end, Index row, Index count) {
            add_pairs_with_keys_before(ds, x, first, k, dx, dk, begin, row, count);
            const Index last = std::min(end, first + row + count);
            for (Index j = begin; j < last; ++j) {
                auto decay = sums(k.lanes);
                decay.setOnes();
                running_.all().setZero();
                for (Index i = j; i < last; ++i) {
                    if (i > j) decay *= factor.row(i);
                    if (i < first || (i == j && !own)) continue;
                    const Index r = i - first;
                    const C d = ds(r, j);
                    dx.row(r) += d * k.row(j) * decay;
                    dk.row(j) += d * x.row(r) * decay;
                    if (i > j) running_.row(i - begin) = d * x.row(r) * k.row(j) * decay;
                }
                add_ends(running_.some(j + 1 - begin, last - j - 1), j + 1, last);
            }
        });
    }
    void add_pairs_with_keys_before(const Matrix& ds, const Matrix& x, Index first, const Matrix& k, const Matrix& dx,
                                    const Matrix& dk, Index begin, Index row, Index count) {
        const Matrix before = keys_before(k, begin), rows = rows_since(x, first, begin, row, count),
                     drows = rows_gradient_.some(0, count), dbefore = keys_gradient_.some(0, begin);
        chunk_product(drows, ds.some(row, count).plain(), begin, before);
        chunk_product(dbefore, ds.some(row, count).transposed(), count, rows);
        dx.some(row, count).all() += drows.all() * running_.some(0, count).all();
        dk.some(0, begin).all() += dbefore.all() * cut_.some(0, begin).all();
        running_.all().setZero();
        const Index at = first + row - begin;
        running_.some(at, count).all() = drows.all() * rows.all();
        add_ends(running_, begin, first + row + count);
        dbefore.all() *= before.all();
        add_beginnings(dbefore, begin);
    }

    Matrix at_, behind_, pairs_, cut_, keys_, keys_gradient_, keys_transposed_, rows_, rows_gradient_, running_;
    C* sums_;
    bool by_feature_;
};

}  // namespace attend::detail
