#pragma once
/// \file
/// The mask of an attention that stands in another object of the program, as boundary.hpp describes it.

#include <algorithm>
#include <span>
#include <variant>

#include <attend/core/concepts.hpp>
#include <attend/core/lanes.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/dispatch/one_of.hpp>
#include <attend/mask/algebra.hpp>
#include <attend/mask/causal.hpp>
#include <attend/mask/documents.hpp>
#include <attend/mask/lengths.hpp>
#include <attend/mask/sliding_window.hpp>

namespace attend::inline ATTEND_ABI::detail {

inline std::span<const Index> span_of(const boundary::Indices& indices) {
    return {indices.first, static_cast<std::size_t>(indices.count)};
}
/// A causal mask and a window are one band, −right ≤ query − key ≤ left.
inline SlidingWindow band_of(const boundary::Mask& given) {
    SlidingWindow band = given.window ? SlidingWindow{given.left, given.right} : SlidingWindow{};
    if (given.causal) band.right = std::min<Index>(band.right, 0);
    return band;
}

/// A mask of which each part may be there or not, and is asked for where it is.
struct MixedMask {
    static constexpr Kind kind = Kind::mask;

    const boundary::Mask* given;
    SlidingWindow band;
    DocumentOffsets documents;
    SequenceLengths lengths;

    explicit MixedMask(const boundary::Mask& mask)
        : given(&mask), band(band_of(mask)), documents{span_of(mask.documents)}, lengths{span_of(mask.lengths)} {}

    bool operator()(const Position& p) const {
        if (!band(p)) return false;
        if (has_documents() && !documents(p)) return false;
        if (has_lengths() && !lengths(p)) return false;
        if (given->dense != nullptr && !given->dense[p.key * given->dense_rows + p.row]) return false;
        bool kept = true;
        if (given->other != nullptr) ask(p, 0, 0, 0, 1, &kept);
        return kept;
    }
    template <PackPosition P>
    ATTEND_NOINLINE LaneMask<PositionScalar<P>> operator()(const P& p) const {
        using C = PositionScalar<P>;
        LaneMask<C> kept = band(p);
        if (has_documents()) kept = kept & documents(p);
        if (has_lengths()) kept = kept & lengths(p);
        if (given->dense != nullptr) kept = kept & dense<C>(p);
        if (given->other != nullptr) kept = kept & other<C>(p);
        return kept;
    }
    ATTEND_NOINLINE Cover cover(const Tile& t) const {
        Cover all = band.cover(t);
        const auto add = [&all](Cover more) {
            if (more != Cover::all) all = more;
            return all == Cover::none;
        };
        if (all == Cover::none || (has_documents() && add(documents.cover(t))) ||
            (has_lengths() && add(lengths.cover(t))))
            return Cover::none;
        if (given->dense != nullptr) all = Cover::some;
        if (given->other == nullptr) return all;
        const boundary::Tile tile{t.query_begin, t.query_end, t.key_begin, t.key_end,
                                  t.row_begin,   t.head,      t.kv_head,   t.sequence};
        add(static_cast<Cover>(given->cover(given->other, &tile)));
        return all;
    }

private:
    bool has_documents() const { return !documents.offsets.empty(); }
    bool has_lengths() const { return !lengths.length.empty(); }
    void ask(const Position& p, Index query_step, Index row_step, Index key_step, Index count, bool* kept) const {
        const boundary::Position first{p.query, p.key, p.row, p.head, p.kv_head, p.sequence};
        given->keep(given->other, &first, query_step, row_step, key_step, count, kept);
    }
    template <class C>
    LaneMask<C> other(const LanePosition<C>& p) const {
        bool kept[simd::width<C>];
        ask(scalar_position(p, 0), p.query.step, 1, 0, pairs_of(p), kept);
        return LaneMask<C>::of(kept, pairs_of(p));
    }
    template <class C>
    LaneMask<C> other(const KeyLanePosition<C>& p) const {
        bool kept[simd::width<C>];
        ask(scalar_position(p, 0), 0, 0, 1, pairs_of(p), kept);
        return LaneMask<C>::of(kept, pairs_of(p));
    }
    template <class C>
    LaneMask<C> dense(const LanePosition<C>& p) const {
        return LaneMask<C>::of(given->dense + p.key * given->dense_rows + p.row.first, p.row.count);
    }
    template <class C>
    LaneMask<C> dense(const KeyLanePosition<C>& p) const {
        const bool* const first = given->dense + p.key.first * given->dense_rows + p.row;
        return LaneMask<C>::each([&](Index lane) { return lane < p.key.count && first[lane * given->dense_rows]; });
    }
};

/// Keeps what all masks of the description keep. Kernels ask which it is once for many pairs (parts/final_scores.hpp),
/// so that these meet the code that a mask alone, or a band with one beside it, would have.
class ForeignMask {
public:
    static constexpr Kind kind = Kind::mask;

    explicit ForeignMask(const boundary::Mask& mask) : chosen_(MixedMask(mask)) {
        if (mask.dense != nullptr || mask.other != nullptr) return;
        const bool banded = mask.causal || mask.window;
        if (mask.documents.count > 0 && mask.lengths.count > 0) return;
        if (mask.documents.count > 0) {
            choose(banded, band_of(mask), DocumentOffsets{span_of(mask.documents)});
        } else if (mask.lengths.count > 0) {
            choose(banded, band_of(mask), SequenceLengths{span_of(mask.lengths)});
        } else if (mask.causal && !mask.window) {
            chosen_ = causal;
        } else {
            chosen_ = band_of(mask);
        }
    }

    bool operator()(const Position& p) const {
        bool kept = false;
        with([&](const auto& mask) { kept = mask(p); });
        return kept;
    }
    Cover cover(const Tile& t) const {
        Cover all = Cover::some;
        with([&](const auto& mask) { all = mask.cover(t); });
        return all;
    }

    /// Calls `f(mask)`.
    template <class F>
    ATTEND_ALWAYS_INLINE void with(F&& f) const {
        with_chosen(chosen_, f);
    }

private:
    template <class Mask>
    using Beside = MaskAnd<SlidingWindow, Mask>;

    template <class Mask>
    void choose(bool banded, const SlidingWindow& band, const Mask& mask) {
        if (banded) {
            chosen_ = Beside<Mask>{band, mask};
        } else {
            chosen_ = mask;
        }
    }

    std::variant<Causal, SlidingWindow, DocumentOffsets, SequenceLengths, Beside<DocumentOffsets>,
                 Beside<SequenceLengths>, MixedMask>
        chosen_;
};

}  // namespace attend::detail
