#pragma once
/// \file
/// The parts of a case's attention, each made twice: as the library's, and as the oracle's description of it.

#include <cmath>
#include <utility>
#include <vector>

#include <attend/attend.hpp>

#include <fuzz/case.hpp>

namespace fuzz {

// Of scalars too: without these some compilers' abs is that of int.
using std::abs;
using std::log;
using std::tanh;

using oracle::Number;
using oracle::Pair;

/// Lengths of the sequences of a case.
inline std::vector<Index> lengths_of(const Case& x, Index most, std::uint64_t what) {
    std::vector<Index> lengths;
    for (Index s = 0; s < x.sequences; ++s) {
        const bool drawn = s > 0 && x.batch == static_cast<Index>(Batch::ragged);
        lengths.push_back(drawn ? static_cast<Index>(x.uniform_at(what, s) * static_cast<double>(most + 1)) : most);
    }
    return lengths;
}

/// T5's bucket of key − query.
inline Index bucket_of(Index relative, Index buckets, Index most, bool both_ways) {
    const Index half = both_ways ? buckets / 2 : buckets, start = both_ways && relative > 0 ? half : 0;
    const Index n = both_ways ? std::abs(relative) : std::max<Index>(-relative, 0), exact = half / 2;
    if (n < exact) return start + n;
    const double octaves = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                           std::log(static_cast<double>(most) / static_cast<double>(exact));
    return start + std::min(half - 1, exact + static_cast<Index>(octaves * static_cast<double>(half - exact)));
}

/// A mask beside its predicate.
template <class M>
struct TwoMasks {
    M library;
    std::function<bool(const Pair&)> oracle;
};
template <class M, class F>
TwoMasks<M> two_masks(M library, F oracle) {
    return {std::move(library), std::move(oracle)};
}
template <class A, class B>
auto operator&(const TwoMasks<A>& a, const TwoMasks<B>& b) {
    return two_masks(a.library & b.library, [f = a.oracle, g = b.oracle](const Pair& p) { return f(p) && g(p); });
}
template <class A, class B>
auto operator|(const TwoMasks<A>& a, const TwoMasks<B>& b) {
    return two_masks(a.library | b.library, [f = a.oracle, g = b.oracle](const Pair& p) { return f(p) || g(p); });
}
template <class A>
auto operator~(const TwoMasks<A>& a) {
    return two_masks(~a.library, [f = a.oracle](const Pair& p) { return !f(p); });
}

template <class X>
class Maker {
public:
    using T = attend::Compute<X>;

    explicit Maker(const Case& x) : case_(x) {}
    const oracle::Attention& oracle() const { return oracle_; }

    // Scores.
    auto dot() { return attend::dot_product; }
    auto scaled() {
        const double scale = 1 / std::sqrt(static_cast<double>(case_.d_k));
        oracle_.score = std::make_shared<oracle::ScaledDot>(scale, true);
        return attend::scaled_dot_product;
    }
    auto scaled_by(double scale) {
        oracle_.score = std::make_shared<oracle::ScaledDot>(scale, false);
        return attend::ScaledDotProductAttention(scale);
    }
    auto cosine() {
        const double scale = nudged(case_.numbers == 0 ? 1 + 9 * case_.uniform_at(101) : 2);
        oracle_.score = std::make_shared<oracle::Cosine>(scale);
        return attend::cosine(scale);
    }
    auto rms_norm() {
        const double scale = 1 / std::sqrt(static_cast<double>(case_.d_k));
        attend::RmsNormAttention<X> attention(case_.d_k, attend::RmsNorm{.epsilon = 0.01});
        auto q = weight(attention.q_norm, 107).weight, k = weight(attention.k_norm, 108).weight;
        oracle_.score = std::make_shared<oracle::RmsNormed>(0.01, scale, q, k);
        return attention;
    }
    template <class P = X>
    auto general() {
        attend::GeneralAttention<P> attention(case_.d_q, case_.d_k, 1);
        oracle_.score = std::make_shared<oracle::General>(weight(attention.weight, 102));
        return attention;
    }
    template <class P = X>
    auto additive() {
        attend::AdditiveAttention<P> attention(case_.d_q, case_.d_k, case_.hidden, 1);
        auto q = weight(attention.query_weight, 103), k = weight(attention.key_weight, 104);
        auto b = weight(attention.bias, 105).weight, v = weight(attention.score_weight, 106).weight;
        oracle_.score = std::make_shared<oracle::Additive>(q, k, b, v);
        return attention;
    }
    /// −Σ (q − k)²
    auto distance() {
        elementwise([](const Number& q, const Number& k) { return -((q - k) * (q - k)); },
                    [](const Number& q, const Number& k) { return Number{-2} * (q - k); },
                    [](const Number& q, const Number& k) { return Number{2} * (q - k); });
        return attend::score([](auto q, auto k) { return -(q - k) * (q - k); });
    }
    /// −Σ q log(q / k), which is not a number at 0.
    auto entropy() {
        elementwise([](const Number& q, const Number& k) { return -(q * log(q / k)); },
                    [](const Number& q, const Number& k) { return -(log(q / k) + Number{1}); },
                    [](const Number& q, const Number& k) { return q / k; });
        return attend::score([](auto q, auto k) { return -q * log(q / k); });
    }
    /// Σ q / (1 + k²)
    auto quotient() {
        elementwise([](const Number& q, const Number& k) { return q / (Number{1} + k * k); },
                    [](const Number&, const Number& k) { return Number{1} / (Number{1} + k * k); },
                    [](const Number& q, const Number& k) {
                        const Number x = Number{1} + k * k;
                        return Number{-2} * q * k / (x * x);
                    });
        return attend::score([](auto q, auto k) { return q / (decltype(q)(1) + k * k); });
    }

