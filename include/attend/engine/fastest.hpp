#pragma once
/// \file
/// The engine of an attention to which none was given.

#include <attend/engine/amx_split.hpp>
#include <attend/engine/bfloat16_quads.hpp>
#include <attend/engine/bfloat16_rows.hpp>
#include <attend/engine/bfloat16_tiles.hpp>
#include <attend/engine/rows.hpp>

namespace attend::inline ATTEND_ABI {

/// The fastest products that this build has: by packets, of a few queries by rows, and of floats by AMX where the build
/// and the machine have it.
struct Fastest
#if defined(ATTEND_AMX)
    : detail::AmxSplit
#endif
{
    static constexpr Kind kind = Kind::engine;
    auto spelled(const auto& say) const { return say(""); }  // as none is written
    static constexpr bool takes_lane_ranges = true;
    template <class T>
    static constexpr Index most_rows = detail::most_few_queries<T>;

    template <class T>
    void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c,
                  const ProductOptions<T>& options) const {
        detail::multiply(a, rows, depth, b, lanes, c, options);
    }
    template <class T, class Rows>
    void row_scores(const Rows& k, const T* q, Index count, T* s, const ScoreStrides& apart) const {
        detail::dot_rows(k, q, count, s, apart);
    }
    template <class T, class Rows>
    void add_row_values(const Rows& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor,
                        T* o) const {
        detail::add_rows(v, weights, count, apart, factor, o);
    }
};

namespace detail {

#if defined(ATTEND_AVX512_BF16)
#if defined(ATTEND_AMX)
using BFloat16Packed = BFloat16Tiles;
#else
using BFloat16Packed = BFloat16Pairs;
#endif

/// The same of operands of bfloat16.
struct FastestOfBFloat16 : Fastest, BFloat16Packed {
    using Held = RowBlock<Eigen::bfloat16>;
    using BFloat16Packed::least_keys, BFloat16Packed::packs, BFloat16Packed::packed_bytes, BFloat16Packed::pack,
        BFloat16Packed::pack_made, BFloat16Packed::multiply_packed;
    using Session = BFloat16Packed::Session;

    template <class T, class Rows>
    void row_scores(const Rows& k, const T* q, Index count, T* s, const ScoreStrides& apart) const {
        if constexpr (std::is_same_v<Rows, Held>) {
            dot_pairs(k, q, count, s, apart);
        } else {
            Fastest::row_scores(k, q, count, s, apart);
        }
    }
    template <class T, class Rows>
    void add_row_values(const Rows& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor,
                        T* o) const {
        if constexpr (std::is_same_v<Rows, Held>) {
            add_pairs(v, weights, count, apart, factor, o);
        } else {
            Fastest::add_row_values(v, weights, count, apart, factor, o);
        }
    }
};
inline constexpr FastestOfBFloat16 fastest_of_bfloat16{};
#elif defined(ATTEND_ARM_BF16)
/// The same of operands of bfloat16.
struct FastestOfBFloat16 : Fastest, BFloat16Quads {};
inline constexpr FastestOfBFloat16 fastest_of_bfloat16{};
#endif

/// The engine by which a forward call multiplies operands of X, of an attention that was given E. `as_they_are`: what
/// is multiplied are queries and keys themselves.
template <class E, class X, bool as_they_are>
const auto& forward_engine(const E& engine) {
#if defined(ATTEND_AVX512_BF16) || defined(ATTEND_ARM_BF16)
    if constexpr (as_they_are && std::is_same_v<E, Fastest> && std::is_same_v<X, Eigen::bfloat16>) {
        return fastest_of_bfloat16;
    } else
#endif
    {
        return engine;
    }
}

}  // namespace detail
}  // namespace attend
