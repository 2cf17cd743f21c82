#pragma once
/// \file
/// What an attention is by its definition: plain loops over pairs, in double, that share nothing with the library.
/// Every number carries a bound on the error that straightforward arithmetic of the precision under test would make of
/// it, so that a comparison knows how far apart two right answers may be, element by element.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace oracle {

using Index = std::ptrdiff_t;
inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// The arithmetic under test: half the distance from 1 to the next number, below which weights may count as 0, and the
/// same half distance of the scalar that operands and results are stored in. `repeats` says that operands are of few
/// numbers, so that sums are likely to have equal terms; `weights` is the half distance of the numbers to which weights
/// are rounded before they meet values.
struct Precision {
    double unit = 0x1p-24;
    double least_weight = 4e-29;
    double stored = 0x1p-24;
    bool repeats = false;
    double weights = 0;
};
inline thread_local Precision precision{};

struct Number {
    double value = 0, error = 0;
};

/// Whether a result is a number of the precision under test.
inline bool fits(double x) { return precision.unit < 0x1p-50 || static_cast<double>(static_cast<float>(x)) == x; }
inline Number rounded(double value, double error, bool exact) {
    if (std::isinf(value)) return {value, 0};
    return {value, error + (exact ? 0.0 : precision.unit * std::abs(value))};
}
inline Number operator-(const Number& a) { return {-a.value, a.error}; }
inline Number operator+(const Number& a, const Number& b) {
    const double x = a.value + b.value;
    return rounded(x, a.error + b.error, fits(x) && x - a.value == b.value && x - b.value == a.value);
}
inline Number operator-(const Number& a, const Number& b) { return a + (-b); }
inline Number operator*(const Number& a, const Number& b) {
    const double x = a.value * b.value;
    const double error = std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error;
    return rounded(x, error, fits(x) && std::fma(a.value, b.value, -x) == 0);
}
inline Number operator/(const Number& a, const Number& b) {
    const double x = a.value / b.value, least = std::max(std::abs(b.value) - b.error, 1e-300);
    return rounded(x, (a.error + std::abs(x) * b.error) / least + precision.unit * std::abs(x), false);
}
inline Number exp(const Number& x) {
    const double y = std::exp(x.value);
    if (y == 0) return {};
    // A rounding of x · log2 e as well: exponentials of small numbers are small, and so is what this adds to a row.
    return {y, y * (std::expm1(std::min(x.error, 100.0)) + precision.unit * (3 + std::abs(x.value)))};
}
inline Number log(const Number& x) {
    const double y = std::log(x.value);
    return {y, x.error / std::max(x.value - x.error, 1e-300) + precision.unit * (2 * std::abs(y) + 1)};
}
inline Number tanh(const Number& x) {
    const double y = std::tanh(x.value), flattest = std::tanh(std::max(0.0, std::abs(x.value) - x.error));
    const double slope = std::isinf(x.value) ? 0.0 : (1 - flattest * flattest) * x.error;
    return {y, std::min(2.0, slope) + 4 * precision.unit * std::abs(y)};
}
inline Number abs(const Number& x) { return {std::abs(x.value), x.error}; }
inline Number number(double x) { return {x, fits(x) ? 0.0 : precision.unit * std::abs(x)}; }

/// A sum, which rounds by about the root of the number of its terms, and not at all over numbers of one coarse grid.
/// Equal terms that are added to sums of one magnitude are rounded in the same way, so m of them count m times.
class Sum {
public:
    explicit Sum(bool repeats = precision.repeats) : repeats_(repeats) {}
    void add(const Number& x) {
        value_ += x.value;
        error_ += x.error;
        total_ += std::abs(x.value);
        count_ += 1;
        exact_ = exact_ && x.error == 0 && std::nearbyint(x.value * 1024) == x.value * 1024;
        if (repeats_) terms_.push_back(std::abs(x.value));
    }
    bool any() const { return count_ > 0; }
    Number number() const {
        if (exact_ && total_ * 1024 * precision.unit < 1) return {value_, 0};
        return {value_, error_ + precision.unit * (1 + roundings()) * total_};
    }

private:
    double roundings() const {
        std::vector<double> sorted = terms_;
        std::sort(sorted.begin(), sorted.end());
        double squares = 0;
        for (auto first = sorted.begin(); first != sorted.end();) {
            const auto last = std::upper_bound(first, sorted.end(), *first);
            const auto equal = static_cast<double>(last - first);
            squares += equal * equal;
            first = last;
        }
        return std::sqrt(terms_.empty() ? count_ : squares);
    }

