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
/// The same of queries that are bfloat16: a few of them are multiplied by pairs with rows that are held as such.
struct PairedRowsOfFew : Fastest {
    static constexpr bool rounds = true;

    template <class T, class Rows>
    void row_scores(const Rows& k, const T* q, Index count, T* s, const ScoreStrides& apart) const {
        if constexpr (PairedRows<Rows>) {
            dot_pairs(k, q, count, s, apart);
        } else {
            Fastest::row_scores(k, q, count, s, apart);
        }
    }
    template <class T, class Rows>
    void add_row_values(const Rows& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor,
                        T* o) const {
        if constexpr (PairedRows<Rows>) {
            add_pairs(v, weights, count, apart, factor, o);
        } else {
            Fastest::add_row_values(v, weights, count, apart, factor, o);
        }
    }
};
inline constexpr PairedRowsOfFew paired_rows_of_few{};

#if defined(ATTEND_AMX)
using BFloat16Packed = BFloat16Tiles;
#else
using BFloat16Packed = BFloat16Pairs;
#endif
/// The same of operands of bfloat16, keys and values too, which are packed for many queries.
struct FastestOfBFloat16 : PairedRowsOfFew, BFloat16Packed {
    using BFloat16Packed::least_keys, BFloat16Packed::packs, BFloat16Packed::packed_bytes, BFloat16Packed::pack,
        BFloat16Packed::pack_made, BFloat16Packed::multiply_packed;
    using Session = BFloat16Packed::Session;
    static constexpr bool rounds = true;
};
inline constexpr FastestOfBFloat16 fastest_of_bfloat16{};
#elif defined(ATTEND_ARM_BF16)
/// The same of operands of bfloat16.
struct FastestOfBFloat16 : Fastest, BFloat16Quads {};
inline constexpr FastestOfBFloat16 fastest_of_bfloat16{};
#endif

/// The engine by which a forward call multiplies queries of X with what `Held` are, rows of keys and values: of an
/// attention that was given E, whose score multiplies queries and keys themselves. `as_they_are`: these are operands
/// of X too.
template <class E, class X, class Held, bool as_they_are>
const auto& forward_engine(const E& engine) {
#if defined(ATTEND_AVX512_BF16) || defined(ATTEND_ARM_BF16)
    constexpr bool rounded = std::is_same_v<E, Fastest> && std::is_same_v<X, Eigen::bfloat16>;
    if constexpr (rounded && as_they_are) {
        return fastest_of_bfloat16;
    } else
#endif
#if defined(ATTEND_AVX512_BF16) && !defined(ATTEND_AMX)  // whose parts of floats are not rounded
        if constexpr (rounded && PairedRows<Held>) {
            return paired_rows_of_few;
        } else
#endif
        {
            return engine;
        }
}

}  // namespace detail
}  // namespace attend
