#pragma once
/// \file
/// Neighbourhoods on a grid: tokens of an image or a volume see those around them.

#include <algorithm>
#include <cstdint>
#include <utility>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>

namespace attend::inline ATTEND_ABI {

/// How many along each axis of a grid of tokens; an image has no depth.
struct GridSize {
    Index rows = 1, columns = 1, depth = 1;  ///< tokens
};

/// How far along each axis.
struct GridRadius {
    Index rows = 0, columns = 0, depth = 0;  ///< tokens on either side
};

/// What becomes of a window that reaches over the edge of its grid.
enum class Border {
    cut,   ///< what lies outside is missing: a token near the edge sees fewer keys
    shift  ///< it is moved inward, so that every token sees as many: neighbourhood attention's own (Hassani 2023)
};

namespace detail {

/// One axis of a grid: which places along it see which. Windows follow each other without a gap.
struct NeighbourhoodAxis {
    Index size, radius;
    bool shifts;

    constexpr Index begin(Index x) const {
        return std::max<Index>(0, shifts ? std::min(x - radius, size - width()) : x - radius);
    }
    constexpr Index end(Index x) const {
        return std::min(size, shifts ? std::max(x + radius + 1, width()) : x + radius + 1);
    }
    constexpr bool sees(Index x, Index y) const { return begin(x) <= y && y < end(x); }
    /// The places that see one.
    constexpr Index first_seer(Index y) const { return shifts && y < width() ? 0 : std::max<Index>(0, y - radius); }
    constexpr Index end_of_seers(Index y) const {
        return shifts && y >= size - width() ? size : std::min(size, y + radius + 1);
    }

private:
    constexpr Index width() const { return 2 * radius + 1; }
};

}  // namespace detail

/// Keeps the keys whose distance from the query is at most a radius along each axis of a grid. Its tokens stand at the
/// positions from 0 on, row by row, and plane by plane; what stands elsewhere sees nothing and is not seen. A query
/// sees keys in O(1), a tile's cover takes a step for each of its rows of the grid.
class Neighbourhood {
public:
    static constexpr Kind kind = Kind::mask;

    /// What `neighbourhood(…)` makes; throws where it would.
    Neighbourhood(const GridSize& grid, const GridRadius& radius, Border border)
        : planes_{grid.depth, radius.depth, border == Border::shift},
          rows_{grid.rows, radius.rows, border == Border::shift},
          columns_{grid.columns, radius.columns, border == Border::shift} {
        constexpr Index most = Index(1) << 31;
        const auto [rows, columns, depth] = grid;
        detail::require(rows > 0 && columns > 0 && depth > 0 && rows < most && columns < most / rows &&
                            depth < most / (rows * columns),
                        "neighbourhood: a grid must have tokens along each axis and fewer than 2^31 in all, got ", rows,
                        " rows, ", columns, " columns and a depth of ", depth);
        detail::require(radius.rows >= 0 && radius.columns >= 0 && radius.depth >= 0,
                        "neighbourhood: radii must be at least 0, got ", radius.rows, " rows, ", radius.columns,
                        " columns and a depth of ", radius.depth);
    }

