#pragma once
/// \file
/// Any mask as bits, asked once and kept.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/positions.hpp>

namespace attend::inline ATTEND_ABI {

/// What a mask says of every pair of a shape: a bit a pair and what each square of 16 × 16 pairs holds, so that an
/// attention skips what is masked, however the mask was written. Heads and sequences that are masked alike share their
/// bits. Copies share them all; use one for all layers and calls of that shape.
class CompiledMask {
public:
    static constexpr Kind kind = Kind::mask;

    /// Asks `mask` of every pair of `shape`, of ragged sequences up to the longest. Throws what the mask would throw at
    /// such a shape. O(sequences · heads · queries · keys), and a bit of memory for each pair of what is not alike.
    template <Mask M>
    CompiledMask(const M& mask, const Shape& shape) : shape_(shape) {
        const auto size = [](Index n) { return static_cast<double>(n); };
        detail::require(shape.sequences > 0 && shape.heads > 0 && shape.kv_heads > 0 &&
                            shape.heads % shape.kv_heads == 0 && shape.queries >= 0 && shape.keys >= 0,
                        "compiled: the shape needs sequences, heads, kv_heads that divide them, queries and keys");
        detail::check_position("compiled: query_offset", shape.query_offset);
        detail::require(
            size(shape.sequences) * size(shape.heads) * (size(shape.queries) + 64) * (size(shape.keys) + 16) <
                size(detail::most_position),
            "compiled: ", shape.sequences, " sequences of ", shape.heads, " heads of ", shape.queries, " queries and ",
            shape.keys, " keys have more pairs than can be asked");
        detail::check_part(mask, shape);
        for (Index sequence = 0; sequence < shape.sequences; ++sequence) {
            for (Index head = 0; head < shape.heads; ++head) {
                const auto keeps = [&](Index row, Index key) {
                    return mask(Position{.query = shape.query_offset + row,
                                         .key = key,
                                         .row = row,
                                         .head = head,
                                         .kv_head = head / shape.group(),
                                         .sequence = sequence});
                };
                std::vector<std::uint64_t> bits(static_cast<std::size_t>(words() * shape.keys));
                for (Index key = 0; key < shape.keys; ++key) {
                    for (Index row = 0; row < shape.queries; ++row) {
                        if (keeps(row, key)) bits[word(row, key)] |= std::uint64_t{1} << (row % 64);
                    }
                }
                const auto alike = std::find_if(planes_.begin(), planes_.end(),
                                                [&](const auto& plane) { return plane->bits == bits; });
                const bool known = alike != planes_.end();
                planes_.push_back(known ? *alike : std::make_shared<const Plane>(shape, std::move(bits)));
            }
        }
    }

