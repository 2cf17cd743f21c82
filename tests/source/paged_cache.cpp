// A cache in pages is the keys and values that were appended to it, whoever else reads its pages.

#include <attend/attend.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_paged_cache {
namespace {

const Layout layout{
    .queries = 3, .keys = 150, .d_q = 6, .d_k = 6, .d_v = 4, .heads = 4, .kv_heads = 2, .query_offset = 147};

PagePoolShape pool_shape(Index pages, Index page_keys) {
    return {.heads = 2, .d_k = 6, .d_v = 4, .pages = pages, .page_keys = page_keys};
}
const auto attention = scaled_dot_product >> alibi(0.1) >> causal;

template <class T, class Cache>
RowMatrix<T> over(const Cache& cache, const Operands<T>& x, Index sequence = 0) {
    RowMatrix<T> q = RowMatrix<T>::Zero(cache.sequences() * x.q.rows(), x.q.cols()), out;
    q.middleRows(sequence * x.q.rows(), x.q.rows()) = x.q;
    std::vector<Index> offsets;
    for (Index s = 0; s <= cache.sequences(); ++s) offsets.push_back(s * x.q.rows());
    attention(heads(q, layout.heads), cache, out, {.sequences = sequences(offsets)});
    return out.middleRows(sequence * x.q.rows(), x.q.rows());
}
template <class T, class Cache>
void append_in_pieces(Cache& cache, const Operands<T>& x) {
    for (Index i = 0; i < layout.keys;) {  // a token, then some, then many
        const Index rows = std::min<Index>(1 + i, layout.keys - i);
        cache.append(x.k.middleRows(i, rows), x.v.middleRows(i, rows));
        i += rows;
    }
}

/// Whatever a page holds, a cache in pages gives the bits of one in one piece.
template <class T, class Stored>
void check_bits(Index page_keys) {
    CAPTURE(page_keys);
    const Operands<T> x = random_operands<T>(layout, 1);
    KvCache<T, Stored> whole({.heads = 2, .d_k = 6, .d_v = 4, .capacity = 150});
    PagePool<T, Stored> pool(pool_shape(200, page_keys));
    PagedCache<T, Stored> cache(pool, {.capacity = 150});
    append_in_pieces(whole, x), append_in_pieces(cache, x);
    const RowMatrix<T> out = over(cache, x), expected = over(whole, x);
    CHECK(distance(out, expected) < 1e-6);
    // Where pages are not read in place, numbers of 8 bits are multiplied by their factors before they are added up.
    const bool held = page_keys % 16 == 0 || page_keys >= layout.keys || !std::is_same_v<Stored, std::int8_t>;
    if (held) CHECK(same_bits(out, expected));
    // As many queries as stand in lanes.
    const RowMatrix<T> q = x.q.replicate(30, 1);
    RowMatrix<T> many, many_whole;
    attention(heads(q, layout.heads), cache, many), attention(heads(q, layout.heads), whole, many_whole);
    CHECK(same_bits(many, many_whole));
}

}  // namespace

TEST_CASE("a cache in pages gives the bits of one in one piece") {
    for (const Index page_keys : {1, 7, 16, 48, 64, 150}) {
        check_bits<float, float>(page_keys);
        check_bits<double, double>(page_keys);
        check_bits<float, Eigen::bfloat16>(page_keys);
        check_bits<float, std::int8_t>(page_keys);
    }
}

TEST_CASE("sequences that start alike share pages until one of them changes its own") {
    const Operands<float> x = random_operands<float>(layout, 2), y = random_operands<float>(layout, 3);
    PagePool<float> pool(pool_shape(14, 16));
    PagedCache<float> cache(pool, {.sequences = 3});
    cache.append(x.k.topRows(100), x.v.topRows(100), 0);  // 7 pages, the last with 4 keys
    CHECK(pool.free_pages() == 7);
    cache.fork(0, 1), cache.fork(0, 2);
    CHECK(pool.free_pages() == 7);
    cache.append(x.k.bottomRows(50), x.v.bottomRows(50), 0);  // a copy of the last page, and 3 more
    CHECK(pool.free_pages() == 3);
    cache.append(y.k.bottomRows(5), y.v.bottomRows(5), 1);
    CHECK(pool.free_pages() == 2);
    cache.append(y.k.bottomRows(3), y.v.bottomRows(3), 2);  // nobody else has the page now
    CHECK(pool.free_pages() == 2);

    const auto expected = [&](const Operands<float>& tail, Index keys) {
        KvCache<float> plain({.heads = 2, .d_k = 6, .d_v = 4, .capacity = 150});
        plain.append(x.k.topRows(100), x.v.topRows(100));
        plain.append(tail.k.bottomRows(keys), tail.v.bottomRows(keys));
        return over(plain, x);
    };
    CHECK(same_bits(over(cache, x, 0), expected(x, 50)));
    CHECK(same_bits(over(cache, x, 1), expected(y, 5)));
    CHECK(same_bits(over(cache, x, 2), expected(y, 3)));

    {
        PagedCache<float> copy = cache;  // shares all
        CHECK(pool.free_pages() == 2);
        cache.release(0), cache.release(1), cache.release(2);
        CHECK(pool.free_pages() == 2);
        CHECK(same_bits(over(copy, x, 1), expected(y, 5)));
        copy.truncate(16, 1);
        copy = PagedCache<float>(pool, {.sequences = 3});
        CHECK(pool.free_pages() == 14);
    }
    cache.append(y.k, y.v, 1);  // a sequence that was released begins anew
    CHECK(cache.keys(1) == 150);
    cache.truncate(33, 1);
    CHECK(pool.free_pages() == 11);
}

