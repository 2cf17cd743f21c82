#pragma once
/// \file
/// One case: its operands in memory of many layouts with gaps between, the library's answers through its public face,
/// and their comparison with the oracle's.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <attend/attend.hpp>

#include <fuzz/case.hpp>
#include <fuzz/parts.hpp>

namespace fuzz {

/// What comparisons have seen: how many there were, and the largest error as a share of what is tolerated.
struct Statistics {
    std::map<std::string, double> worst{};
    long long comparisons = 0, cases = 0, unknown = 0;
};

/// All bits of memory that no call may read before it has written it, and must not write where it has nothing to write.
inline constexpr int untouched = 0xff;

/// Half the distance from 1 to the next number. (Eigen's epsilon of half is another.)
template <class X>
constexpr double roundoff() {
    return std::is_same_v<X, double>        ? 0x1p-53
           : std::is_same_v<X, float>       ? 0x1p-24
           : std::is_same_v<X, Eigen::half> ? 0x1p-11
                                            : 0x1p-8;
}

/// sequences × heads × rows × columns numbers in memory of some layout, with spare memory around and between.
template <class X>
class Placed {
public:
    Placed() = default;
    /// `kind`: 0 is row-major and compact, with the heads side by side.
    Placed(Index sequences, Index heads, Index rows, Index columns, Index kind) {
        const Index all = sequences * rows, gap = 2 * columns + 1;
        std::array<Index, 4> strides{};  // of sequence, head, row, column
        switch (kind) {
            case 1:
                strides = {rows * (heads * columns + 3) + 5, columns, heads * columns + 3, 1};
                break;
            case 2:
                strides = {rows, columns * all, 1, all};
                break;
            case 3:
                strides = {rows * columns, all * columns, columns, 1};
                break;
            case 4:
                strides = {rows * (heads * gap + 1) + 2, gap, heads * gap + 1, 2};
                break;
            case 5:
                strides = {rows, columns * (all + 2) + 1, 1, all + 2};
                break;
            default:
                strides = {rows * heads * columns, columns, heads * columns, 1};
        }
        const auto reach = [](Index count, Index stride) { return std::max<Index>(0, count - 1) * stride; };
        const Index size = 1 + reach(sequences, strides[0]) + reach(heads, strides[1]) + reach(rows, strides[2]) +
                           reach(columns, strides[3]);
        memory_.resize(static_cast<std::size_t>(size + 2 * margin));
        std::memset(static_cast<void*>(memory_.data()), untouched, memory_.size() * sizeof(X));
        view_ = attend::strided(memory_.data() + margin, {sequences, heads, rows, columns}, strides);
    }

    const attend::StridedView<X>& view() const { return view_; }
    attend::StridedView<const X> input() const { return view_; }
    /// Rows of all sequences are numbered through.
    X& operator()(Index row, Index head, Index column) {
        const Index sequence = view_.sequences > 1 ? row / view_.rows : 0, in_it = row - sequence * view_.rows;
        return view_.data[sequence * view_.sequence_stride + head * view_.head_stride + in_it * view_.row_stride +
                          column * view_.column_stride];
    }
    /// Whether all memory but the view's is as it was.
    bool gaps_are_untouched() {
        std::vector<X> rest = memory_;
        const std::vector<X> fresh(1, from_bits());
        for (Index row = 0; row < view_.sequences * view_.rows; ++row) {
            for (Index head = 0; head < view_.heads; ++head) {
                for (Index column = 0; column < view_.columns; ++column)
                    rest[static_cast<std::size_t>(&(*this)(row, head, column) - memory_.data())] = fresh[0];
            }
        }
        const auto* const bytes = reinterpret_cast<const unsigned char*>(rest.data());
        return std::all_of(bytes, bytes + rest.size() * sizeof(X), [](unsigned char b) { return b == untouched; });
    }

private:
    static constexpr Index margin = 16;
    static X from_bits() {
        X x;
        std::memset(static_cast<void*>(&x), untouched, sizeof x);
        return x;
    }

