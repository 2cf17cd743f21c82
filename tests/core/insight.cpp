// How a call and the reductions that look at its weights speak with each other.

#include <attend/attention.hpp>
#include <attend/insight/row_entropy.hpp>

#include <stdexcept>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_insight {

TEST_CASE("what a user's reduction throws reaches the caller, from its check before anything is written") {
    struct Refuses {
        bool at_once = true;
        bool finished = false;
        void check(const WeightsShape&) const {
            if (at_once) throw std::invalid_argument("attend: not this call");
        }
        void start(const WeightsShape&) {}
        void take(const WeightsTile<double>&) { throw std::invalid_argument("attend: not this tile"); }
        void finish(const WeightsShape&) { finished = true; }
    } refuses;
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 2, 7.0);
    auto entropy = row_entropy<double>();
    const auto call = [&] { dot_product(x.q, x.k, x.v, out, {.insight = {entropy, refuses}}); };
    CHECK(refusal(call) == "not this call");
    CHECK((out.array() == 7).all());
    CHECK(entropy.values().size() == 0);
    refuses.at_once = false;
    CHECK(refusal(call) == "not this tile");
    CHECK(!refuses.finished);
}

TEST_CASE("a reduction that wants only some rows sees no others") {
    struct Last {
        Index rows_seen = 0;
        void start(const WeightsShape&) { rows_seen = 0; }
        bool wants(Index head, Index row, Index rows) const { return head == 1 && row + rows == 1300; }
        void take(const WeightsTile<float>& tile) { rows_seen += tile.key == 0 ? tile.rows : 0; }
    } last;
    const Operands<float> x = random_operands<float>({.queries = 1300, .keys = 70, .heads = 2, .kv_heads = 2}, 1);
    RowMatrix<float> out;
    dot_product(x.query_heads(), x.key_heads(), x.value_heads(), out, {.insight = last});
    CHECK(last.rows_seen > 0);
    CHECK(last.rows_seen < 1300);
}

TEST_CASE("dropout is refused in words") {
    const Operands<double> x = random_operands({.queries = 4, .keys = 5}, 1);
    RowMatrix<double> out = RowMatrix<double>::Constant(4, 2, 7.0);
    auto entropy = row_entropy<double>();
    CHECK(refusal([&] {
              dot_product(x.q, x.k, x.v, out, {.insight = entropy, .dropout = {.rate = 0.5, .seed = 1}});
          }) == "insight: reductions see the weights of a call without dropout: leave one of them out");
    CHECK((out.array() == 7).all());
}

TEST_CASE("options may be stored, and hold their reductions") {
    const Operands<float> x = random_operands<float>({.queries = 40, .keys = 50}, 1);
    auto entropy = row_entropy<float>(), at_once = row_entropy<float>();
    RowMatrix<float> out;
    const ForwardOptions<float> options{.insight = {entropy}};
    const ForwardOptions<float> copy = options;
    dot_product(x.q, x.k, x.v, out, copy);
    dot_product(x.q, x.k, x.v, out, {.insight = at_once});
    CHECK(same_bits(entropy.values(), at_once.values()));
}

TEST_CASE("a call is told to its reductions, sequence by sequence") {
    struct Told {
        WeightsShape shape;
        std::vector<WeightsShape::Extent> extents;
        void start(const WeightsShape& given) {
            shape = given;
            extents.clear();
            for (Index s = 0; s < given.sequences; ++s) extents.push_back(given.extent(s));
        }
        void take(const WeightsTile<float>&) {}
    } told;
    const Operands<float> x = random_operands<float>({.queries = 9, .keys = 12, .heads = 2, .kv_heads = 1}, 1);
    RowMatrix<float> out;
    dot_product(x.query_heads(), x.key_heads(), x.value_heads(), out,
                {.insight = told, .sequences = sequences({0, 3, 3, 9}), .key_sequences = sequences({0, 5, 7, 12})});
    CHECK(told.shape.sequences == 3);
    CHECK(told.shape.heads == 2);
    CHECK(told.shape.kv_heads == 1);
    CHECK(told.shape.rows == 9);
    CHECK(told.shape.keys == 5);
    const WeightsShape::Extent expected[] = {{0, 3, 5}, {3, 0, 2}, {3, 6, 5}};
    for (std::size_t s = 0; s < 3; ++s) {
        CHECK(told.extents[s].first_row == expected[s].first_row);
        CHECK(told.extents[s].queries == expected[s].queries);
        CHECK(told.extents[s].keys == expected[s].keys);
    }
}

}  // namespace test_insight
