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

TEST_CASE("eight bits hold a row to half a step of its largest number, and are read as they are held") {
    Operands<float> x = random_operands<float>(layout, 6);
    x.k.row(3).setZero(), x.k.row(4) *= 1e30F, x.v.row(5) *= 1e-30F;
    KvCache<float, std::int8_t> cache(shape);
    cache.append(x.k, x.v);
    // What it gives back, row by row, beside what it was given.
    std::vector<float> room(static_cast<std::size_t>(layout.keys * 6));
    Operands<float> held = x;
    for (Index h = 0; h < 2; ++h) {
        const RowBlock<float> k = cache.key_rows(0, h, 0, layout.keys, room.data());
        for (Index j = 0; j < layout.keys; ++j) {
            held.k.row(j).segment(6 * h, 6) = Eigen::Map<const Eigen::RowVectorXf>(k.row(j), 6);
            const auto row = x.k.row(j).segment(6 * h, 6);
            const float most = row.cwiseAbs().maxCoeff();
            CHECK((held.k.row(j).segment(6 * h, 6) - row).cwiseAbs().maxCoeff() <= most / 254 * 1.00001F);
        }
        const RowBlock<float> v = cache.value_rows(0, h, 0, layout.keys, room.data());
        for (Index j = 0; j < layout.keys; ++j)
            held.v.row(j).segment(4 * h, 4) = Eigen::Map<const Eigen::RowVectorXf>(v.row(j), 4);
    }
    held.k.row(4).setZero(), x.k.row(4).setZero();  // or it alone would be looked at
    KvCache<float, std::int8_t> again(shape);
    again.append(held.k, held.v);
    // A few queries read 8 bits, many what they become: the same to rounding.
    CHECK(distance(over(again, x), forward(scaled_dot_product >> alibi(0.1) >> causal, held).out) < 1e-6);

    x.v(7, 1) = std::numeric_limits<float>::infinity();
    KvCache<float, std::int8_t> infinite(shape);
    infinite.append(x.k, x.v);
    CHECK(std::isnan(over(infinite, x)(0, 0)));
    const RowMatrix<float> q = x.q.topRows(1);
    RowMatrix<float> out;
    (scaled_dot_product >> mask([](Position p) { return p.key != 7; }))(heads(q, 4), infinite, out);
    CHECK(out.allFinite());  // masked means absent
}

