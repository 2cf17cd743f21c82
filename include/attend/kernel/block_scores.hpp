#pragma once
/// \file
/// The scores of one block of queries with the keys of its head, tile by tile. Queries stand in lanes and keys are read
/// where they are.

#include <algorithm>
#include <cmath>
#include <limits>

#include <attend/core/workspace.hpp>
#include <attend/kernel/few_rows.hpp>
#include <attend/kernel/key_features.hpp>
#include <attend/kernel/lane_block.hpp>
#include <attend/kernel/micro_kernel.hpp>
#include <attend/kernel/on_lanes.hpp>
#include <attend/kernel/pair_gradients.hpp>
#include <attend/kernel/plan.hpp>
#include <attend/kernel/products.hpp>
#include <attend/kernel/readable.hpp>
#include <attend/kernel/reference.hpp>
#include <attend/softmax/exp.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

template <class T>
using StridedBlock = Eigen::Map<RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

inline constexpr Index key_block = 64;

/// The keys of a tile, so many that the scores of each query fill whole packets.
template <class T>
Index tile_of(Index keys) {
    return std::min(key_block, simd::padded<T>(keys));
}

/// Whether the products of an attention can go by parts. A sigmoid's weights may all be so small that nothing of their
/// parts would be left.
template <class T, class A>
inline constexpr bool may_go_by_parts = Products<T>::have_parts && A::ScoreFunctor::pairing == Pairing::dot &&
                                        !PairNormalizer<typename A::NormalizerFunctor>;

/// What the scores of a block are formed from.
template <class T>
struct ScoreScratch {
    T* mapped;  ///< lanes × width: features of the queries, row by row
    Index mapped_stride;
    Index tile;                    ///< keys of a tile
    T* q;                          ///< width × lanes
    T* e_q;                        ///< width × lanes: exponentials of q, for scores that can do with them
    T* k;                          ///< a tile of keys, where they are not read in place
    T* e_k;                        ///< a tile of exponentials of keys
    std::byte *k_parts, *q_parts;  ///< of a tile of keys and of q, where products go by parts
    bool by_parts;

    ScoreScratch(Arena& arena, Index lanes, Index tile_, Index width, Index stride, bool exponentials, bool parts)
        : mapped(arena.take<T>(lanes * stride)),
          mapped_stride(stride),
          tile(tile_),
          q(arena.take<T>(lanes * width)),
          e_q(arena.take<T>(exponentials ? lanes * width : 0)),
          k(arena.take<T>(tile_ * width)),
          e_k(arena.take<T>(exponentials ? tile_ * width : 0)),
          k_parts(parts ? arena.take<std::byte>(SplitSize::bytes(tile_, width)) : nullptr),
          q_parts(parts ? arena.take<std::byte>(SplitSize::bytes(lanes, width)) : nullptr),
          by_parts(parts) {}

    /// That of another block of lanes with the same keys.
    ScoreScratch(Arena& arena, const ScoreScratch& first, Index lanes, Index width) : ScoreScratch(first) {
        q = arena.take<T>(lanes * width);
        q_parts = by_parts ? arena.take<std::byte>(SplitSize::bytes(lanes, width)) : nullptr;
    }
};

/// One block of lanes.
template <class T, class A, class X>
class BlockScores {
public:
    using S = typename A::ScoreFunctor;
    using Key = KeyScalar<T, A, X>;
    static constexpr bool dot = A::ScoreFunctor::pairing == Pairing::dot;
    /// Without modifiers the products are final scores.
    static constexpr bool products_are_final = dot && A::ModifierChain::count == 0;

    /// `few`: features stand in lanes instead of queries.
    BlockScores(const A& attention, const Problem<X>& problem, const StridedView<const Key>& keys,
                const LaneBlock& block, Index width, bool few, const ScoreScratch<T>& scratch)
        : attention_(attention),
          problem_(problem),
          block_(block),
          width_(width),
          lanes_((block.count() + w - 1) / w * w),
          few_(few),
          apart_{1, few ? block.count() : lanes_},
          z_(scratch),
          products_(block.by_parts && lanes_ > w && scratch.by_parts),
          k_(problem.key_slice(keys, block.sequence, block.kv_head)) {}

    Index lanes() const { return lanes_; }
    /// How products with the lanes are made.
    const Products<T>& multiplier() const { return products_; }
    /// How far the scores of the last tile stand from each other.
    const ScoreStrides& apart() const { return apart_; }
    /// The features of the keys.
    const Slice<const Key>& keys() const { return k_; }

