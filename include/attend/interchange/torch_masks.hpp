#pragma once
/// \file
/// PyTorch's masks of `nn.MultiheadAttention`. In its boolean masks true means absent, where attend's say what to keep:
/// what goes in by these names has PyTorch's meaning.

#include <limits>
#include <type_traits>

#include <attend/core/concepts.hpp>
#include <attend/core/errors.hpp>
#include <attend/core/lanes.hpp>
#include <attend/core/view.hpp>
#include <attend/mask/algebra.hpp>
#include <attend/mask/dense.hpp>
#include <attend/modifier/bias.hpp>

namespace attend::inline ATTEND_ABI {

/// Hides keys, whatever the query: those of a batch whose entry is true.
struct TorchKeyPaddingMask {
    static constexpr Kind kind = Kind::mask;

    RowMatrix<bool> absent;  ///< sequences × keys; of sequences that are shorter the first ones

    auto spelled(const auto& say) const { return say("torch_key_padding_mask", absent); }

    void check(const Shape& shape) const {
        detail::require(absent.rows() == shape.sequences && absent.cols() == shape.keys,
                        detail::named("key_padding_mask", absent.rows(), absent.cols()), " must be ", shape.sequences,
                        "x", shape.keys, ": a row a sequence, a column a key");
    }
    bool operator()(const Position& p) const { return !absent(p.sequence, p.key); }
    template <class T>
    LaneMask<T> operator()(const LanePosition<T>& p) const {
        return LaneMask<T>(!absent(p.sequence, p.key));
    }
    template <class T>
    LaneMask<T> operator()(const KeyLanePosition<T>& p) const {
        const bool* const first = &absent(p.sequence, p.key.first);
        return !LaneMask<T>::of(first, p.key.count);
    }
    Cover cover(const Tile& tile) const {
        const auto keys = absent.row(tile.sequence).segment(tile.key_begin, tile.key_end - tile.key_begin);
        return keys.all() ? Cover::none : keys.any() ? Cover::some : Cover::all;
    }
};

/// `key_padding_mask`: sequences × keys, true where a key is absent. Copied.
template <detail::Dense X>
TorchKeyPaddingMask torch_key_padding_mask(const X& absent) {
    constexpr bool boolean = std::is_same_v<typename X::Scalar, bool>;
    static_assert(boolean, "attend: torch_key_padding_mask takes booleans, true where a key is absent");
    if constexpr (boolean) {
        return {absent.matrix()};
    } else {
        return {};
    }
}

/// Adds a matrix to the scores that does not train.
template <class T>
struct TorchAddedMask {
    static constexpr Kind kind = Kind::modifier;

    RowMatrix<T> values;  ///< n_q × n_kv, for all heads and sequences

    auto spelled(const auto& say) const { return say("torch_attn_mask", values); }

    void check(const Shape& shape) const {
        detail::require(values.rows() == shape.queries && values.cols() == shape.keys,
                        detail::named("attn_mask", values.rows(), values.cols()), " must be ", shape.queries, "x",
                        shape.keys, ": a row a query, a column a key");
    }
    auto operator()(auto s, const Position& p) const { return s + decltype(s)(values(p.row, p.key)); }
};

namespace detail {

template <class T>
consteval bool is_torch_mask() {
    constexpr bool known = std::is_same_v<T, bool> || !std::numeric_limits<Compute<T>>::is_integer;
    static_assert(known,
                  "attend: torch_attn_mask takes booleans, true where a pair is absent, or floating-point numbers that "
                  "are added to the scores: which of both are these integers?");
    return known;
}

}  // namespace detail

/// `attn_mask` for all heads and sequences, n_q × n_kv, copied: a mask of booleans, true where a pair is absent, which
/// stands where masks do; or a modifier of numbers that are added to the scores, −∞ where a pair is absent.
template <detail::Dense X>
auto torch_attn_mask(const X& mask) {
    using T = typename X::Scalar;
    if constexpr (!detail::is_torch_mask<T>()) {
        return;
    } else if constexpr (std::is_same_v<T, bool>) {
        return dense_mask(!mask.array());
    } else {
        return TorchAddedMask<T>{mask.matrix()};
    }
}
/// The same in PyTorch's memory, which must outlive the attention's calls: `strided(p, {sequences, heads, n_q, n_kv},
/// {…})`, where a size of 1 serves all.
template <class T>
auto torch_attn_mask(const StridedView<T>& mask) {
    if constexpr (!detail::is_torch_mask<std::remove_const_t<T>>()) {
        return;
    } else if constexpr (std::is_same_v<std::remove_const_t<T>, bool>) {
        return ~dense_mask(mask);
    } else {
        return bias(mask);
    }
}

}  // namespace attend