    // Modifiers.
    auto scale() {
        const double factor = nudged(case_.numbers == 0 ? 0.25 + case_.uniform_at(111) : 0.5);
        add({.value = [=](const Number& s, const Pair&) { return s * oracle::number(factor); },
             .slope = [=](const Number&, const Pair&) { return oracle::number(factor); },
             .parameters = 1,
             .parameter_slope = [](const Number& s, const Pair&) { return s; }});
        return attend::scale(factor);
    }
    auto scale_of_heads() {
        std::vector<double> factors = drawn(case_.heads(), 120);
        add({.value = [=](const Number& s, const Pair& p) { return s * oracle::number(factors[oracle::at(p.head)]); },
             .slope = [=](const Number&, const Pair& p) { return oracle::number(factors[oracle::at(p.head)]); },
             .parameters = case_.heads(),
             .parameter = [](const Pair& p) { return p.head; },
             .parameter_slope = [](const Number& s, const Pair&) { return s; }});
        return attend::scale(vector(factors));
    }
    /// Centres between keys, so that none stands at the edge of a window.
    auto local_p() {
        const double reach = 1 + std::floor(20 * case_.uniform_at(121));
        Eigen::MatrixXd centres(case_.queries, case_.heads());
        for (Index i = 0; i < centres.rows(); ++i) {
            for (Index h = 0; h < centres.cols(); ++h)
                centres(i, h) =
                    nudged(std::floor(static_cast<double>(case_.keys) * case_.uniform_at(122, i, h)) + 0.25);
        }
        const auto distance = [=](const Pair& p) {
            return Number{static_cast<double>(p.key)} - oracle::number(centres(p.row, p.head));
        };
        const auto sees = [=](const Pair& p) { return std::abs(distance(p).value) <= reach; };
        add({.value =
                 [=](const Number& s, const Pair& p) {
                     const Number x = distance(p) * oracle::number(2 / reach);
                     return sees(p) ? s - Number{0.5} * x * x : Number{-oracle::infinity};
                 },
             .parameters = centres.size(),
             .parameter = [rows = centres.rows()](const Pair& p) { return p.row + rows * p.head; },
             .parameter_slope =
                 [=](const Number&, const Pair& p) {
                     return sees(p) ? distance(p) * oracle::number(4 / (reach * reach)) : Number{};
                 }});
        return attend::local_p(centres, reach);
    }
    auto soft_cap() {
        const double cap = nudged(case_.uniform_at(112) < 0.5 ? 2 : 30);
        const auto x = [=](const Number& s) { return std::isinf(s.value) ? s : s / Number{cap}; };
        add({.value = [=](const Number& s, const Pair&) { return Number{cap} * tanh(x(s)); },
             .slope =
                 [=](const Number& s, const Pair&) {
                     const Number t = tanh(x(s));
                     return std::isinf(s.value) ? Number{} : Number{1} - t * t;
                 },
             .parameters = 1,
             .parameter_slope =
                 [=](const Number& s, const Pair&) {
                     const Number t = tanh(x(s));
                     return std::isinf(s.value) ? t : t - x(s) * (Number{1} - t * t);
                 }});
        return attend::soft_cap(cap);
    }
    auto alibi() {
        const double slope = nudged(case_.numbers == 0 ? case_.uniform_at(113) : 0.5);
        add_alibi({slope});
        return attend::alibi(slope);
    }
    auto alibi_of_heads() {
        std::vector<double> slopes = drawn(case_.heads(), 114);
        add_alibi(slopes);
        return attend::alibi(vector(slopes));
    }
    /// A dense bias, of all heads or one a head, which may shift whole rows.
    template <class B = X>
    auto bias(bool of_heads = false) {
        const Index heads = of_heads ? case_.heads() : 1, rows = heads * case_.queries;
        attend::RowMatrix<B> values(rows, case_.keys);
        for (Index i = 0; i < rows; ++i) {
            for (Index j = 0; j < case_.keys; ++j)
                values(i, j) = static_cast<B>(nudged(case_.number_at(115, 0, i, j) + case_.shift_value()));
        }
        add_bias(values, heads);
        return attend::bias(values, heads);
    }
    /// A number for each row and one for each column, each of all heads or one a head: two changes of a score.
    auto row_column_bias(bool rows_of_heads, bool columns_of_heads) {
        const auto values = [&](Index rows, bool of_heads, std::uint64_t what) {
            Eigen::MatrixX<X> all(rows, of_heads ? case_.heads() : 1);
            for (Index h = 0; h < all.cols(); ++h) {
                for (Index i = 0; i < rows; ++i) all(i, h) = static_cast<X>(nudged(case_.number_at(what, 0, i, h)));
            }
            return all;
        };
        const auto a = values(case_.queries, rows_of_heads, 145), b = values(case_.keys, columns_of_heads, 146);
        add_line_bias(a, [](const Pair& p) { return p.row; });
        add_line_bias(b, [](const Pair& p) { return p.key; });
        return attend::row_column_bias(a, b);
    }
    /// Columns of +∞ and −∞: before a soft cap.
    auto infinite_bias() {
        attend::RowMatrix<X> values(case_.queries, case_.keys);
        for (Index j = 0; j < case_.keys; ++j) {
            const double p = case_.uniform_at(116, j);
            const double x = p < 0.2 ? oracle::infinity : p < 0.4 ? -oracle::infinity : std::floor(4 * p);
            for (Index i = 0; i < case_.queries; ++i) values(i, j) = static_cast<X>(nudged(x));
        }
        add_bias(values, 1);
        return attend::bias(values);
    }
    auto relative_bias(bool of_heads, Index buckets = 32, Index most = 128, bool both_ways = true) {
        attend::RowMatrix<X> table(buckets, of_heads ? case_.heads() : 1);
        for (Index i = 0; i < table.rows(); ++i) {
            for (Index h = 0; h < table.cols(); ++h)
                table(i, h) = static_cast<X>(nudged(case_.number_at(117, 0, i, h)));
        }
        const auto entry = [=](const Pair& p) {
            return bucket_of(p.key - p.query, buckets, most, both_ways) + (of_heads ? buckets * p.head : 0);
        };
        add({.value =
                 [=](const Number& s, const Pair& p) {
                     const Index i = entry(p);
                     return s + Number{static_cast<double>(table(i % buckets, i / buckets))};
                 },
             .parameters = table.size(),
             .parameter = entry});
        return attend::relative_bias(table, {.buckets = buckets, .max_distance = most, .bidirectional = both_ways});
    }
    auto span() {
        const double span = nudged(std::floor(12 * case_.uniform_at(118)) + 0.5);
        add_span({span}, 8);
        return attend::adaptive_span(span, 8.0);
    }
    auto span_of_heads() {
        std::vector<double> spans;
        for (Index h = 0; h < case_.heads(); ++h)
            spans.push_back(nudged(std::floor(12 * case_.uniform_at(119, h)) + 0.5));
        add_span(spans, 4);
        return attend::adaptive_span(vector(spans), 4.0);
    }
    /// s − 0.5 tanh(query − key)
    auto formula() {
        add({.value = [](const Number& s, const Pair& p) {
            return s - Number{0.5} * tanh(Number{static_cast<double>(p.query - p.key)});
        }});
        return attend::modifier(
            [](auto s, auto p) { return s - decltype(s)(0.5) * tanh(decltype(s)(p.query - p.key)); });
    }
    /// s / (1 + |s|)
    auto bent() {
        const auto below = [](const Number& s) { return Number{1} + abs(s); };
        add({.value = [=](const Number& s, const Pair&) { return s / below(s); },
             // By the rule of quotients it is the difference of 1 + |s| and |s|, over the square.
             .slope =
                 [=](const Number& s, const Pair&) {
                     const Number b = below(s);
                     return (Number{b.value, b.error + 3 * oracle::precision.unit * b.value} - abs(s)) / (b * b);
                 }});
        return attend::modifier([](auto s, auto) { return s / (decltype(s)(1) + abs(s)); });
    }

