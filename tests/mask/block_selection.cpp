#include <attend/mask/block_selection.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include <attend/mask/causal.hpp>
#include <attend/mask/dense.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_block_selection {
namespace {

/// How many of the other candidates are better than one.
Index better_than(const Eigen::VectorXd& scores, Index one) {
    Index better = 0;
    for (Index j = 0; j < scores.size(); ++j)
        better += scores[j] > scores[one] || (scores[j] == scores[one] && j < one) ? 1 : 0;
    return better;
}

}  // namespace

TEST_CASE("the best blocks are those that fewer than `keep` others beat") {
    Random random(1);
    for (int round = 0; round < 300; ++round) {
        const Index rows = random_index(random, 0, 9), columns = random_index(random, 0, 12),
                    keep = random_index(random, 1, 14);
        Eigen::MatrixXd scores = random_matrix<double>(random, rows, columns, 3.0);
        scores = scores.array().round();  // so that some are equal
        const auto mask = best_blocks(scores, {.query_block = 4, .key_block = 5, .keep = keep});
        REQUIRE((mask.query_block == 4 && mask.key_block == 5));
        for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < columns; ++j)
                REQUIRE(mask.blocks(i, j) == (better_than(scores.row(i).transpose(), j) < keep));
        }
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto mask = best_blocks(Eigen::RowVectorXd{{nan, -1, nan, -2}}, {.keep = 3});
    CHECK(mask.blocks == Eigen::Matrix<bool, 1, 4>(true, true, false, true));
}

TEST_CASE("causal queries choose among the blocks before them, and always see their own") {
    Random random(2);
    for (int round = 0; round < 300; ++round) {
        const BlockSelection options{.query_block = random_index(random, 1, 9),
                                     .key_block = random_index(random, 1, 9),
                                     .keep = random_index(random, 1, 5),
                                     .causal = true,
                                     .query_offset = random_index(random, 0, 30)};
        const Index first = options.query_offset / options.query_block, rows = 5, columns = 12;
        const auto scores = random_matrix<double>(random, rows, columns);
        const auto mask = best_blocks(scores, options);
        for (Index i = 0; i < rows; ++i) {
            const Index begin = std::max((first + i) * options.query_block, options.query_offset),
                        last = (first + i + 1) * options.query_block - 1;
            Index kept = 0, before = 0, own = 0, worst_kept = -1, best_left = -1;
            for (Index j = 0; j < columns; ++j) {
                const bool is_kept = mask.blocks(i, j);
                kept += is_kept ? 1 : 0;
                const Index from = j * options.key_block, to = from + options.key_block - 1;
                if (from > last) {
                    REQUIRE_FALSE(is_kept);
                } else if (to >= begin) {
                    ++own;
                    REQUIRE(is_kept);
                } else {
                    ++before;
                    Index& extreme = is_kept ? worst_kept : best_left;
                    if (extreme < 0 || (scores(i, j) < scores(i, extreme)) == is_kept) extreme = j;
                }
            }
            REQUIRE(kept == own + std::min(before, std::max<Index>(0, options.keep - own)));
            if (worst_kept >= 0 && best_left >= 0) REQUIRE(scores(i, worst_kept) > scores(i, best_left));
        }
    }
}