TEST_CASE("a sequence of a cache has the bits that it has alone, whatever its rows are held as") {
    const Index n = 180, d = 256;
    Random random(7);
    const RowMatrix<float> k = random_matrix<float>(random, n, d), v = random_matrix<float>(random, n, d),
                           q = random_matrix<float>(random, 1, d);
    const auto check = [&]<class Cache>(auto shape, const Cache*, Index keys) {
        CAPTURE(keys);
        RowMatrix<float> alone, beside, weighed, weights;
        for (const Index count : {1, 20}) {
            shape.sequences = count;
            Cache cache(shape);
            std::vector<Index> offsets{0};
            for (Index s = 0; s < count; ++s) {
                for (Index begin = 0; begin < keys; begin += 90) {
                    const Index rows = std::min<Index>(90, keys - begin);
                    cache.append(k.middleRows(begin, rows), v.middleRows(begin, rows), s);
                }
                offsets.push_back(s + 1);
            }
            const RowMatrix<float> queries = q.replicate(count, 1);
            scaled_dot_product(queries, cache, count == 1 ? alone : beside, {.sequences = sequences(offsets)});
            if (count == 1) scaled_dot_product(queries, cache, weighed, {.weights = weights});
        }
        CHECK(same_bits(alone, RowMatrix<float>(beside.topRows(1))));
        CHECK(same_bits(alone, weighed));
    };
    for (const Index keys : {16, 64, 180}) {
        const KvCacheShape whole{.d_k = d, .capacity = n};
        check(whole, static_cast<const KvCache<float>*>(nullptr), keys);
        check(whole, static_cast<const KvCache<float, Eigen::bfloat16>*>(nullptr), keys);
        check(whole, static_cast<const KvCache<float, std::int8_t>*>(nullptr), keys);
        // Sinks that end within sums of rows.
        check(RingCacheShape{.d_k = d, .keys = 100, .sinks = 50},
              static_cast<const RingCache<float, Eigen::bfloat16>*>(nullptr), keys);
    }
    // So few features that a call is made directly.
    const RowMatrix<float> narrow_k = k.leftCols(16), narrow_v = v.leftCols(16), narrow_q = q.leftCols(16);
    KvCache<float, std::int8_t> cache({.d_k = 16, .capacity = n});
    cache.append(narrow_k.topRows(40), narrow_v.topRows(40));
    RowMatrix<float> out, weighed, weights;
    scaled_dot_product(narrow_q, cache, out), scaled_dot_product(narrow_q, cache, weighed, {.weights = weights});
    CHECK(same_bits(out, weighed));
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

TEST_CASE("a ring gives the latest keys, and the first, where they stand in the stream") {
    const Operands<float> x = random_operands<float>(layout, 5);
    RingCache<float, Eigen::bfloat16> ring({.heads = 2, .d_k = 6, .d_v = 4, .keys = 20, .sinks = 3});
    for (Index i = 0; i < layout.keys; i += 18) ring.append(x.k.middleRows(i, 18), x.v.middleRows(i, 18));
    CHECK(ring.keys() == 23);
    CHECK(ring.tokens() == 90);
    CHECK(ring.position(0, 2) == 2);
    CHECK(ring.position(0, 3) == 70);
    Operands<float> rounded_x = x;
    rounded_x.k = rounded<Eigen::bfloat16>(x.k), rounded_x.v = rounded<Eigen::bfloat16>(x.v);
    const auto held = mask([](Position p) { return p.key < 3 || p.key >= 70; });
    RowMatrix<float> out;
    (scaled_dot_product >> alibi(0.1) >> causal)(x.query_heads(), ring, out);
    CHECK(distance(out, forward(scaled_dot_product >> alibi(0.1) >> (causal & held), rounded_x).out) < 1e-6);
    // What holds something for each key must hold it for each of the stream.
    CHECK(refusal([&] { (scaled_dot_product >> bias(RowMatrix<float>::Zero(3, 23)))(x.query_heads(), ring, out); }) ==
          "bias (3x23) must be 3x90: a row a query, a column a key");
    CHECK(refusal([&] { ring.append(x.k.topRows(21), x.v.topRows(21)); }) ==
          "ring_cache: 21 tokens at once would not be seen by themselves: the ring holds 20");
    CHECK(refusal([&] { scaled_dot_product(x.query_heads(), ring, out, {.dropout = {.rate = 0.5}}); }) ==
          "dropout: keys of a source that says where they stand have none");
    ring.clear();
    CHECK(ring.keys() == 0);
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
    CHECK(refused(cache, [](auto& c, const auto&) { c.keys(2); }) == "kv_cache: keys: there is no sequence 2 of 1");
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

TEST_CASE("a ring's sinks end within a packet, also where what follows is hidden from normalizers of whole rows") {
    const Index n = 400;
    Random random(8);
    const RowMatrix<float> k = random_matrix<float>(random, n, 8), v = random_matrix<float>(random, n, 8);
    RingCache<float> ring({.d_k = 8, .keys = 256, .sinks = 4});
    for (Index i = 0; i < n; ++i) ring.append(k.row(i), v.row(i));
    for (const Index queries : {1, 3, 20}) {
        const RowMatrix<float> q = random_matrix<float>(random, queries, 8, 0.1);
        const auto check = [&](const auto& normalizer) {
            const auto attention = scaled_dot_product >> (causal & (sliding_window(32) | prefix(4))) >> normalizer;
            RowMatrix<float> out, expected;
            attention(q, ring, out), attention(q, k, v, expected, {.query_offset = n - queries});
            CHECK(distance(out, expected) < 1e-6);
        };
        check(sparsemax), check(entmax15), check(top_k(8)), check(softmax);
    }
}

TEST_CASE("eight bits hold rows of any finite magnitude") {
    for (const float x : {1e-44F, 1e-38F, 1e-20F, 1.0F, 1e20F, 3e38F}) {
        CAPTURE(x);
        KvCache<float, std::int8_t> cache({.d_k = 8, .capacity = 1});
        const RowMatrix<float> row = RowMatrix<float>::Constant(1, 8, x);
        cache.append(row, -row);
        float room[8];
        const double least = std::numeric_limits<float>::denorm_min();  // so little may a factor be off
        CHECK(std::abs(double{cache.key_rows(0, 0, 0, 1, room).row(0)[5]} - x) <= x / 254.0 + 127 * least);
        CHECK(std::abs(double{cache.value_rows(0, 0, 0, 1, room).row(0)[5]} + x) <= x / 254.0 + 127 * least);
    }
}

TEMPLATE_TEST_CASE("a latent cache holds once what an other holds as keys and, their first features, as values", "",
                   float, double, Eigen::half, Eigen::bfloat16, std::int8_t) {
    using T = std::conditional_t<std::is_same_v<TestType, double>, double, float>;
    for (const Index queries : {1, 3, 70}) {
        const auto x =
            random_operands<T>({.queries = queries, .keys = 90, .d_q = 40, .d_k = 40, .heads = 16, .kv_heads = 2}, 11);
        KvCache<T, TestType> cache({.heads = 2, .d_k = 40, .d_v = 33, .capacity = 100, .sequences = 2, .latent = true});
        cache.append(x.k.topRows(50), 1);
        cache.append(x.k.bottomRows(40), 1);
        cache.copy(1, 0);
        RowMatrix<T> k(90, 80), v(90, 66), room(90, 40), expected, out;
        for (Index head = 0; head < 2; ++head) {  // as it gives keys back
            const RowBlock<T> rows = cache.key_rows(0, head, 0, 90, room.data());
            k.middleCols(40 * head, 40) = Eigen::Map<const RowMatrix<T>, 0, Eigen::OuterStride<>>(
                rows.data, 90, 40, Eigen::OuterStride<>(rows.stride));
            v.middleCols(33 * head, 33) = k.middleCols(40 * head, 33);
        }
        const auto attention = scaled_dot_product >> causal;
        attention(x.query_heads(), heads(k, 2), heads(v, 2), expected, {.query_offset = 90 - queries});
        const RowMatrix<T> q2 = x.q.replicate(2, 1);
        attention(heads(q2, 16), cache, out, {.sequences = sequences({0, queries, 2 * queries})});
        // Of few queries 8 bits are multiplied by their factors behind the sums.
        const double allowed = std::is_same_v<TestType, std::int8_t> ? 1e-5 : 0;
        CHECK(distance(out, expected.replicate(2, 1)) <= allowed);
    }
    KvCache<T, TestType> latent({.d_k = 4, .d_v = 2, .capacity = 4, .latent = true}), plain({.d_k = 4, .capacity = 4});
    const RowMatrix<T> rows = RowMatrix<T>::Ones(2, 4);
    CHECK(refusal([&] { latent.append(rows, rows.leftCols(2)); }) ==
          "kv_cache: append: values are features of the keys here: append(k)");
    CHECK(refusal([&] { plain.append(rows); }) ==
          "kv_cache: append: keys alone are what a latent cache takes: append(k, v)");
    CHECK(refusal([&] { latent.append(rows.leftCols(3)); }) == "kv_cache: k (2x3) must have 1 heads of 4 columns");
    CHECK(refusal([&] { KvCache<T, TestType>({.d_k = 2, .d_v = 4, .capacity = 4, .latent = true}); }) ==
          "kv_cache: the values of a latent cache are features of its keys, but d_v 4 is above d_k 2");
    CHECK((latent.keys() == 0 && plain.keys() == 0));
}

}  // namespace test_kv_cache