    double value_ = 0, error_ = 0, total_ = 0, count_ = 0;
    bool exact_ = true, repeats_;
    std::vector<double> terms_{};
};

using Row = std::vector<Number>;
using Sums = std::vector<Sum>;
inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

inline Row numbers(const Sums& sums) {
    Row row;
    for (const Sum& sum : sums) row.push_back(sum.number());
    return row;
}

/// rows × heads × width numbers.
template <class T>
struct Tensor {
    Index rows = 0, heads = 0, width = 0;
    std::vector<T> all{};

    Tensor() = default;
    Tensor(Index rows_, Index heads_, Index width_)
        : rows(rows_), heads(heads_), width(width_), all(at(rows_ * heads_ * width_)) {}
    T& operator()(Index row, Index head, Index column) { return all[at((row * heads + head) * width + column)]; }
    const T& operator()(Index row, Index head, Index column) const {
        return all[at((row * heads + head) * width + column)];
    }
    std::vector<T> line(Index row, Index head) const {
        const auto first = all.begin() + (row * heads + head) * width;
        return std::vector<T>(first, first + width);
    }
};

struct Pair {
    Index query = 0, key = 0, row = 0, head = 0, kv_head = 0, sequence = 0;
};

/// How a query matches a key: both become features, which are paired. Parameters are numbered from 0.
struct Score {
    virtual ~Score() = default;
    virtual Index parameters() const { return 0; }
    virtual Row map_query(const std::vector<double>& q) const { return identity(q); }
    virtual Row map_key(const std::vector<double>& k) const { return identity(k); }
    virtual void map_query_backward(const std::vector<double>&, const Row& dmapped, Sums& dq, Sums&) const {
        for (std::size_t a = 0; a < dq.size(); ++a) dq[a].add(dmapped[a]);
    }
    virtual void map_key_backward(const std::vector<double>&, const Row& dmapped, Sums& dk, Sums&) const {
        for (std::size_t a = 0; a < dk.size(); ++a) dk[a].add(dmapped[a]);
    }
    virtual Number pair(const Row& q, const Row& k) const {
        Sum s;
        for (std::size_t a = 0; a < q.size(); ++a) s.add(q[a] * k[a]);
        return s.number();
    }
    virtual void pair_backward(const Row& q, const Row& k, const Number& ds, Sums& dq, Sums& dk, Sums&) const {
        for (std::size_t a = 0; a < q.size(); ++a) dq[a].add(ds * k[a]), dk[a].add(ds * q[a]);
    }

protected:
    static Row identity(const std::vector<double>& x) {
        Row row;
        for (const double value : x) row.push_back({value, 0});
        return row;
    }
};
using Dot = Score;

struct ScaledDot : Score {
    double scale;
    bool rounds;  ///< a scale that was computed
    ScaledDot(double scale_, bool rounds_) : scale(scale_), rounds(rounds_) {}
    Number factor() const { return {scale, rounds ? 2 * precision.unit * std::abs(scale) : number(scale).error}; }
    Row map_query(const std::vector<double>& q) const override {
        Row row = identity(q);
        for (Number& x : row) x = x * factor();
        return row;
    }
    void map_query_backward(const std::vector<double>&, const Row& dmapped, Sums& dq, Sums&) const override {
        for (std::size_t a = 0; a < dq.size(); ++a) dq[a].add(dmapped[a] * factor());
    }
};

/// x · weight, for a weight in × out whose entry (a, b) is number a + in · b.
struct Linear {
    Index in = 0, out = 0;
    std::vector<double> weight{};

    const double& operator()(Index a, Index b) const { return weight[at(a + in * b)]; }
    void add(const std::vector<double>& x, Sums& y) const {
        for (Index b = 0; b < out; ++b) {
            for (Index a = 0; a < in; ++a) y[at(b)].add(Number{x[at(a)]} * Number{(*this)(a, b)});
        }
    }
    void add_backward(const std::vector<double>& x, const Row& dy, Sums& dx, Sums& parameters, Index first) const {
        for (Index b = 0; b < out; ++b) {
            for (Index a = 0; a < in; ++a) {
                dx[at(a)].add(dy[at(b)] * Number{(*this)(a, b)});
                parameters[at(first + a + in * b)].add(dy[at(b)] * Number{x[at(a)]});
            }
        }
    }
};

