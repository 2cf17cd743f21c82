#pragma once
/// \file
/// The products of a block of lanes, by its attention's engine: what that has not, is done without.

#include <attend/core/workspace.hpp>
#include <attend/engine/engine.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What a block whose operands are not packed has for a session, and so has one of an engine that packs nothing.
struct NoSession {};

/// The memory of packed operands, of whatever engine; none where nothing is packed.
struct PackedMemory {
    Index (*bytes)(Index lines, Index depth) = nullptr;

    explicit operator bool() const { return bytes != nullptr; }
    std::byte* take(Arena& arena, Index lines, Index depth) const {
        return bytes == nullptr ? nullptr : arena.take<std::byte>(bytes(lines, depth));
    }
};

template <class T, class E>
class Products {
public:
    static constexpr bool can_pack = PackingEngine<E, T>;
    /// So many queries of a head are few. However many heads share their keys: the bits of a head do not depend on
    /// those beside it.
    static constexpr Index most_rows = [] {
        if constexpr (RowEngine<E, T>) {
            return E::template most_rows<T>;
        } else {
            return Index(0);
        }
    }();

    /// That of an engine that packs features of these widths.
    static PackedMemory packed_memory([[maybe_unused]] Index width, [[maybe_unused]] Index d_v) {
        if constexpr (can_pack) {
            if (E::packs(width, d_v))
                return {[](Index lines, Index depth) { return Index(E::packed_bytes(lines, depth)); }};
        }
        return {};
    }

    Products(const E& engine_, bool packs) : engine(engine_), packs_(can_pack && packs) {}

    const E& engine;

    bool packs() const { return packs_; }
    /// Whether the products of a tile of so many keys are of packed operands.
    bool packs([[maybe_unused]] Index keys) const {
        if constexpr (can_pack) return packs_ && keys >= E::least_keys;
        return false;
    }
    /// To be held while products of packed operands are made.
    auto session() const {
        if constexpr (can_pack) {
            return typename E::Session(packs_);
        } else {
            return NoSession();
        }
    }

    /// Packs A (rows × depth) or B (depth × lanes) into `memory` if that shall be, and it is not packed yet.
    template <class Operand>
    void prepare([[maybe_unused]] Operand& operand, [[maybe_unused]] Index rows, [[maybe_unused]] Index columns,
                 [[maybe_unused]] std::byte* memory) const {
        if constexpr (can_pack) {
            if (packs_ && operand.packed == nullptr) engine.pack(operand, rows, columns, memory);
        }
    }

    /// Whether keys and values held as `Rows` are packed as they are, where operands are packed.
    template <class Rows>
    static constexpr bool can_pack_held = PacksHeldRows<E, T, Rows>;

    /// C (rows × lanes) = factor ∘ C + A (rows × depth) · B (depth × lanes), of packed operands if both are.
    void multiply(const RowOperand<T>& a, Index rows, Index depth, const LaneOperand<T>& b, Index lanes, T* c,
                  const ProductOptions<T>& options = {}) const {
        if constexpr (can_pack) {
            if (a.packed != nullptr && b.packed != nullptr)
                return engine.multiply_packed(a, rows, depth, b, lanes, c, options);
        }
        engine.multiply(a.matrix, rows, depth, b.data, lanes, c, options);
    }
    /// The same of a range of lanes, where products are not packed and the engine takes such, or of all.
    template <class Range>
    void multiply(const RowOperand<T>& a, Index rows, Index depth, const LaneOperand<T>& b, Index lanes,
                  const Range& range, T* c, ProductOptions<T> options = {}) const {
        if constexpr (LaneRangeEngine<E, T>) {
            if (range.count() != lanes) {
                options.apart = lanes;
                if (options.factor != nullptr) options.factor += range.begin;
                if (options.largest != nullptr) options.largest += range.begin;
                return engine.multiply(a.matrix, rows, depth, b.data + range.begin, range.count(), c + range.begin,
                                       options);
            }
        }
        multiply(a, rows, depth, b, lanes, c, options);
    }
    /// For queries that are few: see `RowEngine`.
    template <class Rows = RowBlock<T>>
    void row_scores([[maybe_unused]] const Rows& k, [[maybe_unused]] const T* q, [[maybe_unused]] Index count,
                    [[maybe_unused]] T* s, [[maybe_unused]] const ScoreStrides& apart) const {
        if constexpr (RowEngine<E, T>) engine.row_scores(k, q, count, s, apart);
    }
    template <class Rows = RowBlock<T>>
    void add_row_values([[maybe_unused]] const Rows& v, [[maybe_unused]] const T* weights, [[maybe_unused]] Index count,
                        [[maybe_unused]] const ScoreStrides& apart, [[maybe_unused]] const T* factor,
                        [[maybe_unused]] T* o) const {
        if constexpr (RowEngine<E, T>) engine.add_row_values(v, weights, count, apart, factor, o);
    }

private:
    bool packs_;
};

}  // namespace attend::detail
