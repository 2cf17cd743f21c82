#pragma once
/// \file
/// Memory asked for ahead of its use.

#include <cstddef>

#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Rows that will be read soon, brought into the second level of the cache a few lines at a time: all at once, they
/// would be in the way of what is read now. The processor sees some of it coming by itself, but neither past the end of
/// a page nor from one head to the next.
class ReadAhead {
public:
    /// Rows that will be read next, instead of those said last.
    template <class... Rows>
    void soon(const Rows&... rows) {
        soon_.count = 0;
        (soon_.add(rows), ...);
    }
    /// Rows that will be read after them. Some may be forgotten.
    template <class... Rows>
    void later(const Rows&... rows) {
        (later_.add(rows), ...);
    }

    /// Asks for the next `lines` lines.
    void some(Index lines) { later_.some(soon_.some(lines)); }

private:
    static constexpr Index line = 64;

    struct Range {
        const std::byte* row;
        Index stride, bytes, rows;
    };

    template <int most>
    struct Ranges {
        Range ranges[most];
        int count = 0;

        /// Rows whose scalars do not follow each other in either direction are left to the processor.
        template <class Rows>
        void add(const Rows& rows) {
            const bool down = rows.innerStride() != 1;
            if ((down && rows.outerStride() != 1) || rows.size() == 0 || count == most) return;
            constexpr auto bytes = static_cast<Index>(sizeof(typename Rows::Scalar));
            ranges[count++] = {reinterpret_cast<const std::byte*>(rows.data()),
                               (down ? rows.innerStride() : rows.outerStride()) * bytes,
                               (down ? rows.rows() : rows.cols()) * bytes, down ? rows.cols() : rows.rows()};
        }
        /// Last come, first served. Returns how many lines are left.
        Index some(Index lines) {
            while (count > 0 && lines > 0) {
                Range& range = ranges[count - 1];
                for (Index i = 0; i < range.bytes; i += line, --lines) fetch(range.row + i);
                range.row += range.stride;
                if (--range.rows == 0) --count;
            }
            return lines;
        }
    };

    static void fetch([[maybe_unused]] const std::byte* at) {
#if defined(__GNUC__)
        __builtin_prefetch(at, 0, 2);
#endif
    }

    Ranges<2> soon_;
    Ranges<8> later_;
};

}  // namespace attend::detail