struct General : Score {
    Linear weight;
    explicit General(Linear weight_) : weight(std::move(weight_)) {}
    Index parameters() const override { return weight.in * weight.out; }
    Row map_query(const std::vector<double>& q) const override {
        Sums y(at(weight.out));
        weight.add(q, y);
        return numbers(y);
    }
    void map_query_backward(const std::vector<double>& q, const Row& dmapped, Sums& dq, Sums& all) const override {
        weight.add_backward(q, dmapped, dq, all, 0);
    }
};

struct Additive : Score {
    Linear query, key;
    std::vector<double> bias, weight;
    Additive(Linear q, Linear k, std::vector<double> b, std::vector<double> v)
        : query(std::move(q)), key(std::move(k)), bias(std::move(b)), weight(std::move(v)) {}

    Index hidden() const { return query.out; }
    Index parameters() const override { return (query.in + key.in + 2) * hidden(); }
    Row map_query(const std::vector<double>& q) const override {
        Sums y(bias.size());
        for (std::size_t h = 0; h < bias.size(); ++h) y[h].add({bias[h]});
        query.add(q, y);
        return numbers(y);
    }
    Row map_key(const std::vector<double>& k) const override {
        Sums y(bias.size());
        key.add(k, y);
        return numbers(y);
    }
    void map_query_backward(const std::vector<double>& q, const Row& dmapped, Sums& dq, Sums& all) const override {
        query.add_backward(q, dmapped, dq, all, 0);
        for (std::size_t h = 0; h < bias.size(); ++h) all[at((query.in + key.in) * hidden()) + h].add(dmapped[h]);
    }
    void map_key_backward(const std::vector<double>& k, const Row& dmapped, Sums& dk, Sums& all) const override {
        key.add_backward(k, dmapped, dk, all, query.in * hidden());
    }
    /// An absolute error of a few roundings, as that of 1 − 2 / (e^{2x} + 1), is as good as a relative one: weights of
    /// a sum stand before it.
    static Number squashed(const Number& q, const Number& k) {
        Number t = tanh(q + k);
        t.error += 4 * precision.unit;
        return t;
    }
    Number pair(const Row& q, const Row& k) const override {
        Sum s;
        for (std::size_t h = 0; h < bias.size(); ++h) s.add(squashed(q[h], k[h]) * Number{weight[h]});
        return s.number();
    }
    void pair_backward(const Row& q, const Row& k, const Number& ds, Sums& dq, Sums& dk, Sums& all) const override {
        for (std::size_t h = 0; h < bias.size(); ++h) {
            const Number t = squashed(q[h], k[h]), slope = Number{1} - t * t;
            const Number dx = ds * Number{weight[h]} * slope;
            dq[h].add(dx), dk[h].add(dx);
            all[at((query.in + key.in + 1) * hidden()) + h].add(ds * t);
        }
    }
};

struct Cosine : Score {
    double scale;
    explicit Cosine(double scale_) : scale(scale_) {}
    Index parameters() const override { return 1; }
    static Number length(const std::vector<double>& x) {
        double most = 0, squares = 0;
        for (const double value : x) most = std::max(most, std::abs(value));
        for (const double value : x) squares += most == 0 ? 0 : value / most * (value / most);
        const double norm = most * std::sqrt(squares);
        return {norm, precision.unit * (2 + std::sqrt(static_cast<double>(x.size()))) * norm};
    }
    static Row unit_row(const std::vector<double>& x) {
        Row row = identity(x);
        const Number norm = length(x);
        for (Number& value : row) value = norm.value == 0 ? Number{} : value / norm;
        return row;
    }
    Row map_query(const std::vector<double>& q) const override {
        Row row = unit_row(q);
        for (Number& value : row) value = value * number(scale);
        return row;
    }
    Row map_key(const std::vector<double>& k) const override { return unit_row(k); }
    /// Of y = factor · x / |x|: dx = (dy − (dy · unit) unit) factor / |x|, dfactor = dy · unit.
    static Number backward(const std::vector<double>& x, const Row& dy, const Number& factor, Sums& dx) {
        const Number norm = length(x);
        if (norm.value == 0) return {};
        const Row unit = unit_row(x);
        Sum along;
        for (std::size_t a = 0; a < x.size(); ++a) along.add(unit[a] * dy[a]);
        for (std::size_t a = 0; a < x.size(); ++a) dx[a].add((dy[a] - unit[a] * along.number()) * (factor / norm));
        return along.number();
    }
    void map_query_backward(const std::vector<double>& q, const Row& dmapped, Sums& dq, Sums& all) const override {
        all[0].add(backward(q, dmapped, number(scale), dq));
    }
    void map_key_backward(const std::vector<double>& k, const Row& dmapped, Sums& dk, Sums&) const override {
        backward(k, dmapped, {1}, dk);
    }
};