    /// Maps the queries and puts them into lanes. Their features row by row are there afterwards if they are wanted.
    void load_queries(bool rows_too = false) {
        if constexpr (std::is_same_v<T, X> && requires(const S& score) { score.template query_factor<T>(width_); }) {
            const auto q = problem_.query_slice(problem_.q, block_.sequence, block_.head);
            if (block_.heads == 1 && !rows_too && q.innerStride() == 1) {  // without a stop in between
                const T factor = attention_.score().template query_factor<T>(width_);
                const T* const from = q.data() + block_.row * q.outerStride();
                if (few_) {
                    for (Index i = 0; i < block_.rows; ++i)
                        scale_row(from + i * q.outerStride(), width_, factor, z_.mapped + i * width_, 1);
                } else {
                    rows_to_lanes(from, q.outerStride(), block_.rows, width_, factor, z_.q, lanes_);
                    split_queries();
                }
                return;
            }
        }
        for (Index h = 0; h < block_.heads; ++h) {
            const auto q = problem_.query_slice(problem_.q, block_.sequence, block_.head + h);
            StridedBlock<T> mapped(z_.mapped + h * block_.rows * z_.mapped_stride, block_.rows, width_,
                                   Eigen::OuterStride<>(z_.mapped_stride));
            reference::map_queries(attention_.score(), q.middleRows(block_.row, block_.rows), mapped);
        }
        if (!few_) {
            rows_to_lanes(z_.mapped, z_.mapped_stride, block_.count(), width_, T(1), z_.q, lanes_);
            split_queries();
        }
        if constexpr (ExponentialScore<S, T>)
            q_has_exponentials_ = exponentials_of_lanes<S>(z_.q, z_.e_q, width_, lanes_);
    }

    /// A mask's cover of a tile of keys.
    Cover cover_of_tile(Index begin, Index keys) const {
        const Cover cover = cover_of(attention_.mask, tile(0, 0, block_.rows, begin, keys));
        for (Index h = 1; h < block_.heads; ++h) {
            if (cover_of(attention_.mask, tile(h, 0, block_.rows, begin, keys)) != cover) return Cover::some;
        }
        return cover;
    }
    Position position(Index lane, Index key) const {
        const Index head = lane / block_.rows;
        return problem_.row_position(block_.sequence, block_.head + head, block_.row + lane - head * block_.rows)
            .at(key);
    }

    /// s = the products of a tile's pairs, before modifiers and mask; `largest`, by lane, is raised to the largest.
    /// Of few queries the keys come `side_by_side`, as a softmax wants them, or the queries, as all else does.
    void products(RowOperand<T>& k, Index keys, T* s, T* largest = nullptr, ReadAhead* ahead = nullptr,
                  bool side_by_side = false) {
        if (few_) {
            apart_ = side_by_side ? ScoreStrides{z_.tile, 1} : ScoreStrides{1, block_.count()};
            dot_rows<T>({k.matrix.data, k.matrix.row_stride, keys, width_}, z_.mapped, block_.count(), s, apart_);
        } else if constexpr (dot) {
            if (products_.by_parts(keys)) products_.prepare(k, keys, width_, z_.k_parts);
            products_.multiply(k, keys, width_, q_, lanes_, s, {.largest = largest, .ahead = ahead});
        } else {
            pair_tile(k.matrix, keys, s);
        }
    }
    /// The features of a tile of keys and of the queries, where they are paired one by one.
    PairTiles<T> pair_tiles(const BroadcastMatrix<T>& k, Index keys) const {
        PairTiles<T> tiles{{k, z_.q, width_, lanes_}, {{z_.e_k, width_, 1}, z_.e_q, width_, lanes_}, false};
        if constexpr (ExponentialScore<S, T>)
            tiles.all = exponentials_of_rows<S>(k, keys, width_, z_.e_k) && q_has_exponentials_;
        return tiles;
    }
    /// Products into final scores: modifies and masks those of a tile, and calls `each_key(s)` for the lanes of a key.
    template <class F>
    void finish(Index begin, Index keys, Cover cover, T* s, F&& each_key) {
        constexpr bool modifies_tiles = tile_modifiers<decltype(attention_.modifiers.each), T>() > 0;
        if constexpr (modifies_tiles) modify_tile(s, begin, keys);
        for (Index j = 0; j < keys; ++j, s += apart_.key) {
            if constexpr (A::ModifierChain::count > 0 && !modifies_tiles)
                modify(s, begin + j, attention_.modifiers.each);
            if (cover == Cover::some) mask(s, begin + j);
            each_key(s);
        }
    }

