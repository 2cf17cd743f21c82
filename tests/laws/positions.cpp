// Law 4: positions are absolute. Key j sits at j, query i at query_offset + i, and everything that knows positions goes
// by these.

#include <attend/attend.hpp>

#include <limits>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_positions {
namespace {

const Layout layout{.queries = 19, .keys = 19, .d_q = 5, .d_k = 5, .d_v = 3};

/// The queries from `first` on, called as what they are: later queries.
template <class T>
Operands<T> later_queries(const Operands<T>& x, Index first) {
    Operands<T> later = x;
    later.q = x.q.bottomRows(x.q.rows() - first);
    later.dout = x.dout.bottomRows(x.q.rows() - first);
    later.layout.query_offset = first;
    return later;
}

/// The rows of a call of their own and those among others. They have the same bits, but for a few rows (law 8), or a
/// few more with a few keys, whose sums run in another order.
template <class X, class Y>
bool same_rows(const X& alone, const Y& among_others) {
    if (alone.rows() > 2 * attend::detail::most_few_queries<float>) return same_bits(alone, among_others);
    return distance(alone, among_others) <= 1e-6 * magnitude(among_others);
}

template <class A>
void check_offset_shifts(const A& attention) {
    const Operands<float> x = random_operands<float>(layout, 1);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    for (Index first = 1; first < layout.queries; ++first) {
        CAPTURE(first);
        const Operands<float> later = later_queries(x, first);
        const auto y_later = forward(attention, later);
        const Index rows = layout.queries - first;
        CHECK(same_rows(y_later.out, y.out.bottomRows(rows)));
        CHECK(same_rows(y_later.lse, y.lse.bottomRows(rows)));
        CHECK(same_rows(y_later.weights, y.weights.bottomRows(rows)));
        CHECK(same_rows(backward(attention, later).dq, d.dq.bottomRows(rows)));
    }
}

/// Under a causal mask the first n tokens give the same bits whether the others are there or not, and whatever they
/// hold.
template <class A>
void check_future_is_unseen(const A& attention) {
    const Operands<float> x = random_operands<float>(layout, 2), other = random_operands<float>(layout, 3);
    const auto y = forward(attention, x);
    for (Index n = 1; n < layout.keys; ++n) {
        CAPTURE(n);
        Operands<float> changed = x, cut = x;
        changed.k.bottomRows(layout.keys - n) = other.k.bottomRows(layout.keys - n);
        changed.v.bottomRows(layout.keys - n) = other.v.bottomRows(layout.keys - n);
        cut.q.conservativeResize(n, Eigen::NoChange);
        cut.k.conservativeResize(n, Eigen::NoChange);
        cut.v.conservativeResize(n, Eigen::NoChange);
        const auto y_changed = forward(attention, changed), y_cut = forward(attention, cut);
        CHECK(same_bits(y_changed.out.topRows(n), y.out.topRows(n)));
        CHECK(same_bits(y_changed.lse.topRows(n), y.lse.topRows(n)));
        CHECK(same_rows(y_cut.out, y.out.topRows(n)));
        CHECK(same_rows(y_cut.lse, y.lse.topRows(n)));
    }
}

/// What a mask keeps of 6 queries that begin at `offset` and 8 keys, as the weights tell.
template <class M>
RowMatrix<bool> kept_by(const M& mask, Index offset) {
    const Layout shape{.queries = 6, .keys = 8, .query_offset = offset};
    return forward(scaled_dot_product >> mask, random_operands<float>(shape, 4)).weights.array() > 0;
}

template <class Rule>
RowMatrix<bool> pairs(Index offset, const Rule& rule) {
    return RowMatrix<bool>::NullaryExpr(6, 8, [&](Index i, Index j) { return rule(offset + i, j); });
}

/// The same of masks that are asked pair by pair, as one type, which takes less time to compile: two of the three hide
/// everything.
RowMatrix<bool> kept_by_any(Index offset, const Documents& a, const BlockSparse& b, const Prefix& c) {
    return kept_by(a | b | c, offset);
}
const Documents no_documents({0});
const BlockSparse no_blocks = block_sparse(RowMatrix<bool>::Constant(1, 1, false), 1, 1);
const Prefix no_prefix = prefix(0);

/// Calls `check(attention)` for attentions in which every score and every part that knows positions stands once.
template <class Check>
void for_each_causal_attention(const Check& check) {
    check(scaled_dot_product >> causal);
    check(dot_product >> relative_bias(Eigen::VectorXd::LinSpaced(8, -1.0, 1.0), {.buckets = 8, .max_distance = 7}) >>
          causal);
    check(GeneralAttention<float>(5, 5, 2) >> alibi(0.2) >>
          modifier([](auto s, auto p) { return s * decltype(s)(p.query % 3); }) >> (causal & sliding_window(3)));
    check(cosine(2.0) >> adaptive_span(2.5, 2.0) >> (causal & documents({0, 3, 7})) >> sparsemax);
    check(AdditiveAttention<float>(5, 5, 4, 3) >> causal);
}

}  // namespace

TEST_CASE("query_offset says where the queries stand, bit for bit") {
    for_each_causal_attention([](const auto& attention) { check_offset_shifts(attention); });
}

TEST_CASE("a causal prefix does not see the future, bit for bit") {
    for_each_causal_attention([](const auto& attention) { check_future_is_unseen(attention); });
}