/// scale · (gq q / rms(q)) · (gk k / rms(k)), rms² = mean of squares + ε.
struct RmsNormed : Score {
    double epsilon, scale;
    std::vector<double> q_gain, k_gain;
    RmsNormed(double epsilon_, double scale_, std::vector<double> q, std::vector<double> k)
        : epsilon(epsilon_), scale(scale_), q_gain(std::move(q)), k_gain(std::move(k)) {}
    Index parameters() const override { return static_cast<Index>(q_gain.size() + k_gain.size()); }
    Number rms(const std::vector<double>& x) const {
        const Number length = Cosine::length(x);
        const double root = std::sqrt(static_cast<double>(x.size())),
                     value = std::hypot(length.value / root, std::sqrt(epsilon));
        return {value, length.error / root + 3 * precision.unit * value};
    }
    Row map(const std::vector<double>& x, const std::vector<double>& gain, double factor) const {
        Row row = identity(x);
        const Number below = rms(x);
        for (std::size_t a = 0; a < x.size(); ++a) row[a] = row[a] / below * Number{gain[a]} * number(factor);
        return row;
    }
    void backward(const std::vector<double>& x, const std::vector<double>& gain, double factor, const Row& dy, Sums& dx,
                  Sums& all, std::size_t first) const {
        const Number below = rms(x), n{static_cast<double>(x.size())};
        Sum along;
        Row unit = identity(x), d = dy;
        for (std::size_t a = 0; a < x.size(); ++a) {
            unit[a] = unit[a] / below, d[a] = dy[a] * number(factor);
            all[first + a].add(d[a] * unit[a]);
            along.add(d[a] * Number{gain[a]} * unit[a]);
        }
        for (std::size_t a = 0; a < x.size(); ++a)
            dx[a].add((d[a] * Number{gain[a]} - unit[a] * (along.number() / n)) / below);
    }
    Row map_query(const std::vector<double>& q) const override { return map(q, q_gain, scale); }
    Row map_key(const std::vector<double>& k) const override { return map(k, k_gain, 1); }
    void map_query_backward(const std::vector<double>& q, const Row& dmapped, Sums& dq, Sums& all) const override {
        backward(q, q_gain, scale, dmapped, dq, all, 0);
    }
    void map_key_backward(const std::vector<double>& k, const Row& dmapped, Sums& dk, Sums& all) const override {
        backward(k, k_gain, 1, dmapped, dk, all, q_gain.size());
    }
};

/// The same of keys that are features already, as those that a cache holds.
struct OfFeatures : Score {
    std::shared_ptr<Score> score;
    explicit OfFeatures(std::shared_ptr<Score> score_) : score(std::move(score_)) {}
    Index parameters() const override { return score->parameters(); }
    Row map_query(const std::vector<double>& q) const override { return score->map_query(q); }
    void map_query_backward(const std::vector<double>& q, const Row& dmapped, Sums& dq, Sums& all) const override {
        score->map_query_backward(q, dmapped, dq, all);
    }
    Number pair(const Row& q, const Row& k) const override { return score->pair(q, k); }
    void pair_backward(const Row& q, const Row& k, const Number& ds, Sums& dq, Sums& dk, Sums& all) const override {
        score->pair_backward(q, k, ds, dq, dk, all);
    }
};