TEMPLATE_TEST_CASE("blocks are chosen by the means of queries and keys, heads of a group together", "", float, double,
                   Eigen::half) {
    using T = TestType;
    constexpr Index n_q = 50, n_kv = 83, d = 6, sequences = 2, offset = 13;
    Random random(3);
    const auto q = random_matrix<T>(random, sequences * n_q, 4 * d);
    const auto k = random_matrix<T>(random, sequences * n_kv, 2 * d);
    const auto view = [](const auto& x, Index rows, Index heads) {
        return strided(x.data(), {sequences, heads, rows, d}, {rows * heads * d, d, heads * d, 1});
    };
    const BlockSelection options{.query_block = 8, .key_block = 16, .keep = 2, .query_offset = offset};
    const auto mask = select_blocks(view(q, n_q, 4), view(k, n_kv, 2), options);
    REQUIRE((mask.heads == 4 && mask.sequences == 2 && mask.first == 1 && mask.blocks.cols() == 6));
    for (Index s = 0; s < sequences; ++s) {
        for (Index h = 0; h < 4; ++h) {
            for (Index block = 1; block * 8 < offset + n_q; ++block) {
                Eigen::VectorXd scores = Eigen::VectorXd::Zero(6);
                for (Index j = 0; j < 6; ++j) {
                    const Index keys = std::min<Index>(16, n_kv - 16 * j);
                    for (Index i = std::max<Index>(0, 8 * block - offset); i < std::min(n_q, 8 * block + 8 - offset);
                         ++i) {
                        for (Index key = 16 * j; key < 16 * j + keys; ++key) {
                            for (Index a = 0; a < 2 * d; ++a) {  // of both heads of the group
                                scores[j] += static_cast<double>(q(s * n_q + i, h / 2 * 2 * d + a)) *
                                             static_cast<double>(k(s * n_kv + key, h / 2 * d + a % d)) /
                                             static_cast<double>(keys);
                            }
                        }
                    }
                }
                for (Index j = 0; j < 6; ++j) {
                    CAPTURE(s, h, block, j);
                    const Position p{.query = 8 * block, .key = 16 * j, .head = h, .sequence = s};
                    CHECK(mask(p) == (better_than(scores, j) < 2));
                }
            }
        }
    }
    const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> columns = q.topRows(n_q);
    CHECK(select_blocks(heads(columns, 4), heads(k.topRows(n_kv), 2), options).blocks ==
          mask.blocks.topRows(mask.blocks.rows() / 2));
}

TEST_CASE("attention over chosen blocks is that over their pairs, one by one") {
    const auto x = random_operands({.queries = 200, .keys = 230, .heads = 2, .kv_heads = 2, .query_offset = 30}, 4);
    const auto chosen =
        causal & select_blocks(x.query_heads(), x.key_heads(),
                               {.query_block = 32, .key_block = 16, .keep = 3, .causal = true, .query_offset = 30});
    for (Index head = 0; head < 2; ++head) {
        RowMatrix<bool> keep(200, 230);
        for (Index i = 0; i < 200; ++i) {
            for (Index j = 0; j < 230; ++j) keep(i, j) = chosen(Position{.query = 30 + i, .key = j, .head = head});
        }
        REQUIRE(keep.rowwise().any().all());
        RowMatrix<double> out, expected;
        (scaled_dot_product >> chosen)(x.query_heads(), x.key_heads(), x.value_heads(), out, {.query_offset = 30});
        (scaled_dot_product >> dense_mask(keep))(x.query_heads(), x.key_heads(), x.value_heads(), expected,
                                                 {.query_offset = 30});
        CHECK(distance(out.middleCols(2 * head, 2), expected.middleCols(2 * head, 2)) < 1e-14);
    }
}

TEST_CASE("selections that do not fit are refused, and empty operands choose nothing") {
    const Eigen::MatrixXd q = Eigen::MatrixXd::Ones(8, 6), k = Eigen::MatrixXd::Ones(9, 6);
    CHECK(refusal([&] { select_blocks(q, k.leftCols(3)); }) ==
          "select_blocks: q (8x6 a head) and k (9x3 a head) must be as wide as each other");
    CHECK(refusal([&] { select_blocks(heads(q, 2), heads(k, 3)); }) ==
          "select_blocks: q (8x3 a head) and k (9x2 a head) must be as wide as each other");
    CHECK(refusal([&] { select_blocks(heads(q, 2), heads(Eigen::MatrixXd::Ones(9, 9).eval(), 3)); }) ==
          "select_blocks: 3 heads of k do not divide the 2 of q");
    CHECK(refusal([&] { select_blocks(q, k, {.keep = 0}); }) ==
          "block selection: block sizes and the blocks to keep must be above 0, got 64, 64 and 0");
    CHECK(refusal([&] { select_blocks(q, k, {.query_offset = -1}); }) ==
          "block selection: query_offset must be from 0 to 2^53, got -1");
    CHECK(select_blocks(q, k.topRows(0)).blocks.size() == 0);
    CHECK(select_blocks(q.topRows(0), k).blocks.rows() == 0);
    const Eigen::MatrixXd none = scaled_dot_product(q, k.topRows(0), k.topRows(0));
    CHECK((scaled_dot_product >> select_blocks(q, k.topRows(0)))(q, k.topRows(0), k.topRows(0)) == none);
}

}  // namespace test_block_selection
