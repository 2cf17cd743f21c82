#pragma once
/// \file
/// Many continuations of one prefix: its keys are read once for all of them.

#include <algorithm>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/attention.hpp>
#include <attend/softmax/attention_state.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// A source that says where its keys stand.
template <class S>
concept SaysPositions = requires(const S& source, Index i) { source.position(i, i); };

/// Where a source's key stands.
template <class S>
Index key_position(const S& source, Index sequence, Index key) {
    if constexpr (SaysPositions<S>) {
        return source.position(sequence, key);
    } else {
        return key;
    }
}
/// The position behind a sequence's last key.
template <class S>
Index key_end(const S& source, Index sequence) {
    const Index keys = source.keys(sequence);
    return keys == 0 ? 0 : key_position(source, sequence, keys - 1) + 1;
}

/// Throws unless a prefix and suffixes go together.
template <class Prefix, class Suffixes>
void require_shared(const Prefix& prefix, const Suffixes& suffixes) {
    require(prefix.sequences() == 1, "prefix: must be one sequence, and there are ", prefix.sequences());
    require(prefix.heads() == suffixes.heads() && prefix.key_width() == suffixes.key_width() &&
                prefix.value_width() == suffixes.value_width(),
            "prefix (", prefix.heads(), " heads, keys of ", prefix.key_width(), ", values of ", prefix.value_width(),
            ") and suffixes (", suffixes.heads(), ", ", suffixes.key_width(), ", ", suffixes.value_width(),
            ") must be alike");
}

/// A source whose keys stand so many positions later.
template <class S>
struct LaterKeys {
    static constexpr Kind kind = Kind::source;

    const S& source;
    Index later;

    Index sequences() const { return source.sequences(); }
    Index heads() const { return source.heads(); }
    Index keys(Index sequence) const { return source.keys(sequence); }
    Index key_width() const { return source.key_width(); }
    Index value_width() const { return source.value_width(); }
    Index position(Index sequence, Index key) const { return later + key_position(source, sequence, key); }
    auto key_rows(Index sequence, Index head, Index begin, Index count, auto* room) const {
        return source.key_rows(sequence, head, begin, count, room);
    }
    auto value_rows(Index sequence, Index head, Index begin, Index count, auto* room) const {
        return source.value_rows(sequence, head, begin, count, room);
    }
};

}  // namespace detail