    // Masks.
    auto causal() {
        return two_masks(attend::causal, [](const Pair& p) { return p.key <= p.query; });
    }
    auto window() {
        const Index n = 1 + static_cast<Index>(40 * case_.uniform_at(131));
        return two_masks(attend::sliding_window(n), [=](const Pair& p) { return p.query - p.key < n; });
    }
    auto two_sided_window() {
        const Index left = static_cast<Index>(30 * case_.uniform_at(132)) - 1;
        const Index right = static_cast<Index>(30 * case_.uniform_at(133)) - 1;
        return two_masks(attend::sliding_window(left, right), [=](const Pair& p) {
            return (right < 0 || -right <= p.query - p.key) && (left < 0 || p.query - p.key <= left);
        });
    }
    auto lengths() {
        std::vector<Index> all;
        for (Index s = 0; s < case_.sequences; ++s)
            all.push_back(static_cast<Index>(case_.uniform_at(134, s) * static_cast<double>(case_.keys + 1)));
        return two_masks(attend::lengths(all), [=](const Pair& p) { return p.key < all[oracle::at(p.sequence)]; });
    }
    auto documents() {
        std::vector<Index> offsets{static_cast<Index>(3 * case_.uniform_at(135))};
        for (Index i = 0; i < 6; ++i)
            offsets.push_back(offsets.back() + static_cast<Index>(60 * std::pow(case_.uniform_at(136, i), 2)));
        return two_masks(attend::documents(offsets), [=](const Pair& p) {
            for (std::size_t i = 1; i < offsets.size(); ++i) {
                const auto inside = [&](Index x) { return offsets[i - 1] <= x && x < offsets[i]; };
                if (inside(p.query) && inside(p.key)) return true;
            }
            return false;
        });
    }
    auto prefix() {
        const Index n = static_cast<Index>(case_.uniform_at(137) * static_cast<double>(case_.keys + 1));
        return two_masks(attend::prefix(n), [=](const Pair& p) { return p.key < n; });
    }
    auto dense_mask() {
        attend::RowMatrix<bool> keep(case_.queries, case_.keys);
        for (Index i = 0; i < keep.rows(); ++i) {
            for (Index j = 0; j < keep.cols(); ++j) keep(i, j) = case_.uniform_at(138, i, j) < 0.6;
        }
        return two_masks(attend::dense_mask(keep), [=](const Pair& p) { return keep(p.row, p.key); });
    }
    auto block_sparse(bool of_heads = false) {
        const Index by_query = 1 + static_cast<Index>(20 * case_.uniform_at(139));
        const Index by_key = 1 + static_cast<Index>(70 * case_.uniform_at(140));
        const Index heads = of_heads ? case_.heads() : 1;
        attend::RowMatrix<bool> blocks(6 * heads, 5);
        for (Index i = 0; i < blocks.rows(); ++i) {
            for (Index j = 0; j < blocks.cols(); ++j) blocks(i, j) = case_.uniform_at(141, i, j) < 0.5;
        }
        return two_masks(attend::block_sparse(blocks, by_query, by_key, heads), [=](const Pair& p) {
            if (p.query < 0) return false;
            const Index i = p.query / by_query, j = p.key / by_key;
            return i < 6 && j < blocks.cols() && blocks((heads == 1 ? 0 : 6 * p.head) + i, j);
        });
    }
    auto chunked() {
        const Index size = 1 + static_cast<Index>(60 * std::pow(case_.uniform_at(147), 2)),
                    before = static_cast<Index>(3 * case_.uniform_at(148));
        return two_masks(attend::chunked(size, before), [=](const Pair& p) {
            const auto chunk = [=](Index x) { return std::floor(static_cast<double>(x) / static_cast<double>(size)); };
            const double ahead = chunk(p.query) - chunk(p.key);
            return 0 <= ahead && ahead <= static_cast<double>(before);
        });
    }
    auto dilated() {
        const Index step = 1 + static_cast<Index>(5 * case_.uniform_at(149));
        return two_masks(attend::dilated(step), [=](const Pair& p) { return std::abs(p.query - p.key) % step == 0; });
    }
    auto neighbourhood() {
        const auto drawn = [this](Index most, std::uint64_t what) {
            return static_cast<Index>(static_cast<double>(most) * case_.uniform_at(150, static_cast<Index>(what)));
        };
        const Index columns = 1 + drawn(20, 0), rows = 1 + drawn(12, 1), right = drawn(5, 2), down = drawn(4, 3);
        return two_masks(attend::neighbourhood({.rows = rows, .columns = columns}, {.rows = down, .columns = right}),
                         [=](const Pair& p) {
                             const auto inside = [&](Index x) { return 0 <= x && x < rows * columns; };
                             return inside(p.query) && inside(p.key) &&
                                    std::abs(p.query % columns - p.key % columns) <= right &&
                                    std::abs(p.query / columns - p.key / columns) <= down;
                         });
    }
    auto tree() {
        const Index nodes = static_cast<Index>(40 * case_.uniform_at(142)),
                    begin = static_cast<Index>(30 * case_.uniform_at(143));
        std::vector<Index> parents;
        for (Index i = 0; i < nodes; ++i)
            parents.push_back(static_cast<Index>(case_.uniform_at(144, i) * static_cast<double>(i + 1)) - 1);
        return two_masks(attend::tree(parents, begin), [=](const Pair& p) {
            const auto inside = [&](Index x) { return begin <= x && x < begin + nodes; };
            if (!inside(p.query) || !inside(p.key)) return p.key <= p.query;
            Index node = p.query - begin;
            while (node > p.key - begin) node = parents[oracle::at(node)];
            return node == p.key - begin;
        });
    }
    auto odd_keys() {
        return two_masks(attend::mask([](attend::Position p) { return p.key % 2 == 1 || p.head == 1; }),
                         [](const Pair& p) { return p.key % 2 == 1 || p.head == 1; });
    }
    template <class M>
    M mask(const TwoMasks<M>& both) {
        oracle_.mask = both.oracle;
        return both.library;
    }