/// Σ_a f(q_a, k_a), with the derivatives of f.
struct Elementwise : Score {
    using F = std::function<Number(const Number&, const Number&)>;
    F f, f_q, f_k;
    Elementwise(F f_, F by_q, F by_k) : f(std::move(f_)), f_q(std::move(by_q)), f_k(std::move(by_k)) {}
    Number pair(const Row& q, const Row& k) const override {
        Sum s;
        for (std::size_t a = 0; a < q.size(); ++a) s.add(f(q[a], k[a]));
        return s.number();
    }
    void pair_backward(const Row& q, const Row& k, const Number& ds, Sums& dq, Sums& dk, Sums&) const override {
        for (std::size_t a = 0; a < q.size(); ++a) dq[a].add(ds * f_q(q[a], k[a])), dk[a].add(ds * f_k(q[a], k[a]));
    }
};

/// A change of a score, its slope, and of its parameters the one that a pair meets, with the slope in that.
struct Modifier {
    using F = std::function<Number(const Number&, const Pair&)>;
    F value{}, slope = [](const Number&, const Pair&) { return Number{1}; };
    Index parameters = 0;
    std::function<Index(const Pair&)> parameter = [](const Pair&) { return Index(0); };
    F parameter_slope = [](const Number&, const Pair&) { return Number{1}; };
};

enum class Weights { softmax, sigmoid, sparsemax, entmax15, top_k };

struct Normalizer {
    Weights kind = Weights::softmax;
    std::vector<double> logits{};  ///< sinks, or the biases of a sigmoid: none, one for all heads, or one a head
    Index k = 0;

    Index logit_of(Index head) const { return logits.size() > 1 ? head : 0; }
};

struct Attention {
    std::shared_ptr<Score> score = std::make_shared<Dot>();
    std::vector<Modifier> modifiers{};
    std::function<bool(const Pair&)> mask = [](const Pair&) { return true; };
    Normalizer normalizer{};

    /// In the order score, modifiers, normalizer.
    Index parameters() const {
        Index count = score->parameters() + static_cast<Index>(normalizer.logits.size());
        for (const Modifier& m : modifiers) count += m.parameters;
        return count;
    }
};

/// Operands of a call. Sequence s holds the rows [begin[s], begin[s + 1]).
struct Call {
    Tensor<double> q, k, v, dout;
    Tensor<double> dlse{};  ///< empty: none; of softmax with or without sinks
    std::vector<Index> query_begin, key_begin;
    Index query_offset = 0;
    std::vector<Index> query_offsets{};  ///< of each sequence, where they differ
    std::vector<Index> key_positions{};  ///< of each row of k, where they are not its numbers in a sequence
    Tensor<double> dweights{};           ///< empty: none; queries × heads × longest sequence of keys

    Index group() const { return q.heads / k.heads; }
    /// Of a sequence, its rows of q and of k.
    Pair pair(Index s, Index head, Index row, Index key) const {
        const Index offset = query_offsets.empty() ? query_offset : query_offsets[at(s)];
        const Index position = key_positions.empty() ? key : key_positions[at(key_begin[at(s)] + key)];
        return {offset + row, position, row, head, head / group(), s};
    }
};

struct Result {
    Tensor<Number> out, lse, weights, dq, dk, dv;  ///< weights: queries × heads × longest sequence of keys
    Row parameters;
    double loss = 0;  ///< Σ dout · out + Σ dlse lse + Σ dweights weights, of rows that are not empty
    bool weights_known = true,
         gradients_known = true;  ///< false where a score stands so near to a kink that it may be on either side
};

/// Runs an attention, forward and backward.
class Run {
public:
    Run(const Attention& attention, const Call& call) : attention_(attention), call_(call) {
        const Index queries = call.q.rows, keys = call.k.rows, heads = call.q.heads, kv_heads = call.k.heads;
        Index longest = 0;
        for (std::size_t s = 1; s < call.key_begin.size(); ++s)
            longest = std::max(longest, call.key_begin[s] - call.key_begin[s - 1]);
        result_.out = {queries, heads, call.v.width};
        result_.lse = {queries, heads, 1};
        result_.weights = {queries, heads, longest};
        result_.dq = {queries, heads, call.q.width};
        parameters_.resize(at(attention.parameters()));
        mapped_keys_ = Tensor<Row>(keys, kv_heads, 1);
        dkeys_ = Tensor<Sums>(keys, kv_heads, 1);
        dv_ = Tensor<Sum>(keys, kv_heads, call.v.width);
    }