/// The forward calls of sequences that begin alike, as of one prompt that is answered many times: all queries meet the
/// prefix in one call, each meets its own suffix in another, and the two are merged. Holds what lies between; nothing
/// is taken from the heap once it and the workspace have grown. T is what calls compute in.
///
///     SharedPrefix<float> shared;
///     shared(attention, heads(q, 32), prompt, answers, y, {.workspace = &workspace});
///
/// `prefix` is a key source of one sequence, `suffixes` one with a sequence for each continuation, such as two
/// `KvCache`s. The rows of q stand below each other, sequence after sequence, as many for each unless `.sequences` says
/// otherwise; as with a cache of all its keys, those of a continuation stand at the latest of its positions, its suffix
/// at those behind the prefix. Modifiers and masks see each pair's own positions. In the call on the prefix, though,
/// `row` counts all rows and `sequence` is 0: parts that know more than positions and heads do not go with it. That
/// call has as many queries as all continuations together: beside others, a row rounds otherwise than alone.
///
/// Of attentions by softmax, without `.weights`, `.insight`, dropout or positions of the caller's. O(n_q · n_kv · d)
/// operations; the keys of the prefix are read once for each 64 rows or so.
template <class T>
class SharedPrefix {
public:
    /// Writes the output, n_q × d_v, and the LSE where the options ask for it. Throws `std::invalid_argument`, before
    /// anything is written, where the operands do not fit or the options hold what has no meaning here.
    template <class A, detail::OperandLike Q, detail::GivenAsSource Prefix, detail::GivenAsSource Suffixes>
        requires OfKind<A, Kind::attention>
    void operator()(const A& attention, const Q& q, const Prefix& prefix, const Suffixes& suffixes,
                    Output<detail::ScalarOf<Q>> out, ForwardOptions<T> options = {}) {
        using X = detail::ScalarOf<Q>;
        static_assert(std::is_same_v<T, Compute<X>>, "attend: a SharedPrefix is of what the call computes in");
        constexpr bool merges = std::is_base_of_v<Softmax, typename A::NormalizerFunctor>;
        static_assert(merges, "attend: a shared prefix takes attentions by softmax: a sink would count twice");
        if constexpr (std::is_same_v<T, Compute<X>> && merges) {
            const detail::Operand q_operand(q);
            const StridedView<const X> rows = q_operand.view();
            const Index d_v = prefix.value_width();
            check(rows, prefix, suffixes, options);
            detail::check_outputs(detail::Problem<X>(rows, prefix, 0, {}, {}), out, options);
            place(rows.rows, detail::key_end(prefix, 0), suffixes, options.sequences);

            const Index columns = rows.heads * d_v, width = rows.heads * rows.columns;
            T* room = grow(rows.rows * (2 * columns + 2 * rows.heads + (std::is_same_v<X, T> ? 0 : width)));
            const auto take = [&](Index each) {
                return Eigen::Map<RowMatrix<T>>(std::exchange(room, room + rows.rows * each), rows.rows, each);
            };
            auto a = take(columns), b = take(columns), lse_a = take(rows.heads), lse_b = take(rows.heads);
            Output<T> out_lse = std::move(options.lse);
            const auto both = [&](const auto& queries) {
                options.query_positions = std::span<const Index>(positions_);
                options.lse = lse_a;
                options.sequences = {};
                attention(queries, prefix, a, options);
                options.lse = lse_b;
                options.sequences = detail::SequencesRef(std::span<const Index>(offsets_));
                attention(queries, detail::LaterKeys<Suffixes>{suffixes, detail::key_end(prefix, 0)}, b, options);
            };
            if constexpr (std::is_same_v<X, T>) {
                both(rows);
            } else {  // so that only the sum of both parts is rounded
                auto copy = take(width);
                for (Index h = 0; h < rows.heads; ++h)
                    copy.middleCols(h * rows.columns, rows.columns) = head_of(rows, h).template cast<T>();
                both(heads(copy, rows.heads));
            }
            if (rows.rows > 0) merge(a, lse_a, b, lse_b, a, lse_a);

            const StridedView<X> y = out.as(1, rows.heads, rows.rows, d_v);
            const StridedView<T> lse = out_lse.as(1, rows.heads, rows.rows, 1);
            for (Index h = 0; h < rows.heads; ++h) {
                head_of(y, h) = a.middleCols(h * d_v, d_v).template cast<X>();
                if (lse.data != nullptr) head_of(lse, h) = lse_a.col(h);
            }
        }
    }

private:
    template <class X>
    static detail::Slice<X> head_of(const StridedView<X>& view, Index head) {
        return detail::rows_of(view, 0, head, view.rows);
    }
    template <class X, class Prefix, class Suffixes>
    static void check(const StridedView<const X>& q, const Prefix& prefix, const Suffixes& suffixes,
                      const ForwardOptions<T>& options) {
        const Index n = suffixes.sequences();
        detail::require(q.sequences == 1, detail::named("q", q),
                        " is a batch: of a shared prefix the rows of all sequences stand below each other");
        detail::require_shared(prefix, suffixes);
        detail::require(
            !options.weights && !options.insight && options.dropout.rate == 0,
            "weights, insight, dropout: those of a shared prefix come of calls of their own: leave them out");
        detail::require(options.query_offset == 0 && options.query_positions.get().empty() && !options.key_sequences,
                        "query_offset, query_positions, key_sequences: the sources of a shared prefix say them: leave "
                        "them out");
        if (options.sequences) {
            detail::require(options.sequences.count() == n && options.sequences.total() == q.rows,
                            "sequences: must be one for each of the ", n, " suffixes, and end at the ", q.rows,
                            " rows of ", detail::named("q", q));
        } else {
            detail::require(n > 0 && q.rows % n == 0, detail::named("q", q), " must have as many rows for each of the ",
                            n, " suffixes, or sequences must say where those of each begin");
        }
    }
    /// Where the rows of each continuation begin, and where each of them stands.
    template <class Suffixes>
    void place(Index rows, Index prefix_end, const Suffixes& suffixes, const detail::SequencesRef& sequences) {
        const Index n = suffixes.sequences();
        offsets_.clear(), positions_.clear();
        for (Index s = 0; s <= n; ++s) offsets_.push_back(sequences ? sequences.begin(s) : s * (rows / n));
        for (Index s = 0; s < n; ++s) {
            const Index queries = offsets_[static_cast<std::size_t>(s + 1)] - offsets_[static_cast<std::size_t>(s)];
            const Index first = std::max<Index>(0, prefix_end + detail::key_end(suffixes, s) - queries);
            for (Index i = 0; i < queries; ++i) positions_.push_back(first + i);
        }
    }
    T* grow(Index size) {
        if (std::ssize(memory_) < size) memory_.resize(static_cast<std::size_t>(size));
        return memory_.data();
    }

    std::vector<Index> offsets_, positions_;
    std::vector<T> memory_;
};

}  // namespace attend
