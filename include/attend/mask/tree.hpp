#pragma once
/// \file
/// Tree mask: drafts that branch, behind what they all continue.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/positions.hpp>

namespace attend::inline ATTEND_ABI {

/// Causal, but for pairs within a tree of tokens, where a node sees itself and its ancestors alone: of many drafts that
/// are verified at once each token sees its own (Miao et al. 2024). Node i stands at `begin + i`, as a query and as a
/// key, whatever its depth; so modifiers see it there, while a rotary embedding turns it by `begin + depth(i)`.
class Tree {
public:
    static constexpr Kind kind = Kind::mask;

    /// `parents[i]` is the node before node i, less than i, or −1. `begins`: where the tree begins in each sequence, or
    /// in all. O(n²) bits. Throws where a parent is no node before, where there is no begin, or of more than 16 384
    /// nodes.
    Tree(std::vector<Index> parents, std::vector<Index> begins)
        : parents_(std::move(parents)), begins_(std::move(begins)) {
        const Index n = nodes();
        detail::require(n <= most_nodes, "tree: ", n, " nodes are more than ", most_nodes);
        detail::require(!begins_.empty(), "tree: needs the position where it begins");
        for (const Index begin : begins_) detail::check_position("tree: begin", begin);
        words_ = (n + 63) / 64;
        seen_.resize(static_cast<std::size_t>(n * words_)), seers_ = seen_, depths_.resize(parents_.size());
        for (Index i = 0; i < n; ++i) {
            const Index parent = parents_[at(i)];
            if (parent < -1 || parent >= i)
                detail::refuse("tree: the parent of node ", i, " must be a node before it, or -1, got ", parent);
            depths_[at(i)] = parent < 0 ? 0 : depths_[at(parent)] + 1;
            for (Index j = i; j >= 0; j = parents_[at(j)]) {
                seen_[at(i * words_ + j / 64)] |= bit(j % 64);
                seers_[at(j * words_ + i / 64)] |= bit(i % 64);
            }
        }
    }

    auto spelled(const auto& say) const {
        return begins_.size() == 1 ? say("tree", parents_, begins_[0]) : say("tree", parents_, begins_);
    }
    /// How many there are.
    Index nodes() const { return static_cast<Index>(parents_.size()); }
    /// The node before, or −1.
    Index parent(Index node) const { return parents_[at(node)]; }
    /// How many ancestors a node has.
    Index depth(Index node) const { return depths_[at(node)]; }

    void check(const Shape& shape) const {
        detail::require(begins_.size() == 1 || std::ssize(begins_) == shape.sequences, "tree: begins in ",
                        begins_.size(), " sequences, and there are ", shape.sequences);
    }
    bool operator()(const Position& p) const {
        const Index begin = this->begin(p.sequence), query = p.query - begin, key = p.key - begin;
        if (!holds(query) || !holds(key)) return p.key <= p.query;
        return (seen_[at(query * words_ + key / 64)] & bit(key % 64)) != 0;
    }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        const Index begin = this->begin(p.sequence), key = p.key - begin;
        if (!holds(key)) return p.key <= p.query;
        if (!detail::are_tile(p))
            return LaneMask<T>::each([&](Index lane) { return (*this)(detail::scalar_position(p, lane)); });
        const Index first = p.query.first - begin;
        return LaneMask<T>(detail::simd::mask_of_bits<T>(bits(seers_, key, first) | from_lane(nodes() - first)));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        const Index begin = this->begin(p.sequence), query = p.query - begin;
        if (!holds(query)) return p.key <= p.query;
        const Index first = p.key.first - begin;
        return LaneMask<T>(detail::simd::mask_of_bits<T>(bits(seen_, query, first) | ~from_lane(-first)));
    }
    Cover cover(const Tile& t) const {
        const Index begin = this->begin(t.sequence);
        const Index query_begin = std::max<Index>(t.query_begin - begin, 0),
                    query_end = std::min(t.query_end - begin, nodes()),
                    key_begin = std::max<Index>(t.key_begin - begin, 0), key_end = std::min(t.key_end - begin, nodes());
        const bool full = t.key_end - 1 <= t.query_begin, none = t.key_begin > t.query_end - 1;
        if (none) return Cover::none;
        if (query_begin >= query_end || key_begin >= key_end) return full ? Cover::all : Cover::some;
        bool any = false, all = true;
        for (Index query = query_begin; query < query_end; ++query) {
            for (Index key = key_begin; key < key_end; key += 64) {
                const std::uint64_t wanted = ~from_lane(key_end - key), kept = bits(seen_, query, key) & wanted;
                any = any || kept != 0;
                all = all && kept == wanted;
            }
        }
        if (all && full) return Cover::all;
        const bool within =
            t.query_end - t.query_begin == query_end - query_begin && t.key_end - t.key_begin == key_end - key_begin;
        return within && !any ? Cover::none : Cover::some;
    }

private:
    static constexpr Index most_nodes = Index(1) << 14;

    static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
    static std::uint64_t bit(Index i) { return std::uint64_t{1} << i; }
    /// The bits of this one of 64 lanes and all behind it.
    static std::uint64_t from_lane(Index lane) {
        return lane >= 64 ? 0 : ~std::uint64_t{0} << static_cast<unsigned>(std::max<Index>(lane, 0));
    }
    Index begin(Index sequence) const { return begins_.size() == 1 ? begins_[0] : begins_[at(sequence)]; }
    bool holds(Index node) const { return 0 <= node && node < nodes(); }
    /// 64 bits of a row from one on, which may lie outside the tree: 0 there.
    std::uint64_t bits(const std::vector<std::uint64_t>& rows, Index row, Index from) const {
        const auto word = [&](Index i) { return 0 <= i && i < words_ ? rows[at(row * words_ + i)] : 0; };
        const Index first = from >= 0 ? from / 64 : -((63 - from) / 64), shift = from - 64 * first;
        return shift == 0 ? word(first) : word(first) >> shift | word(first + 1) << (64 - shift);
    }

    std::vector<Index> parents_, begins_, depths_;
    Index words_ = 0;
    std::vector<std::uint64_t> seen_, seers_;  ///< for each node those it sees, and those that see it
};

/// `scaled_dot_product >> tree({-1, 0, 0, 1}, cache.keys())`, asked before the drafts are appended, or with a begin for
/// each sequence. Holds both.
/// @{
inline Tree tree(std::vector<Index> parents, Index begin) { return {std::move(parents), {begin}}; }
inline Tree tree(std::vector<Index> parents, std::vector<Index> begins) {
    return {std::move(parents), std::move(begins)};
}
/// @}

}  // namespace attend
