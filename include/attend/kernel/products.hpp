#pragma once
/// \file
/// The products of a block of lanes, by whatever makes them fastest.

#include <attend/kernel/split_product.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Makes the products of a block of lanes: of the parts of the operands where that is faster, or by packets.
template <class T>
class Products {
public:
#if defined(ATTEND_AMX)
    static constexpr bool have_parts = std::is_same_v<T, float>;
#else
    static constexpr bool have_parts = false;
#endif
    /// Whether products with features of these widths are made faster of parts.
    static bool go_by_parts(Index width, Index d_v) {
        return have_parts && std::min(width, d_v) > amx::tile_rows && amx::available();
    }

    /// So few keys as may be left for the last tile go by packets: tiles would be all but empty.
    static constexpr Index least_keys = amx::tile_rows;

    explicit Products(bool by_parts) : by_parts_(by_parts) {}

    bool by_parts() const { return by_parts_; }
    bool by_parts(Index keys) const { return by_parts_ && keys >= least_keys; }

    /// Splits A (rows × depth) or B (depth × lanes) into `parts` if products go by them, and it is not split yet.
    template <class Operand>
    void prepare([[maybe_unused]] Operand& operand, [[maybe_unused]] Index rows, [[maybe_unused]] Index columns,
                 [[maybe_unused]] std::byte* parts) const {
#if defined(ATTEND_AMX)
        if constexpr (std::is_same_v<T, float>) {
            if (by_parts_ && operand.split == nullptr) split_into(operand, rows, columns, parts);
        }
#endif
    }

    /// C (rows × lanes) = factor ∘ C + A (rows × depth) · B (depth × lanes), by parts if both operands are split.
    static void multiply(const RowOperand<T>& a, Index rows, Index depth, const LaneOperand<T>& b, Index lanes, T* c,
                         const TileOptions<T>& options = {}) {
#if defined(ATTEND_AMX)
        if constexpr (std::is_same_v<T, float>) {
            if (a.split != nullptr && b.split != nullptr) return multiply_split(a, rows, depth, b, lanes, c, options);
        }
#endif
        detail::multiply(a.matrix, rows, depth, b.data, lanes, c, options);
    }

private:
    bool by_parts_;
};

}  // namespace attend::detail