    Result run() {
        for (Index s = 0; s + 1 < static_cast<Index>(call_.query_begin.size()); ++s) {
            for (Index head = 0; head < call_.q.heads; ++head) {
                const Index rows = call_.query_begin[at(s + 1)] - call_.query_begin[at(s)];
                for (Index row = 0; row < rows; ++row) query(s, head, row);
            }
        }
        finish_keys();
        result_.parameters = numbers(parameters_);
        return std::move(result_);
    }

private:
    struct Seen {
        Pair pair;
        Index key_row = 0;
        std::vector<Number> scores{};  ///< before each modifier, then the final one
        Number weight{}, again{};      ///< the second as formed again in a backward pass
        Number root{};                 ///< of an entmax weight
        Number dweight{}, dscore{};
    };

    /// A weight as the values are multiplied by it.
    static Number rounded(const Number& weight) {
        return {weight.value, weight.error + precision.weights * std::abs(weight.value)};
    }

    void query(Index s, Index head, Index row) {
        const Index query_row = call_.query_begin[at(s)] + row, kv_head = head / call_.group();
        const Index first = call_.key_begin[at(s)], keys = call_.key_begin[at(s + 1)] - first;
        result_.lse(query_row, head, 0) = {-infinity};
        std::vector<Seen> seen;
        for (Index key = 0; key < keys; ++key) {
            const Pair pair = call_.pair(s, head, row, key);
            if (attention_.mask(pair)) seen.push_back({.pair = pair, .key_row = first + key});
        }
        if (seen.empty()) return;
        const std::vector<double> q = call_.q.line(query_row, head);
        const Row mapped = attention_.score->map_query(q);
        for (Seen& x : seen) {
            x.scores.push_back(attention_.score->pair(mapped, key_features(x.key_row, kv_head)));
            for (const Modifier& m : attention_.modifiers) x.scores.push_back(m.value(x.scores.back(), x.pair));
        }
        weigh(seen, head, result_.lse(query_row, head, 0));
        for (const Seen& x : seen) result_.weights(query_row, head, x.key_row - first) = x.weight;
        Sum delta;
        double delta_error = 0;
        for (Index c = 0; c < call_.v.width; ++c) {
            Sum out;
            for (const Seen& x : seen) {
                if (x.weight.value == 0 && x.weight.error == 0) continue;
                out.add(rounded(x.weight) * Number{call_.v(x.key_row, kv_head, c)});
            }
            const Number y = result_.out(query_row, head, c) = out.number();
            const double dy = call_.dout(query_row, head, c);
            result_.loss += y.value * dy;
            // Σ p dp may be formed as dout · out, of the output as it was stored.
            delta_error += std::abs(dy) * (y.error + 2 * precision.stored * std::abs(y.value));
        }
        for (Seen& x : seen) {
            Sum dweight;
            for (Index c = 0; c < call_.v.width; ++c) {
                const Number dy{call_.dout(query_row, head, c)};
                dweight.add(dy * Number{call_.v(x.key_row, kv_head, c)});
                if (x.again.value != 0 || x.again.error != 0) dv_(x.key_row, kv_head, c).add(rounded(x.again) * dy);
            }
            if (call_.dweights.rows > 0) {
                const double own = call_.dweights(query_row, head, x.key_row - first);
                dweight.add(Number{own});
                result_.loss += own * x.weight.value;
            }
            x.dweight = dweight.number();
            if (x.again.value != 0 || x.again.error != 0) delta.add(x.again * x.dweight);
        }
        Number sum = delta.number();
        sum.error += delta_error;
        if (call_.dlse.rows > 0) {  // d lse / d score is the weight
            const double dlse = call_.dlse(query_row, head, 0);
            sum = sum - Number{dlse};
            const double lse = result_.lse(query_row, head, 0).value;
            if (lse != -infinity) result_.loss += dlse * lse;  // a modifier may have hidden all that the mask left
        }
        dscores(seen, head, sum);
        Sums dmapped(mapped.size());
        for (Seen& x : seen) pair_backward(x, mapped, dmapped);
        Sums dq(q.size());
        attention_.score->map_query_backward(q, numbers(dmapped), dq, parameters_);
        for (std::size_t a = 0; a < dq.size(); ++a) result_.dq(query_row, head, static_cast<Index>(a)) = dq[a].number();
    }

    const Row& key_features(Index key_row, Index kv_head) {
        Row& row = mapped_keys_(key_row, kv_head, 0);
        if (row.empty()) row = attention_.score->map_key(call_.k.line(key_row, kv_head));
        return row;
    }

