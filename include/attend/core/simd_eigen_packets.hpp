#pragma once
/// \file
/// Packets as Eigen has them, for SSE2, AVX2, AVX-512, NEON and others in Eigen 3.4 and 5 alike, and what a processor
/// does with them in an instruction or two; the only header that names Eigen::internal.
///
/// Where Eigen does not vectorise a type (long double, or EIGEN_DONT_VECTORIZE) its packet is the scalar itself, of
/// width 1.

#include <cstddef>
#include <type_traits>

#include <attend/core/repeat.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail::simd {

/// The packet of a scalar type, and its scalars' number.
template <class T>
struct PacketOf : Eigen::internal::packet_traits<T> {};
template <class T>
using Packet = typename PacketOf<T>::type;

template <class T>
inline constexpr Index width = PacketOf<T>::size;

/// Those of the standard library are missing from libc++ before version 14.
template <class To, class From>
constexpr To bit_cast(const From& from) {
    return __builtin_bit_cast(To, from);
}

/// The scalar type of a packet.
template <class P>
struct PacketScalarOf {
    using type = typename Eigen::internal::unpacket_traits<P>::type;
};
template <class P>
using PacketScalar = typename PacketScalarOf<P>::type;

/// Whether P is the packet of so many bytes of T: for what only some processors have.
template <class P, class T, int bytes>
inline constexpr bool is_packet = sizeof(P) == bytes && std::is_same_v<PacketScalar<P>, T>;

template <class T>
Packet<T> broadcast(T x) {
    return Eigen::internal::pset1<Packet<T>>(x);
}

/// Loads a whole packet, from any alignment.
template <class T>
Packet<T> load(const T* from) {
    return Eigen::internal::ploadu<Packet<T>>(from);
}

/// Stores a whole packet, to any alignment.
template <class T>
void store(T* to, const Packet<T>& x) {
    Eigen::internal::pstoreu(to, x);
}

template <class P>
P add(const P& a, const P& b) {
    return Eigen::internal::padd(a, b);
}
template <class P>
P sub(const P& a, const P& b) {
    return Eigen::internal::psub(a, b);
}
template <class P>
P mul(const P& a, const P& b) {
    return Eigen::internal::pmul(a, b);
}

/// a·b + c, rounded once where the target has such an instruction.
template <class P>
P madd(const P& a, const P& b, const P& c) {
    return Eigen::internal::pmadd(a, b, c);
}

/// a / b, where the target has such an instruction; elsewhere `div` is exact.
template <class P>
P quotient(const P& a, const P& b) {
    return Eigen::internal::pdiv(a, b);
}
template <class P>
P negate(const P& x) {
    return Eigen::internal::pnegate(x);
}
/// The root, where the target has such an instruction; elsewhere `sqrt` is exact.
template <class P>
P root(const P& x) {
    return Eigen::internal::psqrt(x);
}
template <class P>
P abs(const P& x) {
    return Eigen::internal::pabs(x);
}
/// The smaller of the two; `a` where `a` is NaN.
template <class P>
P min(const P& a, const P& b) {
    return Eigen::internal::pmin(a, b);
}
/// The larger of the two; `a` where `a` is NaN.
template <class P>
P max(const P& a, const P& b) {
    return Eigen::internal::pmax(a, b);
}

/// Comparisons set all bits of the lanes where they hold.
template <class P>
P less(const P& a, const P& b) {
    return Eigen::internal::pcmp_lt(a, b);
}
template <class P>
P less_equal(const P& a, const P& b) {
    return Eigen::internal::pcmp_le(a, b);
}
template <class P>
P bit_and(const P& a, const P& b) {
    return Eigen::internal::pand(a, b);
}
template <class P>
P bit_or(const P& a, const P& b) {
    return Eigen::internal::por(a, b);
}
/// `then` in the lanes whose bits are set, `otherwise` where none is.
template <class P>
P select(const P& bits, const P& then, const P& otherwise) {
    return Eigen::internal::pselect(bits, then, otherwise);
}

/// `then` where a equals b, `otherwise` elsewhere (so also where either is NaN).
template <class P>
P select_equal(const P& a, const P& b, const P& then, const P& otherwise) {
#if defined(EIGEN_VECTORIZE_AVX512)
    // Eigen's AVX-512 comparisons widen their mask to a packet, and selections narrow it again.
    if constexpr (is_packet<P, float, 64>) {
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), otherwise, then);
    } else if constexpr (is_packet<P, double, 64>) {
        return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ), otherwise, then);
    } else
#endif
    {
        return Eigen::internal::pselect(Eigen::internal::pcmp_eq(a, b), then, otherwise);
    }
}

template <class T, class P>
T first(const P& x) {
    return Eigen::internal::pfirst(x);
}
template <class T, class P>
T sum(const P& x) {
    return Eigen::internal::predux(x);
}
template <class T, class P>
T largest(const P& x) {
    return Eigen::internal::predux_max(x);
}

/// Whether a mask, as comparisons give it, holds of any lane.
template <class T, class P>
bool any(const P& mask) {
    return Eigen::internal::predux_any(mask);
}
/// 0, 1, 2, …
template <class T>
Packet<T> iota() {
    return Eigen::internal::plset<Packet<T>>(T(0));
}

/// tanh, of packets that have one.
template <class P>
inline constexpr bool has_tanh = Eigen::internal::packet_traits<PacketScalar<P>>::HasTanh;
template <class P>
P rational_tanh(const P& x) {
    return Eigen::internal::ptanh(x);
}

/// Transposes n × n scalars: lane c of row r becomes lane r of row c.
template <class P, std::size_t n>
ATTEND_ALWAYS_INLINE inline void transpose_any(P (&rows)[n]) {
    if constexpr (n > 1) {
        constexpr int count = static_cast<int>(n);
        Eigen::internal::PacketBlock<P, count> block;
        repeat<count>([&](auto i) ATTEND_ALWAYS_INLINE { block.packet[i] = rows[i]; });
        Eigen::internal::ptranspose(block);
        repeat<count>([&](auto i) ATTEND_ALWAYS_INLINE { rows[i] = block.packet[i]; });
    }
}

}  // namespace attend::detail::simd
