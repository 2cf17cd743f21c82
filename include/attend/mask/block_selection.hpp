#pragma once
/// \file
/// Blocks of keys chosen by cheap scores, for a block-sparse mask.

#include <algorithm>
#include <numeric>
#include <vector>

#include <attend/core/operands.hpp>
#include <attend/core/positions.hpp>
#include <attend/mask/block_sparse.hpp>

namespace attend::inline ATTEND_ABI {

/// How blocks of keys are chosen.
struct BlockSelection {
    Index query_block = 64;  ///< queries that choose together; 1: each for itself
    Index key_block = 64;    ///< keys of a block
    Index keep = 8;          ///< blocks of keys for each block of queries
    bool causal = false;  ///< none that begin behind the queries; those that these stand in are always among the kept
    Index query_offset = 0;  ///< position of the first query
};

namespace detail {

inline void check_selection(const BlockSelection& x) {
    require(x.query_block > 0 && x.key_block > 0 && x.keep > 0,
            "block selection: block sizes and the blocks to keep must be above 0, got ", x.query_block, ", ",
            x.key_block, " and ", x.keep);
    require(x.query_block <= most_position && x.key_block <= most_position,
            "block selection: block sizes must be positions");
    require(x.query_offset >= 0 && x.query_offset <= most_position,
            "block selection: query_offset must be from 0 to 2^", position_bits, ", got ", x.query_offset);
}

/// The sums of rows by blocks of positions, whose first row stands at `offset`: added to `to`, a row a block.
template <class Rows, class T>
void add_blocks(const Rows& rows, Index offset, Index block, RowMatrix<T>& to) {
    for (Index i = 0; i < rows.rows(); ++i)
        to.row((offset + i) / block - offset / block) += rows.row(i).template cast<T>();
}
/// The same of an operand's head.
template <class X, class T>
void add_blocks_of(const StridedView<const X>& x, Index sequence, Index head, Index offset, Index block,
                   RowMatrix<T>& to) {
    const auto rows = rows_of(x, sequence * x.sequence_stride, head, x.rows);
    if (rows.innerStride() != 1) return add_blocks(rows, offset, block, to);
    add_blocks(Eigen::Map<const RowMatrix<X>, 0, Eigen::OuterStride<>>(rows.data(), rows.rows(), rows.cols(),
                                                                       Eigen::OuterStride<>(rows.outerStride())),
               offset, block, to);
}

}  // namespace detail

/// The mask of the `keep` best blocks of keys of each block of queries, by scores of your own: a row for each block of
/// queries from that of `query_offset` on, a column for each block of keys; with `heads` a block of rows a query head,
/// and with `sequences` all that for each. Of equal scores the first is better, and NaN is worst. Throws unless they
/// fit. O(n · log keep) of n scores.
template <detail::Dense Scores>
BlockSparse best_blocks(const Scores& scores, const BlockSelection& options, Index heads = 1, Index sequences = 1) {
    using T = typename Scores::Scalar;
    detail::check_selection(options);
    const RowMatrix<T> s = scores.matrix();
    BlockSparse mask{RowMatrix<bool>::Constant(s.rows(), s.cols(), false),
                     options.query_block,
                     options.key_block,
                     heads,
                     sequences,
                     options.query_offset / options.query_block};
    mask.check_blocks();
    const Index rows = s.rows() / (heads * sequences);
    std::vector<Index> order;
    for (Index row = 0; row < s.rows(); ++row) {
        const Index query = (mask.first + row % rows) * options.query_block;
        Index candidates = s.cols(), own = s.cols();  // those from `own` on are kept in any case
        if (options.causal) {
            candidates = std::min(candidates, (query + options.query_block - 1) / options.key_block + 1);
            own = std::min(candidates, std::max(query, options.query_offset) / options.key_block);
        }
        const Index chosen = std::clamp<Index>(options.keep - (candidates - own), 0, own);
        order.resize(static_cast<std::size_t>(own));
        std::iota(order.begin(), order.end(), Index(0));
        const auto better = [&](Index a, Index b) {
            const T x = s(row, a), y = s(row, b);
            if (x != x || y != y) return x == x || (y != y && a < b);
            return x > y || (x == y && a < b);
        };
        std::partial_sort(order.begin(), order.begin() + chosen, order.end(), better);
        bool* const kept = mask.blocks.data() + row * s.cols();
        for (Index i = 0; i < chosen; ++i) kept[order[static_cast<std::size_t>(i)]] = true;
        std::fill(kept + own, kept + candidates, true);
    }
    return mask;
}

/// The same by the means of the queries and of the keys of a block, multiplied, as mixture of block attention chooses
/// (Lu 2025); of grouped heads, the heads of a group choose together, as in native sparse attention (Yuan 2025). A
/// sequence, or as many as the views have: q is n_q × d, k is n_kv × d for every head.
///
///     attention = scaled_dot_product >> (causal & select_blocks(heads(q, 8), heads(k, 2), {.keep = 8, .causal =
///     true}));
///
/// The choice is a constant of the loss: no gradient goes through it. Throws, naming the operands, unless they fit.
/// O((n_q + n_kv) d) and a product of the means, beside the mask, in memory of its own.
template <detail::OperandLike Q, detail::OperandLike K>
BlockSparse select_blocks(const Q& q, const K& k, const BlockSelection& options = {}) {
    if constexpr (detail::are_operands<Q, K>()) {
        using T = Compute<detail::ScalarOf<Q>>;
        const detail::Operand<Q> q_operand(q);
        const detail::Operand<K> k_operand(k);
        const auto queries = q_operand.view();
        const auto keys = k_operand.view();
        detail::check_selection(options);
        detail::require(queries.columns == keys.columns, "select_blocks: q (", queries.rows, "x", queries.columns,
                        " a head) and k (", keys.rows, "x", keys.columns, " a head) must be as wide as each other");
        detail::require(queries.heads > 0 && keys.heads > 0 && queries.heads % keys.heads == 0,
                        "select_blocks: ", keys.heads, " heads of k do not divide the ", queries.heads, " of q");
        detail::require(queries.sequences == keys.sequences && queries.sequences > 0, "select_blocks: q has ",
                        queries.sequences, " sequences, k has ", keys.sequences);
        const Index group = queries.heads / keys.heads, offset = options.query_offset;
        const auto blocks_of = [](Index first, Index rows, Index block) {
            return rows == 0 ? 0 : (first + rows - 1) / block - first / block + 1;
        };
        const Index rows = blocks_of(offset, queries.rows, options.query_block),
                    columns = blocks_of(0, keys.rows, options.key_block);
        RowMatrix<T> scores(queries.sequences * queries.heads * rows, columns);
        for (Index sequence = 0; sequence < queries.sequences; ++sequence) {
            for (Index kv_head = 0; kv_head < keys.heads; ++kv_head) {
                RowMatrix<T> q_sums = RowMatrix<T>::Zero(rows, queries.columns),
                             k_means = RowMatrix<T>::Zero(columns, keys.columns);
                detail::add_blocks_of(keys, sequence, kv_head, 0, options.key_block, k_means);
                for (Index j = 0; j < columns; ++j)
                    k_means.row(j) /= static_cast<T>(std::min(options.key_block, keys.rows - j * options.key_block));
                // How many queries a block has makes no difference to its choice.
                const Index first = kv_head * group;
                for (Index h = first; h < first + group; ++h)
                    detail::add_blocks_of(queries, sequence, h, offset, options.query_block, q_sums);
                const RowMatrix<T> of_group = q_sums * k_means.transpose();
                for (Index h = first; h < first + group; ++h)
                    scores.middleRows((sequence * queries.heads + h) * rows, rows) = of_group;
            }
        }
        return best_blocks(scores, options, queries.heads, queries.sequences);
    } else {
        return {};
    }
}

}  // namespace attend