    void weigh(std::vector<Seen>& seen, Index head, Number& lse) {
        const Normalizer& n = attention_.normalizer;
        if (n.kind == Weights::top_k) keep_largest(seen);
        const bool sink = n.kind == Weights::softmax && !n.logits.empty();
        const double logit = sink ? n.logits[at(n.logit_of(head))] : -infinity;
        double most = logit;
        for (const Seen& x : seen) most = std::max(most, x.scores.back().value);
        if (most == -infinity) return;
        Sum sum(true);  // a cap makes many scores equal
        std::vector<Number> powers;
        for (const Seen& x : seen) {
            Number power = exp(x.scores.back() - Number{most});
            if (x.scores.back().value == -infinity) power = {};
            powers.push_back(power);
            sum.add(power);
        }
        if (sink) sum.add(exp(number(logit) - Number{most}));
        const Number total = sum.number();
        lse = Number{most} + log(total);
        lse.error += precision.unit * std::abs(lse.value);
        sink_ = sink ? exp(number(logit) - Number{most}) / total : Number{};
        for (std::size_t i = 0; i < seen.size(); ++i) {
            Seen& x = seen[i];
            const Number s = x.scores.back();
            x.weight = powers[i] / total;
            if (n.kind == Weights::sigmoid) {
                const Number shifted = s + number(n.logits[at(n.logit_of(head))]);
                const double e = std::exp(-std::abs(shifted.value)), p = (shifted.value < 0 ? e : 1.0) / (1 + e);
                x.weight = {
                    p, p * std::min(1.0, std::expm1(std::min(shifted.error, 1.0)) * (1 - p)) + 4 * precision.unit * p};
            }
            x.again = x.weight;
            if (s.value == -infinity) {
                x.weight = x.again = {};
                continue;
            }
            // What is formed again is so by the LSE as it was stored, where that holds the sum well.
            if (n.kind == Weights::softmax || n.kind == Weights::top_k) {
                const double apart = std::abs(s.value - lse.value);
                x.again.error += x.again.value * precision.unit * (apart + std::min(2 * std::abs(lse.value), 32.0));
            }
            x.weight.error = std::min(1.0, x.weight.error + precision.least_weight);
            x.again.error = std::min(1.0, x.again.error + precision.least_weight);
        }
        if (n.kind == Weights::sparsemax || n.kind == Weights::entmax15) project(seen);
    }

    /// The k largest scores, of equal ones the lower key.
    void keep_largest(std::vector<Seen>& seen) {
        const std::size_t k = at(attention_.normalizer.k);
        if (k >= seen.size()) return;
        std::vector<Seen*> order;
        for (Seen& x : seen) order.push_back(&x);
        std::stable_sort(order.begin(), order.end(),
                         [](const Seen* a, const Seen* b) { return a->scores.back().value > b->scores.back().value; });
        double least = infinity, most = -infinity, error = 0;
        for (std::size_t i = 0; i < order.size(); ++i) {
            const Number& score = order[i]->scores.back();
            if (i < k) least = std::min(least, score.value - 4 * score.error);
            if (i >= k) most = std::max(most, score.value + 4 * score.error);
            error = std::max(error, score.error);
        }
        if (error > 0 && least <= most) result_.weights_known = result_.gradients_known = false;
        for (std::size_t i = k; i < order.size(); ++i) order[i]->scores.back() = {-infinity};
    }

    /// max(x − τ, 0)^power with the τ for which the weights sum to 1, by halving its range.
    void project(std::vector<Seen>& seen) {
        const bool squared = attention_.normalizer.kind == Weights::entmax15;
        const double factor = squared ? 0.5 : 1.0;
        double most = -infinity, error = 0;
        for (const Seen& x : seen) most = std::max(most, factor * x.scores.back().value);
        double low = -1, high = 0;  // of τ − most
        const auto sum_above = [&](double tau) {
            double sum = 0;
            for (const Seen& x : seen) {
                const double above = std::max(0.0, factor * x.scores.back().value - most - tau);
                sum += squared ? above * above : above;
            }
            return sum;
        };
        for (int step = 0; step < 200; ++step) {
            const double middle = (low + high) / 2;
            (sum_above(middle) >= 1 ? low : high) = middle;
        }
        for (const Seen& x : seen) {
            const Number& score = x.scores.back();
            if (factor * score.value - most + 2 * score.error > low - 1e-3) error = std::max(error, score.error);
        }
        const double slack = 2 * error + 8 * precision.unit * (1 + std::sqrt(static_cast<double>(seen.size())));
        for (Seen& x : seen) {
            const double above = factor * x.scores.back().value - most - low;
            x.root = above > 0 ? Number{above, slack} : Number{};
            if (std::abs(above) < 8 * slack) result_.gradients_known = false;
            x.weight = x.again = squared ? x.root * x.root : x.root;
            if (above > -slack) x.weight.error = std::max(x.weight.error, squared ? slack * slack : slack);
        }
    }

