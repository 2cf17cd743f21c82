#pragma once
/// \file
/// Do two strided views share an element, or one with itself? Decides the error "output aliases input".

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <numeric>
#include <utility>

#include <attend/core/view.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// The memory of a view, in bytes: where it starts, how far it reaches, and its loops. A loop that runs backwards is
/// one that runs forwards from its other end.
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
                loop<T>(v.column_stride, v.columns)} {
        for (Loop& l : loops) {
            if (l.stride >= 0) continue;
            begin += (l.count - 1) * l.stride;
            l.stride = -l.stride;
        }
    }

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
        const Index sequences = (v.sequences - 1) * v.sequence_stride, heads = (v.heads - 1) * v.head_stride,
                    rows = (v.rows - 1) * v.row_stride, columns = (v.columns - 1) * v.column_stride;
        begin = v.data;
        end = v.data + (sequences + heads + rows + columns + 1);
        if ((sequences | heads | rows | columns) < 0) [[unlikely]] {
            const auto below = [](Index extent) { return std::min<Index>(extent, 0); };
            const Index before = below(sequences) + below(heads) + below(rows) + below(columns);
            begin = v.data + before;
            end = v.data + (sequences + heads + rows + columns - before + 1);
        }
    }
    Reach(const void* begin_, const void* end_) : begin(begin_), end(end_) {}
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

/// Whether they do other than element for element, as an output that is the input itself does: for what reads each
/// element before it writes it.
template <class A, class B>
bool may_overlap_shifted(const StridedView<A>& a, const StridedView<B>& b) {
    const bool same = static_cast<const void*>(a.data) == b.data && sizeof(A) == sizeof(B) && a.rows == b.rows &&
                      a.columns == b.columns && (a.rows <= 1 || a.row_stride == b.row_stride) &&
                      (a.columns <= 1 || a.column_stride == b.column_stride);
    return !same && may_overlap(a, b);
}

/// Whether a view reaches one element by two ways, as a stride of 0 or rows that reach into the next do. Of more than
/// two loops those that are not nested (none within a step of the next) are said to, though some might be apart.
template <class T>
ATTEND_NOINLINE bool may_repeat_any(const StridedView<T>& v) {
    struct Loop {
        Index stride, count;
    };
    std::array<Loop, 4> loops;
    std::size_t size = 0;
    for (const Loop& l : {Loop{v.sequence_stride, v.sequences}, Loop{v.head_stride, v.heads},
                          Loop{v.row_stride, v.rows}, Loop{v.column_stride, v.columns}}) {
        if (l.count > 1) loops[size++] = {l.stride < 0 ? -l.stride : l.stride, l.count};
    }
    const auto end = loops.begin() + static_cast<std::ptrdiff_t>(size);
    for (std::size_t i = 1; i < size; ++i) {  // GCC takes std::sort for one of more than they can be, and warns
        for (std::size_t j = i; j > 0 && loops[j].stride < loops[j - 1].stride; --j) std::swap(loops[j], loops[j - 1]);
    }
    if (size > 0 && loops[0].stride == 0) return true;
    if (size == 2) {  // i steps of one are j of the other, for the first time at these
        const Index common = std::gcd(loops[0].stride, loops[1].stride);
        return loops[1].stride / common < loops[0].count && loops[0].stride / common < loops[1].count;
    }
    Index reach = 0;  // of all shorter loops, from their first element to their last
    return std::any_of(loops.begin(), end, [&reach](const Loop& l) {
        const bool meets = l.stride <= reach;
        reach += (l.count - 1) * l.stride;
        return meets;
    });
}
/// The same, at once for rows or columns that follow each other.
template <class T>
ATTEND_ALWAYS_INLINE inline bool may_repeat(const StridedView<T>& v) {
    if (v.sequences == 1 && v.heads == 1) {
        if ((v.columns <= 1 || v.column_stride == 1) && (v.rows <= 1 || v.row_stride >= v.columns)) return false;
        if ((v.rows <= 1 || v.row_stride == 1) && (v.columns <= 1 || v.column_stride >= v.rows)) return false;
    }
    return !is_empty(v) && may_repeat_any(v);
}

}  // namespace attend::detail
