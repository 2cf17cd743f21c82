#pragma once
/// \file
/// The operands of a call as a source: keys, or what a score made of them, and values, where they stand.

#include <attend/source/readable.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Features of keys of scalar Key and values of scalar X, of any strides, for a kernel that computes in T.
template <class T, class Key, class X>
class DenseSource {
public:
    DenseSource(const StridedView<const Key>& keys, const StridedView<const X>& values)
        : keys_(keys), values_(values) {}

    class Head {
    public:
        Head(const Slice<const Key>& keys, const Slice<const X>& values) : keys_(keys), values_(values) {}

        StridedMatrix<T> keys(Index begin, Index count, T* room, Reading reading) const {
            return readable<T>(keys_.middleRows(begin, count), room, reading);
        }
        StridedMatrix<T> values(Index begin, Index count, T* room, Reading reading) const {
            return readable<T>(values_.middleRows(begin, count), room, reading);
        }
        /// All keys, all values, where they can be read row by row in place; without memory where they cannot.
        StridedMatrix<T> keys_in_place() const { return in_place(keys_); }
        StridedMatrix<T> values_in_place() const { return in_place(values_); }
        /// Rows of 16 bits as they are; without memory where their scalars do not follow each other.
        RowBlock<Key> held_keys(Index begin, Index count) const
            requires(!std::is_same_v<T, X>)
        {
            return held<Key>(keys_, begin, count);
        }
        RowBlock<X> held_values(Index begin, Index count) const
            requires(!std::is_same_v<T, X>)
        {
            return held<X>(values_, begin, count);
        }
        void soon(ReadAhead& ahead, Index begin, Index count) const {
            ahead.soon(values_.middleRows(begin, count), keys_.middleRows(begin, count));
        }
        void later(ReadAhead& ahead, Index begin, Index count) const {
            ahead.later(values_.middleRows(begin, count), keys_.middleRows(begin, count));
        }
        static KeyRun run(Index begin, Index most) { return {begin, most}; }

    private:
        template <class Rows>
        static StridedMatrix<T> in_place([[maybe_unused]] const Rows& rows) {
            if constexpr (std::is_same_v<T, typename Rows::Scalar>) {
                if (rows.innerStride() == 1) return {rows.data(), rows.outerStride(), 1};
            }
            return {nullptr, 0, 0};
        }
        template <class S>
        static RowBlock<S> held(const Slice<const S>& rows, Index begin, Index count) {
            const S* const data = rows.innerStride() == 1 ? rows.data() + begin * rows.outerStride() : nullptr;
            return {data, rows.outerStride(), count, rows.cols()};
        }

        Slice<const Key> keys_;
        Slice<const X> values_;
    };
    Head head(const KeyRows& rows) const { return Head(slice(keys_, rows), slice(values_, rows)); }

private:
    template <class Y>
    static Slice<const Y> slice(const StridedView<const Y>& view, const KeyRows& rows) {
        return rows_of(view, rows.batch * view.sequence_stride + rows.first * view.row_stride, rows.head, rows.count);
    }

    StridedView<const Key> keys_;
    StridedView<const X> values_;
};

}  // namespace attend::detail