    /// From the derivatives in the weights those in the scores.
    void dscores(std::vector<Seen>& seen, Index head, const Number& delta) {
        const Normalizer& n = attention_.normalizer;
        const std::size_t first = parameters_.size() - n.logits.size();
        Sum roots, sum;
        for (const Seen& x : seen) {
            if (x.root.value == 0) continue;
            roots.add(n.kind == Weights::sparsemax ? Number{1} : x.root);
            sum.add(n.kind == Weights::sparsemax ? x.dweight : x.root * x.dweight);
        }
        for (Seen& x : seen) {
            if (n.kind == Weights::softmax || n.kind == Weights::top_k) {
                x.dscore = x.again * (x.dweight - delta);
            } else if (n.kind == Weights::sigmoid) {
                x.dscore = x.dweight * x.again * (Number{1} - x.again);
                parameters_[first + at(n.logit_of(head))].add(x.dscore);
            } else if (x.root.value != 0) {
                const Number root = n.kind == Weights::sparsemax ? Number{1} : x.root;
                x.dscore = root * (x.dweight - sum.number() / roots.number());
            }
        }
        if (n.kind == Weights::softmax && !n.logits.empty() && !seen.empty()) {
            Number weight = sink_;
            weight.error += precision.least_weight;
            parameters_[first + at(n.logit_of(head))].add(-(weight * delta));
        }
    }

    void pair_backward(Seen& x, const Row& mapped, Sums& dmapped) {
        if (x.again.value == 0 && x.again.error == 0) return;
        Number ds = x.dscore;
        Index first = attention_.score->parameters();
        for (const Modifier& m : attention_.modifiers) first += m.parameters;
        for (std::size_t i = attention_.modifiers.size(); i-- > 0;) {
            const Modifier& m = attention_.modifiers[i];
            first -= m.parameters;
            if (m.parameters > 0)
                parameters_[at(first + m.parameter(x.pair))].add(ds * m.parameter_slope(x.scores[i], x.pair));
            ds = ds * m.slope(x.scores[i], x.pair);
        }
        if (ds.value == 0 && ds.error == 0) return;
        Sums& dkey = dkeys_(x.key_row, x.pair.kv_head, 0);
        if (dkey.empty()) dkey.resize(mapped.size());
        attention_.score->pair_backward(mapped, key_features(x.key_row, x.pair.kv_head), ds, dmapped, dkey,
                                        parameters_);
    }

    void finish_keys() {
        result_.dk = {call_.k.rows, call_.k.heads, call_.k.width};
        result_.dv = {call_.v.rows, call_.v.heads, call_.v.width};
        for (std::size_t i = 0; i < dv_.all.size(); ++i) result_.dv.all[i] = dv_.all[i].number();
        for (Index row = 0; row < call_.k.rows; ++row) {
            for (Index head = 0; head < call_.k.heads; ++head) {
                const Sums& dmapped = dkeys_(row, head, 0);
                if (dmapped.empty()) continue;
                Sums dk(at(call_.k.width));
                attention_.score->map_key_backward(call_.k.line(row, head), numbers(dmapped), dk, parameters_);
                for (Index a = 0; a < call_.k.width; ++a) result_.dk(row, head, a) = dk[at(a)].number();
            }
        }
    }

    const Attention& attention_;
    const Call& call_;
    Result result_;
    Sums parameters_;
    Tensor<Row> mapped_keys_;
    Tensor<Sums> dkeys_;
    Tensor<Sum> dv_;
    Number sink_{};
};

inline Result run(const Attention& attention, const Call& call) { return Run(attention, call).run(); }

}  // namespace oracle
