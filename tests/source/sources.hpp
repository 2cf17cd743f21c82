#pragma once
// Key sources of a user's own, which need nothing of the library but the words of source/source.hpp: pages of rows as a
// cache would keep them, and keys that are computed on the fly.

#include <algorithm>
#include <cmath>
#include <vector>

#include <attend/source/source.hpp>

namespace attend::test {

/// Keys and values of one or more sequences, heads side by side, kept in pages of a few rows that are nowhere together.
template <class T>
struct Pages {
    static constexpr Kind kind = Kind::source;
    static constexpr Index page = 5;

    struct Sequence {
        std::vector<RowMatrix<T>> keys, values;
        Index count = 0;
    };
    Index heads_, key_width_, value_width_;
    std::vector<Sequence> each;

    Pages(Index heads, Index key_width, Index value_width)
        : heads_(heads), key_width_(key_width), value_width_(value_width) {}

    void add(const RowMatrix<T>& k, const RowMatrix<T>& v) {
        Sequence s;
        s.count = k.rows();
        for (Index begin = 0; begin < k.rows(); begin += page) {
            s.keys.push_back(k.middleRows(begin, std::min(page, k.rows() - begin)));
            s.values.push_back(v.middleRows(begin, std::min(page, k.rows() - begin)));
        }
        each.push_back(s);
    }

    Index sequences() const { return static_cast<Index>(each.size()); }
    Index heads() const { return heads_; }
    Index keys(Index sequence) const { return of(sequence).count; }
    Index key_width() const { return key_width_; }
    Index value_width() const { return value_width_; }
    RowBlock<T> key_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(of(sequence).keys, head, key_width_, begin, count, room);
    }
    RowBlock<T> value_rows(Index sequence, Index head, Index begin, Index count, T* room) const {
        return rows(of(sequence).values, head, value_width_, begin, count, room);
    }

private:
    const Sequence& of(Index sequence) const { return each[static_cast<std::size_t>(sequence)]; }
    /// In place where they stand in one page.
    static RowBlock<T> rows(const std::vector<RowMatrix<T>>& pages, Index head, Index width, Index begin, Index count,
                            T* room) {
        const auto at = [&](Index row) {
            return pages[static_cast<std::size_t>(row / page)].row(row % page).segment(head * width, width);
        };
        if (begin / page == (begin + count - 1) / page) return {at(begin).data(), pages[0].cols(), count, width};
        for (Index i = 0; i < count; ++i) std::copy_n(at(begin + i).data(), width, room + i * width);
        return {room, width, count, width};
    }
};

/// Gradients of a source's keys and values, gathered row by row.
template <class T>
struct GatheredRows {
    std::vector<RowMatrix<T>> dk, dv;  ///< by sequence, heads side by side

    explicit GatheredRows(const auto& source) {
        for (Index s = 0; s < source.sequences(); ++s) {
            dk.push_back(RowMatrix<T>::Zero(source.keys(s), source.heads() * source.key_width()));
            dv.push_back(RowMatrix<T>::Zero(source.keys(s), source.heads() * source.value_width()));
        }
    }
    void add(Index sequence, Index head, Index begin, const RowBlock<T>& dk_rows, const RowBlock<T>& dv_rows) {
        const auto add_to = [&](RowMatrix<T>& to, const RowBlock<T>& rows) {
            for (Index i = 0; i < rows.rows; ++i) {
                for (Index a = 0; a < rows.columns; ++a) to(begin + i, head * rows.columns + a) += rows.row(i)[a];
            }
        };
        add_to(dk[static_cast<std::size_t>(sequence)], dk_rows),
            add_to(dv[static_cast<std::size_t>(sequence)], dv_rows);
    }
};

/// Keys and values that stand nowhere: of position i, feature a of the key is sin(rate · i + a), and of the value
/// cos(rate · i + a). `rate` trains.
struct Waves {
    static constexpr Kind kind = Kind::source;

    double rate;
    Index count, width;

    Index sequences() const { return 1; }
    Index heads() const { return 1; }
    Index keys(Index) const { return count; }
    Index key_width() const { return width; }
    Index value_width() const { return width; }
    RowBlock<double> key_rows(Index, Index, Index begin, Index rows, double* room) const {
        return fill(begin, rows, room, [](double x) { return std::sin(x); });
    }
    RowBlock<double> value_rows(Index, Index, Index begin, Index rows, double* room) const {
        return fill(begin, rows, room, [](double x) { return std::cos(x); });
    }
    double angle(Index i, Index a) const { return rate * static_cast<double>(i) + static_cast<double>(a); }

private:
    template <class F>
    RowBlock<double> fill(Index begin, Index rows, double* room, F&& f) const {
        for (Index i = 0; i < rows; ++i) {
            for (Index a = 0; a < width; ++a) room[i * width + a] = f(angle(begin + i, a));
        }
        return {room, width, rows, width};
    }
};
/// The gradient of their rate.
struct WavesGradient {
    const Waves& waves;
    double rate = 0;

    void add(Index, Index, Index begin, const RowBlock<double>& dk, const RowBlock<double>& dv) {
        for (Index i = 0; i < dk.rows; ++i) {
            for (Index a = 0; a < dk.columns; ++a) {
                const double x = waves.angle(begin + i, a), slope = static_cast<double>(begin + i);
                rate += slope * (dk.row(i)[a] * std::cos(x) - dv.row(i)[a] * std::sin(x));
            }
        }
    }
};

}  // namespace attend::test
