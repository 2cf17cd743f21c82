#pragma once
/// \file
/// Do two strided views share an element? Decides the error "output aliases input".

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>

#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The memory of a view, in bytes: where it starts, how far it reaches, and its loops.
struct Footprint {
    struct Loop {
        std::intptr_t stride, count;
    };
    std::intptr_t begin = 0;
    std::intptr_t element = 0;
    std::array<Loop, 4> loops{};

    template <class T>
    explicit Footprint(const StridedView<T>& v)
        : begin(reinterpret_cast<std::intptr_t>(v.data)),
          element(static_cast<std::intptr_t>(sizeof(T))),
          loops{loop<T>(v.sequence_stride, v.sequences), loop<T>(v.head_stride, v.heads), loop<T>(v.row_stride, v.rows),
                loop<T>(v.column_stride, v.columns)} {}

    /// Bytes from the first element to behind the last, over the loops whose stride is below `period`.
    std::intptr_t extent(std::intptr_t period) const {
        std::intptr_t bytes = element;
        for (const Loop& l : loops) {
            if (l.stride < period) bytes += (l.count - 1) * l.stride;
        }
        return bytes;
    }
    bool repeats_at(std::intptr_t period) const {
        return std::all_of(loops.begin(), loops.end(),
                           [&](const Loop& l) { return l.stride < period || l.stride % period == 0; }) &&
               extent(period) <= period;
    }

private:
    template <class T>
    static Loop loop(Index stride, Index count) {
        return {count > 1 ? static_cast<std::intptr_t>(stride) * static_cast<std::intptr_t>(sizeof(T)) : 0,
                static_cast<std::intptr_t>(count)};
    }
};

template <class T>
bool is_empty(const StridedView<T>& v) {
    return v.sequences == 0 || v.heads == 0 || v.rows == 0 || v.columns == 0;
}
/// Where the memory of a view starts and ends. Nothing, if it has no element.
struct Reach {
    const void *begin = nullptr, *end = nullptr;

    template <class T>
    explicit Reach(const StridedView<T>& v) {
        if (v.data == nullptr || is_empty(v)) return;
        begin = v.data;
        end = v.data + ((v.sequences - 1) * v.sequence_stride + (v.heads - 1) * v.head_stride +
                        (v.rows - 1) * v.row_stride + (v.columns - 1) * v.column_stride + 1);
    }
    bool meets(const Reach& other) const {
        const std::less<const void*> before;
        return before(begin, other.end) && before(other.begin, end);
    }
};

/// False only where no element can be shared: the ranges are apart, or both repeat with one period and stand in
/// different columns of it, as the heads or the q, k, v of one packed matrix do.
inline bool may_overlap(const Footprint& a, const Footprint& b) {
    for (const auto& loop : a.loops) {
        const std::intptr_t period = loop.stride;
        if (period == 0 || !a.repeats_at(period) || !b.repeats_at(period)) continue;
        const std::intptr_t shift =
            ((b.begin - a.begin) % period + period) % period;  // where b starts, seen from a's start
        if (a.extent(period) <= shift && shift + b.extent(period) <= period) return false;
    }
    return true;
}
template <class A, class B>
ATTEND_NOINLINE bool footprints_may_overlap(const StridedView<A>& a, const StridedView<B>& b) {
    return may_overlap(Footprint(a), Footprint(b));
}
/// The same of views. Most are seen to be apart by their ends.
template <class A, class B>
ATTEND_ALWAYS_INLINE inline bool may_overlap(const StridedView<A>& a, const StridedView<B>& b) {
    return Reach(a).meets(Reach(b)) && footprints_may_overlap(a, b);
}

}  // namespace attend::detail
