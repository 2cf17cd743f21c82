#pragma once
/// \file
/// Memory asked for ahead of its use.

#include <cstddef>
#include <cstdint>

#include <attend/core/tiles.hpp>
#include <attend/core/types.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Asks for the line of memory at `at`, where there need be none, in the second level of the cache: the first has few
/// places to wait in, which what is read now needs, and rows that stand a page apart share few of its lines.
inline void fetch_line([[maybe_unused]] std::uintptr_t at) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
#elif defined(EIGEN_VECTORIZE_SSE)
    _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
#endif
}
inline constexpr Index line_bytes = 64;

/// More than this is not in the cache when it is read again.
inline constexpr Index streamed_bytes = Index(1) << 19;

/// So much that was just made is still near, and comes in time by the processor's own asking: asking for it besides
/// costs a product of many short tiles a twentieth.
inline constexpr Index near_bytes = Index(1) << 22;

/// Rows that stream, asked for four pages ahead: a processor that reads now keys and now values sees neither coming.
/// Whole rows one after the other, some at a time: it helps with what it sees them do. (A line with each packet that is
/// read, or all lines of a row without a test between them, take a quarter longer.) Those behind the last are asked for
/// as well.
template <class T>
class RowsAhead {
public:
    explicit RowsAhead(const RowBlock<T>& rows)
        : stride_(rows.stride * size),
          bytes_(elements_of<T>(rows.columns) * size),
          passes_(rows.ahead == nullptr ? rows.passes : 1) {
        if (!rows.streams || bytes_ == 0) bytes_ = 0;
        if (bytes_ > 0 && passes_ > 1) {
            at_ = reinterpret_cast<std::uintptr_t>(rows.data) + offset(rows.rows + rows.rows * rows.pass / passes_);
        } else if (bytes_ > 0)
            at_ = rows.ahead == nullptr ? reinterpret_cast<std::uintptr_t>(rows.data) + offset(rows_ahead(bytes_))
                                        : reinterpret_cast<std::uintptr_t>(rows.ahead);
    }
    /// Rows that stand anywhere are not asked for.
    explicit RowsAhead(const ListedRows<T>&) : stride_(0), bytes_(0) {}
    /// When so many bytes of each of so many rows are read: asks for as many others, in their order.
    void next(Index rows, Index bytes) {
        if (bytes_ == 0) return;
        if (passes_ > 1) {  // there is time for what is far ahead
            left_ += rows * bytes;
            for (; left_ >= passes_ * line_bytes; left_ -= passes_ * line_bytes) fetch();
            return;
        }
        for (Index count = rows * bytes; count > 0; count -= line_bytes) fetch();
    }
    void next(Index rows) { next(rows, (bytes_ + line_bytes - 1) / line_bytes * line_bytes); }

    /// How many rows of so many bytes are asked for before they are read.
    static Index rows_ahead(Index bytes) { return (distance + bytes - 1) / bytes; }

private:
    static constexpr Index size = static_cast<Index>(sizeof(T)), distance = 16384;

    void fetch() {
        fetch_line(at_ + static_cast<std::uintptr_t>(done_));
        done_ += line_bytes;
        if (done_ < bytes_) return;
        done_ = 0;
        at_ += offset(1);
    }
    std::uintptr_t offset(Index rows) const { return static_cast<std::uintptr_t>(rows * stride_); }

    Index stride_, bytes_, passes_ = 1, done_ = 0, left_ = 0;
    std::uintptr_t at_ = 0;
};

/// Rows that will be read soon, brought into the second level of the cache a few lines at a time: all at once, they
/// would be in the way of what is read now. The processor sees some of it coming by itself, but neither past the end of
/// a page nor from one head to the next.
class ReadAhead {
public:
    /// One that asks for nothing is told all the same.
    explicit ReadAhead(bool asks = true) : asks_(asks) {}

    /// Rows that will be read next, instead of those said last.
    template <class... Rows>
    void soon(const Rows&... rows) {
        soon_.count = 0;
        if (asks_) (soon_.add(rows), ...);
    }
    /// Rows that will be read after them. Some may be forgotten.
    template <class... Rows>
    void later(const Rows&... rows) {
        if (asks_) (later_.add(rows), ...);
    }

    /// Asks for the next `lines` lines.
    void some(Index lines) { later_.some(soon_.some(lines)); }

private:
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
                for (Index i = 0; i < range.bytes; i += line_bytes, --lines)
                    fetch_line(reinterpret_cast<std::uintptr_t>(range.row + i));
                range.row += range.stride;
                if (--range.rows == 0) --count;
            }
            return lines;
        }
    };

    bool asks_;
    Ranges<2> soon_;
    Ranges<8> later_;
};

}  // namespace attend::detail