TEST_CASE("a block steps over pages as over one piece, and is refused where a pool would run out") {
    const MultiHeadAttention<float, decltype(scaled_dot_product >> causal)> block(
        {.d_model = 24, .heads = 4, .kv_heads = 2, .d_head = 6}, scaled_dot_product >> causal, 5);
    Random random(4);
    const RowMatrix<float> x = random_matrix<float>(random, 20, 24);
    PagePool<float> pool({.heads = 2, .d_k = 6, .pages = 5, .page_keys = 4});
    PagedCache<float> cache(pool, {.sequences = 2});
    KvCache<float> plain({.heads = 2, .d_k = 6, .capacity = 20, .sequences = 2});
    RowMatrix<float> y, y_plain;
    block.step(x.topRows(9), cache, y, {.sequences = sequences({0, 7, 9})});
    block.step(x.topRows(9), plain, y_plain, {.sequences = sequences({0, 7, 9})});
    CHECK(same_bits(y, y_plain));
    cache.fork(0, 1);
    plain.copy(0, 1);
    CHECK(pool.free_pages() == 3);
    // Each sequence alone would fit, but not both: one of them copies the page that they share, and they need 1 and 2.
    CHECK(refusal([&] {
              block.step(x.topRows(11), cache, y, {.sequences = sequences({0, 5, 11})});
          }) == "paged_cache: 4 more pages are needed, but the pool has 3 of 5 left");
    CHECK(cache.keys(0) == 7);
    CHECK(cache.keys(1) == 7);
    y.resize(0, 0), y_plain.resize(0, 0);
    block.step(x.topRows(10), cache, y, {.sequences = sequences({0, 5, 10})});
    block.step(x.topRows(10), plain, y_plain, {.sequences = sequences({0, 5, 10})});
    CHECK(same_bits(y, y_plain));
    CHECK(pool.free_pages() == 0);
}

TEST_CASE("what does not fit pages is refused, and nothing is changed") {
    const Operands<float> x = random_operands<float>(layout, 1);
    PagePool<float> pool(pool_shape(4, 16)), other(pool_shape(4, 16));
    PagedCache<float> cache(pool, {.sequences = 2, .capacity = 48}), foreign(other, {});
    cache.append(x.k.topRows(40), x.v.topRows(40));
    foreign.append(x.k.topRows(60), x.v.topRows(60));
    const RowMatrix<float> out = over(cache, x);
    CHECK(refusal([&] { cache.append(x.k.topRows(9), x.v.topRows(9)); }) ==
          "paged_cache: sequence 0 holds 40 of 48 keys, 9 more do not fit");
    CHECK(refusal([&] { cache.append(x.k.topRows(17), x.v.topRows(17), 1); }) ==
          "paged_cache: 2 more pages are needed, but the pool has 1 of 4 left");
    CHECK(refusal([&] { cache.append(x.v.topRows(2), x.v.topRows(2)); }) ==
          "paged_cache: k (2x8) and v (2x8) must have a row for each key, and 2 heads of 6 and of 4 columns");
    CHECK(refusal([&] { cache.fork(foreign, 0, 1); }) ==
          "paged_cache: fork: the other cache's pages are of another pool: append its keys instead");
    CHECK(refusal([&] { cache.fork(0, 2); }) == "paged_cache: fork: there is no sequence 2 of 2");
    CHECK(refusal([&] { cache.release(1); }) == "paged_cache: release: sequence 1 holds no pages to give back");
    CHECK(refusal([&] { cache.truncate(41); }) == "paged_cache: truncate: sequence 0 holds 40 keys, not 41");
    CHECK(same_bits(over(cache, x), out));
    CHECK(pool.free_pages() == 1);
    cache.release(0);
    CHECK(refusal([&] { cache.release(0); }) == "paged_cache: release: sequence 0 holds no pages to give back");
    PagedCache<float> narrow(pool, {.capacity = 10}), wide(pool, {});
    wide.append(x.k.topRows(12), x.v.topRows(12));
    CHECK(refusal([&] { narrow.fork(wide, 0, 0); }) == "paged_cache: fork: sequence 0 holds 12 keys, more than 10");
    CHECK(refusal([] { PagePool<float>(pool_shape(2, 0)); }) ==
          "page_pool: heads, widths and page_keys must be above 0 and pages not below, got heads 2, d_k 6, d_v 4, "
          "pages 2 and page_keys 0");
}

TEST_CASE("sequences without keys stand beside others") {
    const Operands<float> x = random_operands<float>(layout, 2);
    PagePool<float> pool(pool_shape(60, 16));
    PagedCache<float> cache(pool, {.sequences = 3});
    cache.append(x.k, x.v, 0), cache.append(x.k, x.v, 2);
    KvCache<float> plain({.heads = 2, .d_k = 6, .d_v = 4, .capacity = 150});
    plain.append(x.k, x.v);
    CHECK(same_bits(over(cache, x, 2), over(plain, x)));
    CHECK((over(cache, x, 1).array() == 0).all());
    // As many queries as stand in lanes: what is asked for ahead is not of a sequence that has nothing.
    const RowMatrix<float> q = x.q.replicate(90, 1);
    RowMatrix<float> out;
    attention(heads(q, layout.heads), cache, out, {.sequences = sequences({0, 90, 180, 270})});
    CHECK((out.middleRows(90, 90).array() == 0).all());
}

}  // namespace test_paged_cache
