// Continuations of one prefix, computed together, are what each is over all its keys.

#include <attend/shared_prefix.hpp>

#include <limits>
#include <vector>

#include <attend/attend.hpp>
#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_shared_prefix {
namespace {

constexpr Index heads_ = 4, kv_heads = 2, d_k = 3, d_v = 5;

/// Keys and values of a prefix and of suffixes of these lengths, in caches.
template <class T>
struct Sequences_ {
    RowMatrix<T> k, v;
    std::vector<RowMatrix<T>> suffix_k, suffix_v;
    KvCache<T> prefix, suffixes;

    Sequences_(Index length, const std::vector<Index>& lengths, std::uint64_t seed)
        : prefix({.heads = kv_heads, .d_k = d_k, .d_v = d_v, .capacity = std::max<Index>(1, length)}),
          suffixes({.heads = kv_heads, .d_k = d_k, .d_v = d_v, .capacity = 40, .sequences = std::ssize(lengths)}) {
        Random random(seed);
        k = random_matrix<T>(random, length, kv_heads * d_k, 2.0);
        v = random_matrix<T>(random, length, kv_heads * d_v);
        prefix.append(k, v);
        for (std::size_t s = 0; s < lengths.size(); ++s) {
            suffix_k.push_back(random_matrix<T>(random, lengths[s], kv_heads * d_k, 2.0));
            suffix_v.push_back(random_matrix<T>(random, lengths[s], kv_heads * d_v));
            suffixes.append(suffix_k[s], suffix_v[s], static_cast<Index>(s));
        }
    }
    /// All keys, or values, of a continuation.
    static RowMatrix<T> both(const RowMatrix<T>& a, const RowMatrix<T>& b) {
        RowMatrix<T> all(a.rows() + b.rows(), a.cols());
        all << a, b;
        return all;
    }
};

template <class T, class A>
void check(const A& attention, Index length, const std::vector<Index>& lengths, const std::vector<Index>& begins,
           double rounding) {
    CAPTURE(length, lengths.size());
    const Sequences_<T> keys(length, lengths, 1);
    Random random(2);
    const RowMatrix<T> q = random_matrix<T>(random, begins.back(), heads_ * d_k, 2.0);
    SharedPrefix<T> shared;
    RowMatrix<T> out, lse;
    shared(attention, heads(q, heads_), keys.prefix, keys.suffixes, out, {.lse = lse, .sequences = sequences(begins)});
    for (std::size_t s = 0; s < lengths.size(); ++s) {
        const Index rows = begins[s + 1] - begins[s], all = length + lengths[s];
        const RowMatrix<T> mine = q.middleRows(begins[s], rows), k = keys.both(keys.k, keys.suffix_k[s]),
                           v = keys.both(keys.v, keys.suffix_v[s]);
        RowMatrix<T> y, l;
        attention(heads(mine, heads_), heads(k, kv_heads), heads(v, kv_heads), y,
                  {.lse = l, .query_offset = std::max<Index>(0, all - rows)});
        CHECK(distance(out.middleRows(begins[s], rows), y) <= rounding);
        CHECK(distance(lse.middleRows(begins[s], rows), l) <= rounding * std::max(1.0, magnitude(l)));
    }
}

}  // namespace

TEST_CASE("continuations of one prefix give what each gives over all its keys") {
    const auto window = scaled_dot_product >> alibi(alibi_slopes(4)) >> (causal & sliding_window(50));
    const auto plain = scaled_dot_product >> causal;
    for (const Index length : {0, 1, 70, 300}) {
        check<double>(window, length, {1, 1, 1, 1}, {0, 1, 2, 3, 4}, 1e-14);
        check<double>(window, length, {3, 1, 40, 17, 2, 9}, {0, 1, 2, 5, 6, 8, 17}, 1e-14);
        check<double>(plain, length, {5, 5, 5}, {0, 5, 10, 15}, 1e-14);
        check<float>(plain, length, {8, 0, 11}, {0, 1, 1, 4}, 2e-6);
    }
    check<double>(
        plain, 200, std::vector<Index>(90, 7),
        [] {
            std::vector<Index> begins{0};
            while (begins.size() < 91) begins.push_back(begins.back() + 1);
            return begins;
        }(),
        1e-14);
    const Sequences_<double> keys(77, {5, 5}, 3);
    Random random(4);
    const RowMatrix<double> q = random_matrix<double>(random, 10, heads_ * d_k, 2.0);
    SharedPrefix<double> shared;
    RowMatrix<double> y;
    shared(dot_product >> tree({-1, 0, 0, 1, 1}, 77), heads(q, heads_), keys.prefix, keys.suffixes, y);
    for (Index s = 0; s < 2; ++s) {
        const auto at = static_cast<std::size_t>(s);
        const RowMatrix<double> mine = q.middleRows(5 * s, 5), k = keys.both(keys.k, keys.suffix_k[at]),
                                v = keys.both(keys.v, keys.suffix_v[at]);
        const RowMatrix<double> alone = (dot_product >> tree({-1, 0, 0, 1, 1}, 77))(
            heads(mine, heads_), heads(k, kv_heads), heads(v, kv_heads), {.query_offset = 77});
        CHECK(distance(y.middleRows(5 * s, 5), alone) <= 1e-14);
    }
}