TEST_CASE("causal and windows keep the pairs that the contract names") {
    for (const Index offset : {-2, 0, 1, 5, 20}) {
        CAPTURE(offset);
        CHECK(kept_by(causal, offset) == pairs(offset, [](Index q, Index k) { return k <= q; }));
        for (const Index n : {1, 2, 5, 30}) {
            CAPTURE(n);
            CHECK(kept_by(sliding_window(n), offset) == pairs(offset, [&](Index q, Index k) { return q - k < n; }));
            CHECK(kept_by(causal & sliding_window(n), offset) ==
                  pairs(offset, [&](Index q, Index k) { return 0 <= q - k && q - k < n; }));
        }
        for (const Index left : {-1, 0, 1, 3}) {
            for (const Index right : {-1, 0, 2}) {
                CAPTURE(left, right);
                const auto inside = [&](Index q, Index k) {
                    return (left < 0 || q - k <= left) && (right < 0 || k - q <= right);
                };
                CHECK(kept_by(sliding_window(left, right), offset) == pairs(offset, inside));
                CHECK(kept_by(causal & sliding_window(left, right), offset) ==
                      pairs(offset, [&](Index q, Index k) { return k <= q && inside(q, k); }));
            }
        }
    }
}

TEST_CASE("with causal, a window of n holds the n latest keys, the query's own included") {
    const RowMatrix<bool> kept = kept_by(causal & sliding_window(3), 2);
    CHECK((kept.cast<int>().rowwise().sum().array() == 3).all());
    for (Index i = 0; i < 6; ++i) CHECK(kept(i, 2 + i));
}

TEST_CASE("positions are exact to the last that is allowed, and beyond it refused") {
    constexpr Index farthest = Index(1) << 53, most = std::numeric_limits<Index>::max();
    for (const Index offset : {farthest, -farthest, farthest / 2 + 1, Index(1) << 24, (Index(1) << 24) + 1}) {
        CAPTURE(offset);
        CHECK(kept_by(causal, offset) == pairs(offset, [](Index q, Index k) { return k <= q; }));
        for (const Index d : {-9, -4, 0, 3}) {  // windows that end among the keys
            const Index left = offset + d, right = -offset + d;
            if (left >= 0)
                CHECK(kept_by(sliding_window(left, -1), offset) ==
                      pairs(offset, [&](Index q, Index k) { return q - k <= left; }));
            if (right >= 0)
                CHECK(kept_by(sliding_window(-1, right), offset) ==
                      pairs(offset, [&](Index q, Index k) { return k - q <= right; }));
        }
        CHECK(kept_by_any(offset, no_documents, block_sparse(RowMatrix<bool>::Constant(1, 1, true), most, 3),
                          no_prefix) == pairs(offset, [&](Index q, Index k) { return q >= 0 && k < 3; }));
        const Index late = std::max<Index>(offset, 2);
        const auto text_of = [&](Index p) { return p < 2 ? 0 : p < late + 3 ? 1 : 2; };
        CHECK(kept_by_any(late, documents({std::numeric_limits<Index>::min(), 2, late + 3, most}), no_blocks,
                          no_prefix) == pairs(late, [&](Index q, Index k) { return text_of(q) == text_of(k); }));
    }
    for (const Index offset : {Index(0), farthest, -farthest}) {
        const auto all = pairs(offset, [](Index, Index) { return true; });
        CHECK(kept_by(sliding_window(most), offset) == all);
        CHECK(kept_by(sliding_window(most, most), offset) == all);
        CHECK(kept_by(sliding_window(-1, most), offset) == all);
        CHECK(kept_by(sliding_window(most - 1, 0), offset) == pairs(offset, [](Index q, Index k) { return k <= q; }));
        CHECK(kept_by_any(offset, no_documents, no_blocks, prefix(most)) == all);
    }
    CHECK(t5_bucket(std::numeric_limits<Index>::min()) == t5_bucket(-most));
    for (const Index beyond : {farthest + 1, -farthest - 1, most, std::numeric_limits<Index>::min()}) {
        RowMatrix<float> q = RowMatrix<float>::Ones(2, 2), out;
        const auto attention = scaled_dot_product >> causal;
        CHECK_THROWS_AS(attention(q, q, q, out, {.query_offset = beyond}), std::invalid_argument);
        CHECK_THROWS_AS(Rope{}(q, beyond), std::invalid_argument);
        CHECK_THROWS_AS(sinusoidal<double>(2, 2, beyond), std::invalid_argument);
        CHECK_THROWS_AS(attention.workspace_bytes({.queries = 2, .keys = 2, .query_offset = beyond}),
                        std::invalid_argument);
        CHECK(out.size() == 0);
        CHECK((q.array() == 1).all());
    }
    const auto x = random_operands<float>({.queries = 20, .keys = 8, .query_offset = farthest}, 5);
    Eigen::VectorXd table = Eigen::VectorXd::Zero(32);
    table[t5_bucket(-128)] = 2;  // the bucket of all keys that far before the query
    const auto far = forward(dot_product >> relative_bias(table) >> causal, x),
               plain = forward(dot_product >> relative_bias(Eigen::VectorXd::Zero(32)) >> causal, x);
    CHECK(distance(far.weights, plain.weights) <= 1e-6);
    CHECK(distance(far.lse, plain.lse.array() + 2.0f) <= 1e-5);
}

}  // namespace test_positions