    std::vector<X> memory_;
    attend::StridedView<X> view_;
};

/// Threads of this program, started once.
attend::detail::ExecutorRef executor_of(const Case& x);

/// Scratch of exactly so many bytes, full of NaN.
class ExactWorkspace {
public:
    explicit ExactWorkspace(std::size_t bytes)
        : bytes_(bytes), memory_(bytes + 2 * attend::Workspace::alignment + margin, std::byte(untouched)) {
        void* start = memory_.data();
        std::size_t space = memory_.size();
        start_ = static_cast<std::byte*>(std::align(attend::Workspace::alignment, 1, start, space));
        workspace_ = attend::Workspace(std::span(start_, bytes));
    }
    attend::Workspace* get() { return &workspace_; }
    bool end_is_untouched() const {
        return std::all_of(start_ + bytes_, start_ + bytes_ + margin,
                           [](std::byte b) { return b == std::byte(untouched); });
    }

private:
    static constexpr std::size_t margin = 128;
    std::size_t bytes_;
    std::vector<std::byte> memory_;
    std::byte* start_;
    attend::Workspace workspace_;
};

/// Says where the keys of a call stand that are those of a cache, and its queries with them.
using PlaceKeys = void (*)(const Case&, oracle::Call&);

/// All that a case needs but its attention.
template <class X>
struct Setup {
    using T = attend::Compute<X>;
    struct Parameter {
        std::string name;
        double value, start, roundoff;
    };

    Case x;
    bool cached;         ///< whether keys and values are those of a cache, not operands
    bool trains = true;  ///< whether there is a backward call
    oracle::Call call{};
    oracle::Result expected{};
    attend::Shape shape{};
    Index query_rows = 0, key_rows = 0;  ///< of a sequence of the views
    Index batch = 1;                     ///< sequences of the views
    std::vector<Index> query_begin{}, key_begin{};
    bool own_key_sequences = true, wants_parameters = true, wants_weights = false;
    Placed<X> q, k, v, dout, out, dq, dk, dv, weighed_out;
    Placed<X> matrix_out, matrix_dq, matrix_dk, matrix_dv;  ///< of a call of matrices
    Placed<T> lse, dlse, dweights, weights, cached_dk, cached_dv;
    std::vector<Parameter> parameters{};
    std::string complaint{};

    /// Draws what the operands hold.
    Setup(const Case& x_, const Wants& wants, const oracle::Attention& attention, PlaceKeys place_keys = nullptr);
    /// Finds out what is right for these operands, and puts them where the library reads them.
    void expect(const oracle::Attention& attention);
    Index layout(std::uint64_t what) const {
        return x.layout == 0 ? 0 : static_cast<Index>(6 * x.uniform_at(what, x.layout));
    }
    double start(std::uint64_t what, Index a, Index b, Index c) const {
        return x.adds == 0 ? 0.0 : std::floor(9 * x.uniform_at(what, a, b, c)) - 4;
    }
    bool ragged() const { return x.batch == static_cast<Index>(Batch::ragged); }
    bool can_be_matrices() const { return batch == 1 && x.layout == 1 && !cached; }
    /// The heads side by side.
    static Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic> matrix_of(const oracle::Tensor<double>& all) {
        return Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic>::NullaryExpr(
            all.rows, all.heads * all.width,
            [&](Index row, Index column) { return static_cast<X>(all(row, column / all.width, column % all.width)); });
    }
    static Placed<X> placed_of(const auto& matrix, Index heads) {
        const Index width = matrix.cols() / heads;
        Placed<X> placed(1, heads, matrix.rows(), width, 0);
        for (Index column = 0; column < matrix.cols(); ++column) {
            for (Index row = 0; row < matrix.rows(); ++row)
                placed(row, column / width, column % width) = matrix(row, column);
        }
        return placed;
    }
    void place();
    void check(Statistics& statistics);