    auto spelled(const auto& say) const {
        const auto along = [&](Index rows, Index columns, Index depth, Index flat) {
            return say.record("", say.field(true, "rows", rows), say.field(true, "columns", columns),
                              say.field(depth != flat, "depth", depth));
        };
        return say("neighbourhood", along(rows_.size, columns_.size, planes_.size, 1),
                   along(rows_.radius, columns_.radius, planes_.radius, 0), rows_.shifts ? "Border::shift" : "");
    }
    bool operator()(const Position& p) const { return seers(p.query, 1, p.key) != 0; }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        if (!detail::are_tile(p))
            return LaneMask<T>::each([&](Index lane) { return (*this)(detail::scalar_position(p, lane)); });
        return LaneMask<T>(detail::simd::mask_of_bits<T>(seers(p.query.first, p.query.count, p.key)));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        std::uint64_t bits = 0;
        for_each_run({.query = p.query}, {p.key.first, p.key.first + p.key.count}, [&](const KeySpan& run) {
            bits |= ~std::uint64_t{0} >> (64 - (run.end - run.begin)) << (run.begin - p.key.first);
        });
        return LaneMask<T>(detail::simd::mask_of_bits<T>(bits));
    }
    Cover cover(const Tile& t) const {
        bool any = false, all = t.query_begin >= 0 && t.query_end <= size() && t.key_end <= size();
        for_each_piece(t.query_begin, t.query_end, [&](const Piece& q) {
            for_each_piece(t.key_begin, t.key_end, [&](const Piece& k) {
                const bool meets = sees(q, k);
                any = any || (meets && columns_.begin(q.begin) < k.end && k.begin < columns_.end(q.end - 1));
                all = all && meets && columns_.begin(q.end - 1) <= k.begin && k.end <= columns_.end(q.begin);
                return all || !any;
            });
            return all || !any;
        });
        return all ? Cover::all : any ? Cover::some : Cover::none;
    }
    template <class F>
    void for_each_run(const RowPosition& row, const KeySpan& keys, F&& f) const {
        for_each_piece(row.query, row.query + 1, [&](const Piece& q) {
            const Index begin = columns_.begin(q.begin), end = columns_.end(q.begin);
            for (Index plane = planes_.begin(q.plane); plane < planes_.end(q.plane); ++plane) {
                for (Index line = rows_.begin(q.row); line < rows_.end(q.row); ++line) {
                    const Index first = position(plane, line, 0);
                    const KeySpan run{std::max(first + begin, keys.begin), std::min(first + end, keys.end)};
                    if (!run.empty()) f(run);
                }
            }
            return true;
        });
    }

private:
    /// Columns of one line of the grid, and where the first of them stands.
    struct Piece {
        Index plane, row, begin, end, first;
    };

    Index size() const { return planes_.size * rows_.size * columns_.size; }
    Index position(Index plane, Index row, Index column) const {
        return (plane * rows_.size + row) * columns_.size + column;
    }
    bool sees(const Piece& query, const Piece& key) const {
        return rows_.sees(query.row, key.row) && planes_.sees(query.plane, key.plane);
    }
    /// Calls `f(piece)` for the positions from `begin` to `end` that are the grid's, line by line, while it returns
    /// true.
    template <class F>
    void for_each_piece(Index begin, Index end, F&& f) const {
        begin = std::max<Index>(begin, 0), end = std::min(end, size());
        if (begin >= end) return;
        // 32 bits hold them, and divide in half the time.
        const auto first = static_cast<std::uint32_t>(begin), columns = static_cast<std::uint32_t>(columns_.size),
                   rows = static_cast<std::uint32_t>(rows_.size), line = first / columns, plane = line / rows;
        Piece piece{Index(plane), Index(line - plane * rows), Index(first - line * columns), 0, begin};
        for (;;) {
            piece.end = std::min(columns_.size, piece.begin + end - piece.first);
            if (!f(std::as_const(piece))) return;
            piece.first += piece.end - piece.begin;
            if (piece.first == end) return;
            piece.begin = 0;
            if (++piece.row == rows_.size) piece.row = 0, ++piece.plane;
        }
    }
    /// Which of `count` queries, up to 64, see a key: a bit each.
    std::uint64_t seers(Index query, Index count, Index key) const {
        std::uint64_t bits = 0;
        for_each_piece(key, key + 1, [&](const Piece& k) {
            const Index from = columns_.first_seer(k.begin), to = columns_.end_of_seers(k.begin);
            for_each_piece(query, query + count, [&](const Piece& q) {
                const Index begin = std::max(from, q.begin), end = std::min(to, q.end);
                if (sees(q, k) && begin < end)
                    bits |= ~std::uint64_t{0} >> (64 - (end - begin)) << (q.first - query + begin - q.begin);
                return true;
            });
            return true;
        });
        return bits;
    }

    detail::NeighbourhoodAxis planes_, rows_, columns_;
};

/// `neighbourhood({.rows = 64, .columns = 64}, {.rows = 3, .columns = 3})`: 7 × 7 tokens around each of an image. The
/// second are radii; that of the depth is 0 unless it is given. Throws unless the grid has a token and fewer than 2^31,
/// and no radius is negative; where windows shift, unless they fit into the grid.
inline Neighbourhood neighbourhood(const GridSize& grid, const GridRadius& radius, Border border = Border::cut) {
    return {grid, radius, border};
}

}  // namespace attend
