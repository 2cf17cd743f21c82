#pragma once
/// \file
/// Who multiplies. A kernel's time goes into four products of tiles, the scores q · kᵀ, the weighted values, and both
/// ways of each backward; an engine makes them, and knows nothing of attention.
///
/// `scaled_dot_product >> causal >> MyEngine{}` has them made by an engine of your own. One is a plain value with
/// `static constexpr Kind kind = Kind::engine` and
///
///     void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c,
///                   const ProductOptions<T>& options) const;
///
/// which keeps these laws, and is called by several threads at a time:
/// - C = factor ∘ C + A · B. A is rows × depth, read through its strides; B, depth × lanes, and C, rows × lanes, are
/// row
///   after row. `lanes` is a multiple of the packet's width, all else may be 0.
/// - It is as exact as a sum of `depth` products in T, of which what stood in C is added last.
/// - An element's bits depend on its row of A and its lane of B alone: not on the rows and lanes beside them, nor on
///   their number.
/// - NaN and infinities go where arithmetic takes them, and no further.
/// - Nothing else is written than C and `largest`, and nothing else read than A, B and `factor`, and C where there is a
///   factor.
///
/// What it may have besides, as `Fastest` does: operands packed before they are multiplied (`PackingEngine`), and
/// products of a few rows (`RowEngine`).

#include <concepts>
#include <cstddef>

#include <attend/core/concepts.hpp>
#include <attend/core/read_ahead.hpp>
#include <attend/core/simd.hpp>
#include <attend/core/tiles.hpp>

namespace attend::inline ATTEND_ABI {

/// Where a product starts from and what else it reports.
template <class T>
struct ProductOptions {
    const T* factor = nullptr;           ///< by lane: factor ∘ C is added; none: nothing
    const T* start = nullptr;            ///< of `detail::multiply` alone, by lane: added instead
    T* largest = nullptr;                ///< by lane: raised to the largest result
    T scale = 1;                         ///< of packed operands: times the product
    Index apart = 0;                     ///< how far rows of B and rows of C are from each other; 0: `lanes`
    detail::ReadAhead* ahead = nullptr;  ///< what to ask for by the way
};

/// An engine that multiplies in T.
template <class E, class T>
concept EngineOf =
    OfKind<E, Kind::engine> && requires(const E& e, const StridedMatrix<T>& a, Index n, const T* b, T* c,
                                        const ProductOptions<T>& options) { e.multiply(a, n, n, b, n, c, options); };

/// One that has whole calls made elsewhere: it says `makes_calls = true`, and has
/// - `void forward(attention, problem, Output<X>& out, ForwardOptions<T>& options) const`,
/// - `void forward(attention, problem, source, Output<X>& out, ForwardOptions<T>& options) const`,
/// - `void backward(attention, problem, inputs, dq, dk, dv, options, writes) const`, as `run_backward` takes them,
/// - `std::size_t workspace_bytes<X>(attention, shape, workers, pass) const`, and
/// - `std::size_t source_workspace_bytes<X>(attention, shape, workers) const`,
/// which are given what has been checked, outputs but for their memory.
template <class E>
concept CallEngine = requires { requires E::makes_calls; };

/// One that multiplies some lanes of its operands, whose rows are `options.apart` from each other then: it says
/// `takes_lane_ranges = true`. Others are never given that.
template <class E, class T>
concept LaneRangeEngine = EngineOf<E, T> && requires { requires E::takes_lane_ranges; };

/// A (rows × depth) of a product, as it is and, where an engine packs, as it packed it.
template <class T>
struct RowOperand {
    StridedMatrix<T> matrix;                ///< as it is
    const std::byte* packed = nullptr;      ///< as it was packed, if it was
    bool finite = true;                     ///< what is not finite counts as 0 in what is packed
    Index packed_row = 0, packed_step = 0;  ///< how far what is packed stands apart, in bytes, if the engine says so
};
/// B (depth × lanes) likewise.
template <class T>
struct LaneOperand {
    T* data;                            ///< row after row
    const std::byte* packed = nullptr;  ///< as it was packed, if it was
    bool finite = true;                 ///< as above
};

/// An engine that multiplies operands in a form of its own, which it makes of each once: that pays where several blocks
/// of queries read the same keys. `E::Session session(bool)` stands around the products of a block. `pack` writes to
/// `to` and sets `packed`; and `finite`, where it left out what is not, which `multiply_packed` then adds by itself.
template <class E, class T>
concept PackingEngine = EngineOf<E, T> && requires(const E& e, RowOperand<T>& a, LaneOperand<T>& b, Index n,
                                                   std::byte* to, T* c, const ProductOptions<T>& options) {
    typename E::Session;
    { E::packs(n, n) } -> std::same_as<bool>;                 // features of these widths, on this machine
    { E::packed_bytes(n, n) } -> std::convertible_to<Index>;  // of so many rows or lanes, and their depth
    { E::least_keys } -> std::convertible_to<Index>;          // of fewer, products of a tile go unpacked
    e.pack(a, n, n, to);
    e.pack(b, n, n, to);
    e.multiply_packed(a, n, n, b, n, c, options);
};

/// One whose packed operands are rounded. A factor of the queries that would not leave them their bits is applied to
/// the products then.
template <class E>
concept RoundingEngine = requires { requires E::rounds; };

/// One that also packs keys (A: keys × width) and values (A: d_v × keys) from rows as they are held, which it need not
/// be given in T then. False, and nothing done, where it does not.
template <class E, class T, class Rows>
concept PacksHeldRows = PackingEngine<E, T> && requires(const E& e, RowOperand<T>& a, const Rows& rows, std::byte* to) {
    { e.pack_held_keys(a, rows, to) } -> std::same_as<bool>;
    { e.pack_held_values(a, rows, to) } -> std::same_as<bool>;
};

/// One that also packs a B while it is made, a packet of lanes at a time: `make(k)` gives row k from `lane` on, and the
/// sum of the rows is returned.
template <class E, class T>
concept PacksWhatIsMade =
    PackingEngine<E, T> && requires(const E& e, Index n, detail::simd::Packet<T> (&make)(Index), std::byte* to) {
        { e.pack_made(n, n, make, to) } -> std::same_as<detail::simd::Packet<T>>;
    };

/// How far the scores of one query stand from those of the next, and those of one key from the next's.
struct ScoreStrides {
    Index query, key;  ///< in elements
};

/// An engine that has products for `most_rows<T>` queries of a head or fewer, whose features stand in lanes then: the
/// score of query i and key j is k_j · q_i, by `row_scores`; o_i = factor_i · o_i + Σ_j weight(i, j) · v_j, by
/// `add_row_values`.
template <class E, class T>
concept RowEngine = EngineOf<E, T> && requires(const E& e, const RowBlock<T>& rows, const T* x, Index count, T* to,
                                               const ScoreStrides& apart) {
    { E::template most_rows<T> } -> std::convertible_to<Index>;
    e.row_scores(rows, x, count, to, apart);
    e.add_row_values(rows, x, count, apart, x, to);
};
/// One that also takes rows as they are held in fewer bits, `RowBlock<S>` or `ScaledRows<S>`, and widens them itself.
template <class Rows, class E, class T>
concept WidenedBy = RowEngine<E, T> &&
                    requires(const E& e, const Rows& rows, const T* x, Index count, T* to, const ScoreStrides& apart) {
                        e.row_scores(rows, x, count, to, apart);
                        e.add_row_values(rows, x, count, apart, x, to);
                    };

}  // namespace attend