TEST_CASE("16-bit queries over a shared prefix are rounded once") {
    const auto attention = scaled_dot_product >> causal;
    const Sequences_<float> keys(50, {3, 4}, 5);
    Random random(6);
    const RowMatrix<Eigen::half> q = random_matrix<float>(random, 2, heads_ * d_k).cast<Eigen::half>();
    const RowMatrix<float> wide_q = q.cast<float>();
    SharedPrefix<float> shared;
    RowMatrix<Eigen::half> out;
    RowMatrix<float> wide, lse, wide_lse;
    shared(attention, heads(q, heads_), keys.prefix, keys.suffixes, out, {.lse = lse});
    shared(attention, heads(wide_q, heads_), keys.prefix, keys.suffixes, wide, {.lse = wide_lse});
    CHECK(same_bits(out, wide.cast<Eigen::half>().eval()));
    CHECK(same_bits(lse, wide_lse));
}

TEST_CASE("keys and options that do not go with a shared prefix are refused in words") {
    const Sequences_<float> keys(4, {1, 1, 1}, 7);
    const KvCache<float> narrow({.heads = kv_heads, .d_k = d_k, .d_v = 2, .capacity = 4, .sequences = 3});
    const RowMatrix<float> q = RowMatrix<float>::Zero(4, heads_ * d_k);
    SharedPrefix<float> shared;
    RowMatrix<float> out, weights;
    const auto with = [&](const auto& prefix, const auto& suffixes, ForwardOptions<float> options) {
        return refusal([&] { shared(dot_product, heads(q, heads_), prefix, suffixes, out, options); });
    };
    CHECK(with(keys.suffixes, keys.suffixes, {}) == "prefix: must be one sequence, and there are 3");
    CHECK(with(keys.prefix, narrow, {}) ==
          "prefix (2 heads, keys of 3, values of 5) and suffixes (2, 3, 2) must be alike");
    CHECK(with(keys.prefix, keys.suffixes, {}) ==
          "q (4 heads x 4x3) must have as many rows for each of the 3 suffixes, or sequences must say where "
          "those of each begin");
    CHECK(with(keys.prefix, keys.suffixes, {.sequences = sequences({0, 1, 4})}) ==
          "sequences: must be one for each of the 3 suffixes, and end at the 4 rows of q (4 heads x 4x3)");
    const auto right = sequences({0, 1, 2, 4});
    CHECK(with(keys.prefix, keys.suffixes, {.weights = weights, .sequences = right}) ==
          "weights, insight, dropout: those of a shared prefix come of calls of their own: leave them out");
    CHECK(with(keys.prefix, keys.suffixes, {.query_offset = 1, .sequences = right}) ==
          "query_offset, query_positions, key_sequences: the sources of a shared prefix say them: leave them out");
    RowMatrix<float> small = RowMatrix<float>::Constant(3, 3, 7);
    CHECK(refusal([&] {
              shared(dot_product, heads(q, heads_), keys.prefix, keys.suffixes, small, {.sequences = right});
          }) == "out (3x3) must be 4x20, or empty to be resized");
    CHECK((small.array() == 7).all());
    CHECK(out.size() == 0);
}

TEST_CASE("what a shared prefix would overwrite, or would count in parts, is refused") {
    const Sequences_<float> keys(6, {2, 1}, 1);
    RowMatrix<float> q = RowMatrix<float>::Ones(2, heads_ * d_k), same,
                     out = RowMatrix<float>::Constant(2, heads_ * d_v, 7);
    SharedPrefix<float> shared;
    const auto call = [&](auto&& to, ForwardOptions<float> options) {
        return refusal([&] { shared(scaled_dot_product, heads(q, heads_), keys.prefix, keys.suffixes, to, options); });
    };
    CHECK(call(same, {.lse = same}) != "");
    CHECK(call(q, {}) != "");
    CHECK(call(out, {.lse = out.leftCols(heads_)}) != "");
    auto entropy = row_entropy<float>();
    CHECK(call(out, {.insight = {entropy}}).starts_with("weights, insight, dropout: those of a shared prefix"));
    CHECK((out.array() == 7).all());
}

}  // namespace test_shared_prefix