    void complain(const std::string& words) {
        if (complaint.empty()) complaint = words;
    }
};

extern template struct Setup<float>;
extern template struct Setup<double>;
extern template struct Setup<Eigen::half>;
extern template struct Setup<Eigen::bfloat16>;

/// What most users write: matrices of either order as operands, empty outputs, no workspace.
template <class X, class A>
void call_of_matrices(const A& attention, Setup<X>& s) {
    using T = attend::Compute<X>;
    const Index heads = s.x.heads(), kv_heads = s.x.kv_heads;
    const auto q = s.matrix_of(s.call.q), v = s.matrix_of(s.call.v);
    const attend::RowMatrix<X> k = s.matrix_of(s.call.k);
    const auto sequences = attend::Sequences(s.query_begin), key_sequences = attend::Sequences(s.key_begin);
    Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic> out, dq, dk;
    attend::RowMatrix<X> dv;
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> lse;
    attend::ForwardOptions<T> forward{.lse = lse, .query_offset = s.x.offset};
    attend::BackwardOptions<A> backward{.query_offset = s.x.offset};
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic> dlse(s.call.dlse.rows, heads);
    for (attend::Index i = 0; i < dlse.size(); ++i)
        dlse.data()[i] = static_cast<T>(s.call.dlse(i % dlse.rows(), i / dlse.rows(), 0));
    if (dlse.rows() > 0) backward.dlse = dlse;
    attend::RowMatrix<T> dweights(heads * s.call.dweights.rows, s.call.dweights.width);  // the heads below each other
    for (attend::Index i = 0; i < dweights.size(); ++i) {
        const attend::Index row = i / dweights.cols();
        dweights.data()[i] = static_cast<T>(
            s.call.dweights(row % s.call.dweights.rows, row / s.call.dweights.rows, i % dweights.cols()));
    }
    if (s.call.dweights.rows > 0) backward.dweights = dweights;
    if (s.ragged()) forward.sequences = backward.sequences = sequences;
    if (s.ragged() && s.own_key_sequences) forward.key_sequences = backward.key_sequences = key_sequences;
    attention(attend::heads(q, heads), attend::heads(k, kv_heads), attend::heads(v, kv_heads), out, forward);
    attention.backward(attend::heads(q, heads), attend::heads(k, kv_heads), attend::heads(v, kv_heads), out, lse,
                       s.matrix_of(s.call.dout), dq, dk, dv, backward);
    forward.lse = {};
    const Eigen::Matrix<X, Eigen::Dynamic, Eigen::Dynamic> returned =
        attention(attend::heads(q, heads), attend::heads(k, kv_heads), attend::heads(v, kv_heads), forward);
    if (out.size() > 0 &&
        std::memcmp(returned.data(), out.data(), static_cast<std::size_t>(out.size()) * sizeof(X)) != 0)
        s.complain("the output that is returned has other bits than the one that is written");
    s.matrix_out = s.placed_of(out, heads), s.matrix_dq = s.placed_of(dq, heads);
    s.matrix_dk = s.placed_of(dk, kv_heads), s.matrix_dv = s.placed_of(dv, kv_heads);
}

/// All forward calls that are asked of an attention, each by `call(out, options)`.
template <class X, class A, class Call>
void call_forward(const A& attention, Setup<X>& s, const Call& call) {
    using T = attend::Compute<X>;
    const auto executor = executor_of(s.x);
    const attend::Index workers = executor.concurrency();
    const auto sequences = attend::Sequences(s.query_begin), key_sequences = attend::Sequences(s.key_begin);
    const auto need = [&](attend::Pass pass) {
        return ExactWorkspace(attention.template workspace_bytes<X>(s.shape, workers, pass));
    };
    const auto forward = [&](attend::Output<X> out, attend::Output<T> lse, attend::Output<T> weights,
                             attend::Workspace* workspace) {
        attend::ForwardOptions<T> options{
            .workspace = workspace, .executor = executor, .lse = lse, .weights = weights, .query_offset = s.x.offset};
        if (s.ragged()) options.sequences = sequences;
        if (s.ragged() && s.own_key_sequences && !s.cached) options.key_sequences = key_sequences;
        call(out, options);
    };
    {
        ExactWorkspace workspace = need(attend::Pass::forward);
        forward(s.out.view(), s.lse.view(), {}, workspace.get());
        if (!workspace.end_is_untouched()) s.complain("forward wrote behind its workspace");
    }
    if (s.wants_weights) {
        ExactWorkspace workspace = need(attend::Pass::weights);
        forward(s.weighed_out.view(), {}, s.weights.view(), workspace.get());
        if (!workspace.end_is_untouched()) s.complain("a call for weights wrote behind its workspace");
    }
}

/// And backward, by `call(options)`.
template <class X, class A, class Call>
void call_backward(const A& attention, Setup<X>& s, const Call& call) {
    const auto executor = executor_of(s.x);
    const auto sequences = attend::Sequences(s.query_begin), key_sequences = attend::Sequences(s.key_begin);
    A gradient = attend::zero_gradient(attention);
    attend::Index which = 0;
    attend::visit_parameters(gradient, [&](std::string_view, auto& matrix) {
        using P = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
        for (attend::Index c = 0; c < matrix.cols(); ++c) {
            for (attend::Index r = 0; r < matrix.rows(); ++r)
                matrix(r, c) = static_cast<P>(s.start(204, which++, 0, 0));
        }
    });
    attend::BackwardOptions<A> options{.executor = executor, .query_offset = s.x.offset};
    if (s.wants_parameters) options.gradient = &gradient;
    if (s.call.dlse.rows > 0) options.dlse = s.dlse.input();
    if (s.call.dweights.rows > 0) options.dweights = s.dweights.input();
    if (s.ragged()) options.sequences = sequences;
    if (s.ragged() && s.own_key_sequences && !s.cached) options.key_sequences = key_sequences;
    ExactWorkspace workspace(
        attention.template workspace_bytes<X>(s.shape, executor.concurrency(), attend::Pass::backward));
    options.workspace = workspace.get();
    call(options);
    if (!workspace.end_is_untouched()) s.complain("backward wrote behind its workspace");
    which = 0;
    attend::visit_parameters(gradient, [&](std::string_view name, auto& matrix) {
        using P = typename std::remove_cvref_t<decltype(matrix)>::Scalar;
        for (attend::Index c = 0; c < matrix.cols(); ++c) {
            for (attend::Index r = 0; r < matrix.rows(); ++r)
                s.parameters.push_back(
                    {std::string(name), static_cast<double>(matrix(r, c)), s.start(204, which++, 0, 0), roundoff<P>()});
        }
    });
}

/// Everything that is asked of an attention on operands.
template <class X, class A>
void call_all(const A& attention, Setup<X>& s) {
    call_forward(attention, s,
                 [&](auto out, auto& options) { attention(s.q.input(), s.k.input(), s.v.input(), out, options); });
    call_backward(attention, s, [&](auto& options) {
        attention.backward(s.q.input(), s.k.input(), s.v.input(), s.out.input(), s.lse.input(), s.dout.input(),
                           s.dq.view(), s.dk.view(), s.dv.view(), options);
    });
}

/// A composition: what it is called, of what family it is, and how a case of it runs. Gives what is wrong, or nothing.
struct Composition {
    std::string name;
    Wants wants;
    std::string (*run)(const Case&, const Wants&, Statistics&);
    oracle::Attention (*oracle)(const Case&);
    PlaceKeys place_keys = nullptr;
};
std::vector<Composition>& compositions();

/// Compares the oracle's gradients with differences of its loss. Gives what is wrong, or nothing.
std::string check_oracle(const Composition& composition, const Case& x);

template <class X, class Make>
std::string run_case(const Case& x, const Wants& wants, Statistics& statistics) {
    Maker<X> maker(x);
    const auto attention = Make()(maker);
    Setup<X> setup(x, wants, maker.oracle());
    setup.expect(maker.oracle());
    try {
        call_all(attention, setup);
        if (setup.can_be_matrices()) call_of_matrices(attention, setup);
    } catch (const std::exception& error) {
        return std::string("threw: ") + error.what();
    }
    setup.check(statistics);
    return setup.complaint;
}

template <class X, class Make>
oracle::Attention oracle_of(const Case& x) {
    Maker<X> maker(x);
    Make()(maker);
    return maker.oracle();
}

template <class X>
constexpr const char* name_of() {
    return std::is_same_v<X, float>         ? "float"
           : std::is_same_v<X, double>      ? "double"
           : std::is_same_v<X, Eigen::half> ? "half"
                                            : "bfloat16";
}

/// `add<float>("dot", {}, [](auto& m) { return m.dot(); });`
template <class X, class Make>
int add(const char* name, const Wants& wants, Make) {
    compositions().push_back({std::string(name_of<X>()) + "/" + name, wants, run_case<X, Make>, oracle_of<X, Make>});
    return 0;
}

}  // namespace fuzz
