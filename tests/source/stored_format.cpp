// Whatever a cache holds its numbers as: it gives back what is as near as its type says, and attention over it is that
// over what it gives back, by few queries, which read the rows as they are held, and by many, for which they are
// copied.

#include <attend/attend.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/plain.hpp>

using namespace attend;
using namespace attend::test;

namespace test_stored_format {
namespace {

/// By how much of the number, of the largest of its row, and by how little at least, a number may be off.
struct Error {
    double of_number, of_largest, least;
};
template <class Stored>
Error error_of() {
    constexpr double least = std::numeric_limits<float>::denorm_min();
    if constexpr (std::is_same_v<Stored, float>) return {0, 0, 0};
    if constexpr (std::is_same_v<Stored, Eigen::half>) return {1.0 / 2048, 0, 0x1p-25};
    if constexpr (std::is_same_v<Stored, Eigen::bfloat16>) return {1.0 / 256, 0, 1e-40};
    if constexpr (std::is_same_v<Stored, std::int8_t>) return {0, 1.0 / 254 * 1.00001, 127 * least};
    if constexpr (std::is_same_v<Stored, Float8E4M3>) return {1.0 / 16, 0x1p-17, least};
    if constexpr (std::is_same_v<Stored, Float8E5M2>) return {1.0 / 8, 0x1p-31, least};
    if constexpr (std::is_same_v<Stored, Int4>) return {0, 1.0 / 6, 4e-39};
}

/// Keys and values as a cache gives them back.
template <class Cache>
Operands<float> held_by(const Cache& cache, Operands<float> x, Index sequence = 0) {
    const Index keys = cache.keys(sequence), d_k = cache.key_width(), d_v = cache.value_width();
    std::vector<float> room(static_cast<std::size_t>(keys * std::max(d_k, d_v)));
    x.k.resize(keys, cache.heads() * d_k), x.v.resize(keys, cache.heads() * d_v);
    for (Index h = 0; h < cache.heads(); ++h) {
        const auto take = [&](RowMatrix<float>& to, Index width, const RowBlock<float>& rows) {
            for (Index j = 0; j < keys; ++j)
                to.row(j).segment(h * width, width) = Eigen::Map<const Eigen::RowVectorXf>(rows.row(j), width);
        };
        take(x.k, d_k, cache.key_rows(sequence, h, 0, keys, room.data()));
        take(x.v, d_v, cache.value_rows(sequence, h, 0, keys, room.data()));
    }
    return x;
}

/// Causal attention in double over these, the last query at the last key.
RowMatrix<double> plain(const Operands<float>& x, Index heads, Index kv_heads) {
    const Operands<double> exact = x.cast<double>();
    const Index n = x.q.rows(), d_q = x.q.cols() / heads, d_v = x.v.cols() / kv_heads, first = x.k.rows() - n;
    RowMatrix<double> out(n, heads * d_v);
    for (Index h = 0; h < heads; ++h) {
        const Index from = h / (heads / kv_heads);
        const RowMatrix<double> v = exact.v.middleCols(from * d_v, d_v);
        out.middleCols(h * d_v, d_v) =
            plain_attention(n, v, [&](Index i, Index j) {
                const double s = exact.q.row(i).segment(h * d_q, d_q).dot(exact.k.row(j).segment(from * d_q, d_q));
                return j <= first + i ? s / std::sqrt(static_cast<double>(d_q))
                                      : -std::numeric_limits<double>::infinity();
            }).out;
    }
    return out;
}

template <class Cache>
void check_attention(const Cache& cache, const Operands<float>& x, Index heads_of_queries) {
    const Operands<float> held = held_by(cache, x);
    RowMatrix<float> out;
    (scaled_dot_product >> causal)(heads(x.q, heads_of_queries), cache, out);
    CHECK(distance(out, plain(held, heads_of_queries, cache.heads())) < 2e-6);
}

}  // namespace

TEMPLATE_TEST_CASE("a store gives back numbers of any finite magnitude as near as its type says", "", float,
                   Eigen::half, Eigen::bfloat16, std::int8_t, Float8E4M3, Float8E5M2, Int4) {
    Random random(3);
    const Error error = error_of<TestType>();
    constexpr bool has_range = !std::is_same_v<TestType, Eigen::half>;
    const float most_of_all = std::numeric_limits<float>::max();
    for (const float size : {1.F, 1e-44F, 1e-38F, 1e-20F, 1e20F, 3e38F, most_of_all}) {
        if (!has_range && size != 1) continue;
        CAPTURE(size);
        for (const Index width : {1, 5, 32, 40, 70}) {
            RowMatrix<float> x = random_matrix<float>(random, 20, width);
            x.row(3).setZero(), x(4, 0) = -1, x(5, width - 1) = 1, x.row(6).setConstant(-0.97F);
            if (width > 1) x.row(7) *= 1e-4F, x(7, 1) = 1;  // one number much larger than the others
            x *= size;
            KvCache<float, TestType> cache({.d_k = width, .capacity = 20});
            cache.append(x, -x);
            const Operands<float> held = held_by(cache, {});
            for (Index i = 0; i < 20; ++i) {
                for (Index a = 0; a < width; ++a) {
                    const double number = std::abs(double{x(i, a)}), largest = double{x.row(i).cwiseAbs().maxCoeff()};
                    const double most = error.of_number * number + error.of_largest * largest + error.least;
                    // bfloat16 and half round what is above their largest number to infinity.
                    if (std::is_same_v<TestType, Eigen::bfloat16> && number > 3.38e38) continue;
                    CHECK(std::abs(double{held.k(i, a)} - double{x(i, a)}) <= most);
                    CHECK(std::abs(double{held.v(i, a)} + double{x(i, a)}) <= most);
                }
            }
        }
    }
}

TEMPLATE_TEST_CASE("numbers of 8 bits stay as they are in a cache of their type, whatever their scale", "", Float8E4M3,
                   Float8E5M2) {
    for (const float scale : {1.F, 0.125F, 1024.F, 0x1p-40F}) {
        RowMatrix<float> x(8, 30);
        for (int code = 0; code < 240; ++code) {
            TestType number;
            number.bits = static_cast<std::uint8_t>(code % 120);  // finite ones
            x(code / 30, code % 30) = (code < 120 ? scale : -scale) * float(number);
        }
        KvCache<float, TestType> cache({.d_k = 30, .capacity = 8});
        cache.append(x, x);
        CHECK(held_by(cache, {}).k == x);
    }
}

TEMPLATE_TEST_CASE("attention over a store is that over what it gives back", "", Eigen::half, Eigen::bfloat16,
                   std::int8_t, Float8E4M3, Float8E5M2, Int4) {
    // One query, a few, as many as stand in lanes; widths that end within packets and groups; sums that end within 16.
    for (const Index queries : {1, 2, 3, 7, 210}) {
        for (const auto& [d_k, d_v] : {std::pair<Index, Index>{5, 3}, {16, 32}, {33, 47}, {128, 64}, {70, 129}}) {
            for (const Index keys : {1, 15, 16, 90, 210}) {
                if (keys < queries) continue;
                CAPTURE(queries, keys, d_k, d_v);
                const auto x = random_operands<float>(
                    {.queries = queries, .keys = keys, .d_q = d_k, .d_k = d_k, .d_v = d_v, .heads = 4, .kv_heads = 2},
                    5);
                KvCache<float, TestType> cache({.heads = 2, .d_k = d_k, .d_v = d_v, .capacity = keys});
                cache.append(x.k.topRows(keys / 2), x.v.topRows(keys / 2));
                cache.append(x.k.bottomRows(keys - keys / 2), x.v.bottomRows(keys - keys / 2));
                check_attention(cache, x, 4);
            }
        }
    }
}

TEMPLATE_TEST_CASE("rings and pages hold what a cache in one piece does, and latent caches half of it", "", std::int8_t,
                   Float8E4M3, Float8E5M2, Int4) {
    const auto x = random_operands<float>(
        {.queries = 3, .keys = 150, .d_q = 40, .d_k = 40, .d_v = 36, .heads = 4, .kv_heads = 2}, 7);
    KvCache<float, TestType> whole({.heads = 2, .d_k = 40, .d_v = 36, .capacity = 150});
    whole.append(x.k, x.v);
    const Operands<float> held = held_by(whole, x);
    check_attention(whole, x, 4);
    KvCache<float, TestType> copy({.heads = 2, .d_k = 40, .d_v = 36, .capacity = 150, .sequences = 2});
    copy.append(x.k, x.v, 1), copy.copy(1, 0);
    CHECK((held_by(copy, x).k == held.k && held_by(copy, x).v == held.v));
    for (const Index page_keys : {7, 16, 128}) {
        PagePool<float, TestType> pool({.heads = 2, .d_k = 40, .d_v = 36, .pages = 60, .page_keys = page_keys});
        PagedCache<float, TestType> pages(pool, {.sequences = 2, .capacity = 150});
        pages.append(x.k.topRows(70), x.v.topRows(70), 1);
        pages.fork(1, 0);
        pages.append(x.k.bottomRows(80), x.v.bottomRows(80), 0),
            pages.append(x.v.topRows(9).replicate(1, 2).leftCols(80), x.v.topRows(9), 1);
        CHECK((held_by(pages, x).k == held.k && held_by(pages, x).v == held.v));
        RowMatrix<float> out, expected;
        const RowMatrix<float> q2 = x.q.replicate(2, 1);
        (scaled_dot_product >> causal)(heads(q2, 4), pages, out, {.sequences = sequences({0, 3, 6})});
        (scaled_dot_product >> causal)(heads(x.q, 4), whole, expected);
        CHECK(distance(RowMatrix<float>(out.topRows(3)), expected) < 1e-6);
    }
    RingCache<float, TestType> ring({.heads = 2, .d_k = 40, .d_v = 36, .keys = 60, .sinks = 5});
    for (Index i = 0; i < 150; i += 30) ring.append(x.k.middleRows(i, 30), x.v.middleRows(i, 30));
    const auto seen = mask([](Position p) { return p.key < 5 || p.key >= 90; });
    RowMatrix<float> out, expected;
    (scaled_dot_product >> causal)(heads(x.q, 4), ring, out);
    (scaled_dot_product >> (causal & seen))(heads(x.q, 4), heads(held.k, 2), heads(held.v, 2), expected,
                                            {.query_offset = 147});
    CHECK(distance(out, expected) < 1e-6);
    KvCache<float, TestType> latent({.heads = 2, .d_k = 40, .d_v = 36, .capacity = 150, .latent = true});
    latent.append(x.k);
    const Operands<float> of_latent = held_by(latent, x);
    CHECK(of_latent.k == held.k);
    for (Index h = 0; h < 2; ++h) CHECK(of_latent.v.middleCols(36 * h, 36) == held.k.middleCols(40 * h, 36));
    check_attention(latent, x, 4);
}

TEMPLATE_TEST_CASE("what is not finite reaches those who see it, and nobody else, out of a store too", "", Eigen::half,
                   Eigen::bfloat16, std::int8_t, Float8E4M3, Float8E5M2, Int4) {
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
        for (const Index queries : {1, 3, 80}) {
            auto x = random_operands<float>({.queries = queries, .keys = 100, .d_q = 40, .d_k = 40, .d_v = 40}, 8);
            KvCache<float, TestType> clean({.d_k = 40, .capacity = 100}), cache({.d_k = 40, .capacity = 100});
            clean.append(x.k, x.v);
            x.k(11, 3) = bad, x.v(11, 39) = bad;
            cache.append(x.k, x.v);
            const auto hides = mask([](Position p) { return p.key != 11; });
            RowMatrix<float> out, expected;
            (scaled_dot_product >> hides)(x.q, cache, out), (scaled_dot_product >> hides)(x.q, clean, expected);
            CHECK(out.allFinite());
            CHECK(distance(out, expected) < 1e-6);
            scaled_dot_product(x.q, cache, out);
            CHECK(!out.allFinite());
        }
    }
}

}  // namespace test_stored_format