    auto spelled(const auto& say) const {
        return say("compiled", "...",
                   say.record("", say.field(shape_.sequences != 1, "sequences", shape_.sequences),
                              say.field(shape_.heads != 1, "heads", shape_.heads),
                              say.field(shape_.kv_heads != 1, "kv_heads", shape_.kv_heads),
                              say.field(true, "queries", shape_.queries), say.field(true, "keys", shape_.keys),
                              say.field(shape_.query_offset != 0, "query_offset", shape_.query_offset)));
    }
    void check(const Shape& shape) const {
        detail::require(!shape.own_positions,
                        "compiled mask: made for queries that follow each other, and called with query_positions");
        detail::require(shape.sequences == shape_.sequences && shape.heads == shape_.heads &&
                            shape.kv_heads == shape_.kv_heads && shape.queries == shape_.queries &&
                            shape.keys == shape_.keys && shape.query_offset == shape_.query_offset,
                        "compiled mask: made for ", shape_.sequences, " sequences, ", shape_.heads, " heads in ",
                        shape_.kv_heads, ", ", shape_.queries, " queries from ", shape_.query_offset, " on and ",
                        shape_.keys, " keys, and called with ", shape.sequences, ", ", shape.heads, " in ",
                        shape.kv_heads, ", ", shape.queries, " from ", shape.query_offset, " on and ", shape.keys);
    }
    bool operator()(const Position& p) const {
        return (plane(p.sequence, p.head).bits[word(p.row, p.key)] >> (p.row % 64) & 1) != 0;
    }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        return LaneMask<T>(
            detail::simd::mask_of_bits<T>(kept(plane(p.sequence, p.head), p.row.first, p.row.count, p.key)));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        const std::uint64_t* const first = &plane(p.sequence, p.head).bits[word(p.row, p.key.first)];
        std::uint64_t kept = 0;
        for (Index lane = 0; lane < p.key.count; ++lane)
            kept |= (first[lane * words()] >> (p.row % 64) & 1) << static_cast<unsigned>(lane);
        return LaneMask<T>(detail::simd::mask_of_bits<T>(kept));
    }
    Cover cover(const Tile& tile) const {
        const Index rows = tile.query_end - tile.query_begin, row_end = tile.row_begin + rows;
        if (rows <= 0 || tile.key_end <= tile.key_begin) return Cover::none;
        const Plane& of = plane(tile.sequence, tile.head);
        if (tile.key_end - tile.key_begin == 1 && rows <= 64) {  // a packet of queries
            const std::uint64_t kept = this->kept(of, tile.row_begin, rows, tile.key_begin);
            return kept == 0 ? Cover::none : kept == every(rows) ? Cover::all : Cover::some;
        }
        const Cover first = of.squares[square(tile.row_begin / side, tile.key_begin / side)];
        for (Index key = tile.key_begin / side; key * side < tile.key_end; ++key) {
            for (Index row = tile.row_begin / side; row * side < row_end; ++row) {
                if (of.squares[square(row, key)] != first) return Cover::some;
            }
        }
        return first;
    }

private:
    static constexpr Index side = 16;

    struct Plane {
        std::vector<std::uint64_t> bits;  ///< for each key those of the queries, 64 to a word
        std::vector<Cover> squares;       ///< for each 16 keys those of 16 queries each

        Plane(const Shape& shape, std::vector<std::uint64_t>&& bits_) : bits(std::move(bits_)) {
            const Index words = (shape.queries + 63) / 64;
            for (Index key = 0; key < shape.keys; key += side) {
                for (Index row = 0; row < shape.queries; row += side) {
                    const Index rows = std::min(side, shape.queries - row), keys = std::min(side, shape.keys - key);
                    const std::uint64_t every = (std::uint64_t{1} << rows) - 1;
                    std::uint64_t any = 0, all = every;
                    for (Index j = key; j < key + keys; ++j) {
                        const std::uint64_t kept =
                            bits[static_cast<std::size_t>(j * words + row / 64)] >> (row % 64) & every;
                        any |= kept, all &= kept;
                    }
                    squares.push_back(any == 0 ? Cover::none : all == every ? Cover::all : Cover::some);
                }
            }
        }
    };

    /// A bit for each of `rows` rows, of which there are 64 at most.
    static std::uint64_t every(Index rows) { return rows == 0 ? 0 : ~std::uint64_t{0} >> (64 - rows); }
    /// What is kept of them for a key.
    std::uint64_t kept(const Plane& of, Index row, Index rows, Index key) const {
        const auto shift = static_cast<unsigned>(row % 64);
        std::uint64_t bits = of.bits[word(row, key)] >> shift;
        if (shift + static_cast<unsigned>(rows) > 64) bits |= of.bits[word(row + rows - 1, key)] << (64 - shift);
        return bits & every(rows);
    }

    Index words() const { return (shape_.queries + 63) / 64; }
    std::size_t word(Index row, Index key) const { return static_cast<std::size_t>(key * words() + row / 64); }
    std::size_t square(Index row, Index key) const {
        return static_cast<std::size_t>(key * ((shape_.queries + side - 1) / side) + row);
    }
    const Plane& plane(Index sequence, Index head) const {
        return *planes_[static_cast<std::size_t>(sequence * shape_.heads + head)];
    }

    Shape shape_;
    std::vector<std::shared_ptr<const Plane>> planes_;
};

/// `compiled(mask, shape)`: `scaled_dot_product >> compiled(mask([](Position p) { … }), {.queries = n, .keys = n})`.
template <Mask M>
CompiledMask compiled(const M& mask, const Shape& shape) {
    return CompiledMask(mask, shape);
}

}  // namespace attend