    // Normalizers.
    auto sink() {
        oracle_.normalizer = {.logits = {nudged(case_.number_at(151, 0))}};
        return attend::softmax_with_sink(oracle_.normalizer.logits[0]);
    }
    auto sink_of_heads() {
        oracle_.normalizer = {.logits = drawn(case_.heads(), 152)};
        return attend::softmax_with_sink(vector(oracle_.normalizer.logits));
    }
    auto sigmoid() {
        oracle_.normalizer = {.kind = oracle::Weights::sigmoid, .logits = {nudged(case_.number_at(153, 0))}};
        return attend::sigmoid(oracle_.normalizer.logits[0]);
    }
    auto sigmoid_of_heads() {
        oracle_.normalizer = {.kind = oracle::Weights::sigmoid, .logits = drawn(case_.heads(), 154)};
        return attend::sigmoid(vector(oracle_.normalizer.logits));
    }
    auto sparsemax() {
        oracle_.normalizer = {.kind = oracle::Weights::sparsemax};
        return attend::sparsemax;
    }
    auto entmax15() {
        oracle_.normalizer = {.kind = oracle::Weights::entmax15};
        return attend::entmax15;
    }
    auto top_k() {
        const Index k = 1 + static_cast<Index>(10 * case_.uniform_at(155));
        oracle_.normalizer = {.kind = oracle::Weights::top_k, .k = k};
        return attend::top_k(k);
    }

private:
    double nudged(double parameter) const { return parameter + case_.nudge; }
    void add(oracle::Modifier modifier) { oracle_.modifiers.push_back(std::move(modifier)); }
    void elementwise(oracle::Elementwise::F f, oracle::Elementwise::F f_q, oracle::Elementwise::F f_k) {
        oracle_.score = std::make_shared<oracle::Elementwise>(std::move(f), std::move(f_q), std::move(f_k));
    }
    std::vector<double> drawn(Index count, std::uint64_t what) const {
        std::vector<double> all;
        for (Index h = 0; h < count; ++h) all.push_back(nudged(case_.number_at(what, 0, h)));
        return all;
    }
    static Eigen::VectorXd vector(const std::vector<double>& all) {
        return Eigen::Map<const Eigen::VectorXd>(all.data(), static_cast<Index>(all.size()));
    }
    /// Fills a weight with numbers of the case.
    template <class Matrix>
    oracle::Linear weight(Matrix& to, std::uint64_t what) const {
        oracle::Linear all{.in = to.rows(), .out = to.cols()};
        for (Index b = 0; b < to.cols(); ++b) {
            for (Index a = 0; a < to.rows(); ++a) {
                to(a, b) =
                    static_cast<typename Matrix::Scalar>(nudged(case_.number_at(what, case_.parameter_power, a, b)));
                all.weight.push_back(static_cast<double>(to(a, b)));
            }
        }
        return all;
    }
    void add_alibi(const std::vector<double>& slopes) {
        const auto of = [=](const Pair& p) { return slopes.size() > 1 ? p.head : 0; };
        const auto distance = [](const Pair& p) { return Number{static_cast<double>(p.query - p.key)}; };
        add({.value = [=](const Number& s,
                          const Pair& p) { return s - oracle::number(slopes[oracle::at(of(p))]) * distance(p); },
             .parameters = static_cast<Index>(slopes.size()),
             .parameter = of,
             .parameter_slope = [=](const Number&, const Pair& p) { return -distance(p); }});
    }
    template <class B>
    void add_bias(const attend::RowMatrix<B>& values, Index heads) {
        const Index queries = case_.queries;
        const auto row = [=](const Pair& p) { return heads == 1 ? p.row : p.head * queries + p.row; };
        add({.value = [=](const Number& s,
                          const Pair& p) { return s + Number{static_cast<double>(values(row(p), p.key))}; },
             .parameters = values.size(),
             .parameter = [=](const Pair& p) { return row(p) + heads * queries * p.key; }});
    }
    /// s + values(line(pair), head)
    template <class Line>
    void add_line_bias(const Eigen::MatrixX<X>& values, Line line) {
        const auto entry = [=, lines = values.rows(), heads = values.cols()](const Pair& p) {
            return line(p) + (heads == 1 ? 0 : p.head * lines);
        };
        add({.value = [=](const Number& s,
                          const Pair& p) { return s + Number{static_cast<double>(values.data()[entry(p)])}; },
             .parameters = values.size(),
             .parameter = entry});
    }
    void add_span(const std::vector<double>& spans, double ramp) {
        const auto of = [=](const Pair& p) { return spans.size() > 1 ? p.head : 0; };
        const auto reached = [=](const Pair& p) {
            return (ramp + spans[oracle::at(of(p))] - static_cast<double>(std::abs(p.query - p.key))) / ramp;
        };
        add({.value =
                 [=](const Number& s, const Pair& p) {
                     const double m = reached(p);
                     return m <= 0 ? Number{-oracle::infinity} : m >= 1 ? s : s + log(Number{m});
                 },
             .parameters = static_cast<Index>(spans.size()),
             .parameter = of,
             .parameter_slope =
                 [=](const Number&, const Pair& p) {
                     const double m = reached(p);
                     return m <= 0 || m >= 1 ? Number{} : Number{1} / Number{m * ramp};
                 }});
    }

    const Case& case_;
    oracle::Attention oracle_;
};

}  // namespace fuzz