    /// Multiplies the weights of a tile, or their gradients, by the factors of dropout.
    void drop(Index begin, Index keys, T* weights) const {
        if (!problem_.dropout) return;
        for_each_packet(begin, [&](Index lane, const Position& p, Index count) {
            problem_.dropout.apply(weights + lane, apart_.key, keys, lanes_of(p, count));
        });
    }

    /// Calls `f(lane, position, count)` for the packets of queries of each head: `position` is the first one's.
    template <class F>
    void for_each_packet(Index key, F&& f) const {
        for (Index h = 0; h < block_.heads; ++h) {
            const Position first = problem_.row_position(block_.sequence, block_.head + h, block_.row).at(key);
            for (Index i = 0; i < block_.rows; i += w) {
                Position p = first;
                p.query += i;
                p.row += i;
                f(h * block_.rows + i, p, std::min(w, block_.rows - i));
            }
        }
    }
    static LanePosition<T> lanes_of(const Position& p, Index count) {
        return {{p.query, 1, count}, p.key, {p.row, 1, count}, p.head, p.kv_head, p.sequence};
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity();

    Tile tile(Index head, Index row, Index rows, Index begin, Index keys) const {
        const Index query = problem_.shape.query_offset + block_.row + row;
        return {query,          query + rows,   begin, begin + keys, block_.row + row, block_.head + head,
                block_.kv_head, block_.sequence};
    }

    void split_queries() {
        q_ = {z_.q};
        products_.prepare(q_, width_, lanes_, z_.q_parts);
    }

    void pair_tile(const BroadcastMatrix<T>& k, Index keys, T* to) {
        const S& score = attention_.score();
        const PairTiles<T> tiles = pair_tiles(k, keys);
        // Each pair by itself: its bits must not depend on the queries and keys beside it.
        if (!tiles.all) add_pairs(score, tiles.features, keys, to);
        if constexpr (ExponentialScore<S, T>) add_exponentials(score, tiles.exponentials, keys, tiles.all, to);
    }

    void modify(T* s, Index key, const auto& modifiers) {
        for_each_packet(key, [&](Index lane, const Position& p, Index count) {
            const auto scores = Lanes<T>::of(simd::load(s + lane, count, T(0)));
            simd::store<T>(s + lane, on_lanes(modifiers, scores, lanes_of(p, count)).packet, count);
        });
    }
    /// One modifier after the other, where one of them wants more than a key at a time.
    void modify_tile(T* s, Index begin, Index keys) {
        const auto one = [&](const auto& modifier) {
            if constexpr (TileModifier<std::remove_cvref_t<decltype(modifier)>, T>) {
                for_each_packet(begin, [&](Index lane, const Position& p, Index count) {
                    modifier.on_tile(s + lane, apart_.key, keys, lanes_of(p, count));
                });
            } else {
                for (Index j = 0; j < keys; ++j) modify(s + j * apart_.key, begin + j, modifier);
            }
        };
        std::apply([&](const auto&... modifier) { (one(modifier), ...); }, attention_.modifiers.each);
    }
    /// Asks for a packet of queries at a time first: on the edge of a causal tile one in four is cut.
    void mask(T* s, Index key) {
        for_each_packet(key, [&](Index lane, Position p, Index count) {
            const Cover cover = cover_of(
                attention_.mask, Tile{p.query, p.query + count, key, key + 1, p.row, p.head, p.kv_head, p.sequence});
            if (cover == Cover::all) return;
            const auto hidden = simd::broadcast(-infinity);
            if (cover == Cover::none) {
                simd::store<T>(s + lane, hidden, count);
            } else if constexpr (LaneWiseMask<std::remove_cvref_t<decltype(attention_.mask)>, T>) {
                const auto scores = simd::load<T>(s + lane, count, -infinity);
                const LaneMask<T> kept = attention_.mask(lanes_of(p, count));
                simd::store<T>(s + lane, simd::select(kept.packet, scores, hidden), count);
            } else {
                for (Index i = lane; i < lane + count; ++i, ++p.query, ++p.row)
                    s[i] = attention_.mask(p) ? s[i] : -infinity;
            }
        });
    }

    const A& attention_;
    const Problem<X>& problem_;
    const LaneBlock& block_;
    Index width_, lanes_;
    bool few_;
    ScoreStrides apart_;
    const ScoreScratch<T>& z_;
    Products<T> products_;
    LaneOperand<T> q_{};
    Slice<const Key> k_;
    bool q_has_exponentials_ = false;
};

}  // namespace attend::detail::fused
