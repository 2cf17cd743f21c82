// A cache is the keys and values that were appended to it: attention over it gives their bits.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_kv_cache {
namespace {

const Layout layout{
    .queries = 3, .keys = 90, .d_q = 6, .d_k = 6, .d_v = 4, .heads = 4, .kv_heads = 2, .query_offset = 87};
const KvCacheShape shape{.heads = 2, .d_k = 6, .d_v = 4, .capacity = 100};

template <class T, class Cache>
RowMatrix<T> over(const Cache& cache, const Operands<T>& x) {
    RowMatrix<T> out;
    (scaled_dot_product >> alibi(0.1) >> causal)(x.query_heads(), cache, out);
    return out;
}

/// Operands as a cache that holds them as another type gives them back.
template <class Stored, class T>
RowMatrix<T> rounded(const RowMatrix<T>& x) {
    return x.template cast<Stored>().template cast<T>();
}

template <class T, class Stored>
void check_bits() {
    Operands<T> x = random_operands<T>(layout, 1);
    KvCache<T, Stored> cache(shape);
    for (Index i = 0; i < layout.keys;) {  // a token, then some, then many
        const Index rows = std::min<Index>(1 + i, layout.keys - i);
        cache.append(x.k.middleRows(i, rows), x.v.middleRows(i, rows));
        i += rows;
    }
    REQUIRE(cache.keys() == layout.keys);
    x.k = rounded<Stored>(x.k), x.v = rounded<Stored>(x.v);
    const RowMatrix<T> expected = forward(scaled_dot_product >> alibi(0.1) >> causal, x).out;
    CHECK(same_bits(over(cache, x), expected));
    const KvCache<T, Stored> copy = cache;
    cache.truncate(2);
    CHECK(same_bits(over(copy, x), expected));
    cache.append(x.k.bottomRows(88), x.v.bottomRows(88));
    CHECK(same_bits(over(cache, x), expected));
}

template <class F>
std::string refused(KvCache<float>& cache, const F& f) {
    const Operands<float> x = random_operands<float>(layout, 2);
    const Index before = cache.keys();
    const RowMatrix<float> out = over(cache, x);
    const std::string text = refusal([&] { f(cache, x); });
    CHECK(cache.keys() == before);
    CHECK(same_bits(over(cache, x), out));
    return text;
}

}  // namespace

TEST_CASE("a cache gives the bits of its keys and values") {
    check_bits<float, float>();
    check_bits<double, double>();
    check_bits<double, float>();
    check_bits<float, Eigen::half>();
    check_bits<float, Eigen::bfloat16>();
}

TEST_CASE("sequences of a cache grow apart, and one becomes what another is") {
    const Operands<float> x = random_operands<float>(layout, 3), y = random_operands<float>(layout, 4);
    KvCacheShape three = shape;
    three.sequences = 3;
    KvCache<float> cache(three);
    cache.append(x.k, x.v, 0);
    cache.append(y.k.topRows(50), y.v.topRows(50), 2);
    CHECK(cache.keys(1) == 0);
    cache.copy(0, 2);
    cache.append(y.k.topRows(5), y.v.topRows(5), 1);
    RowMatrix<float> q(6, x.q.cols()), out;
    q << x.q, x.q;
    (scaled_dot_product >> causal)(heads(q, 4), cache, out, {.sequences = sequences({0, 3, 3, 6})});
    CHECK(same_bits(out.topRows(3), out.bottomRows(3)));
    CHECK(same_bits(out.topRows(3), forward(scaled_dot_product >> causal, x).out));
}

TEST_CASE("what does not fit a cache is refused, and nothing is changed") {
    const Operands<float> x = random_operands<float>(layout, 1);
    KvCache<float> cache(shape);
    cache.append(x.k, x.v);
    CHECK(refused(cache, [](auto& c, const auto& y) { c.append(y.k.topRows(11), y.v.topRows(11)); }) ==
          "kv_cache: sequence 0 holds 90 of 100 keys, 11 more do not fit");
    CHECK(refused(cache, [](auto& c, const auto& y) { c.append(y.k.topRows(2), y.v.topRows(3)); }) ==
          "kv_cache: k (2x12) and v (3x8) must have a row for each key, and 2 heads of 6 and of 4 columns");
    CHECK(refused(cache, [](auto& c, const auto& y) { c.append(y.v.topRows(2), y.v.topRows(2)); }) ==
          "kv_cache: k (2x8) and v (2x8) must have a row for each key, and 2 heads of 6 and of 4 columns");
    CHECK(refused(cache, [](auto& c, const auto& y) { c.append(y.k.topRows(1), y.v.topRows(1), 1); }) ==
          "kv_cache: append: there is no sequence 1 of 1");
    CHECK(refused(cache, [](auto& c, const auto&) { c.truncate(91); }) ==
          "kv_cache: truncate: sequence 0 holds 90 keys, not 91");
    CHECK(refused(cache, [](auto& c, const auto&) { c.copy(0, 1); }) == "kv_cache: copy: there is no sequence 1 of 1");
    CHECK(refused(cache, [](auto& c, const auto& y) {
              RowMatrix<float> out;
              scaled_dot_product(y.query_heads(), c, out, {.query_offset = 2});
          }) == "query_offset: the source says itself where queries stand: leave it out");
    CHECK(refusal([] { KvCache<float>({.heads = 2, .capacity = 4}); }) ==
          "kv_cache: heads, widths and sequences must be above 0 and the capacity not below, got heads 2, d_k 0, d_v "
          "0, capacity 4 and 1 sequences");
}

}  // namespace test_kv_cache
