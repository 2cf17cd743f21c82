// Weights of chosen rows and heads are those that `.weights` gives, to the bit; their means are over the heads.

#include <attend/insight/chosen_weights.hpp>

#include <support/refusal.hpp>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_chosen_weights {
namespace {

template <class T>
void check(const auto& known, const WeightsChoice& choice) {
    auto chosen = chosen_weights<T>(choice);
    auto mean = mean_weights<T>(choice);
    known.show_to({chosen, mean});
    std::vector<Index> rows(choice.rows.get().begin(), choice.rows.get().end()), heads = choice.heads;
    for (Index row = 0; !choice.rows && row < known.rows(); ++row) rows.push_back(row);
    for (Index head = 0; choice.heads.empty() && head < known.heads(); ++head) heads.push_back(head);
    RowMatrix<T> all(std::ssize(heads) * std::ssize(rows), known.keys());
    Index line = 0;
    for (const Index head : heads) {
        for (const Index row : rows) all.row(line++) = known.y.weights.row(head * known.rows() + row);
    }
    CHECK(same_bits(chosen.values(), all));
    RowMatrix<double> exact = RowMatrix<double>::Zero(std::ssize(rows), known.keys());
    for (Index head = 0; head < std::ssize(heads); ++head)
        exact += all.middleRows(head * std::ssize(rows), std::ssize(rows)).template cast<double>();
    exact /= static_cast<double>(std::ssize(heads));
    const auto roundings = static_cast<double>(std::ssize(heads) + 1);
    CHECK((mean.mean().template cast<double>() - exact).cwiseAbs().cwiseQuotient(exact.cwiseMax(1e-300)).maxCoeff() <=
          roundings * rounding_of<T>);
}

}  // namespace

TEMPLATE_TEST_CASE("chosen weights are those of all weights", "", float, double) {
    for_each_known<TestType>([](const auto& known) {
        check<TestType>(known, {});
        check<TestType>(known, {.heads = {known.heads() - 1}});
        check<TestType>(known, {.rows = query_rows({0})});
        if (known.rows() > 4) check<TestType>(known, {.rows = query_rows({1, 4, known.rows() - 1}), .heads = {0}});
    });
}

TEST_CASE("of a strided batch rows are counted through all sequences") {
    Random random(2);
    const RowMatrix<float> x = random_matrix<float>(random, 3 * 6, 4);
    const auto batch = strided(x.data(), {3, 2, 6, 2}, {24, 2, 4, 1});
    RowMatrix<float> out(18, 4), all;
    auto chosen = chosen_weights<float>({.rows = query_rows({2, 7, 17})});
    scaled_dot_product(batch, batch, batch, strided(out.data(), {3, 2, 6, 2}, {24, 2, 4, 1}),
                       {.weights = all, .insight = chosen});
    for (Index head = 0; head < 2; ++head) {
        Index i = 0;
        for (const Index row : {2, 7, 17}) CHECK(same_bits(chosen.of_head(head).row(i++), all.row(head * 18 + row)));
    }
}

TEST_CASE("rows and heads that are not there are refused in words") {
    const Operands<float> x = random_operands<float>({.queries = 4, .keys = 5}, 1);
    RowMatrix<float> out;
    const auto with = [&](WeightsChoice choice) {
        return refusal([&] {
            auto chosen = chosen_weights<float>(choice);
            dot_product(x.q, x.k, x.v, out, {.insight = chosen});
        });
    };
    CHECK(with({.rows = query_rows({1, 4})}) == "chosen_weights: there is no row 4, q has 4 rows");
    CHECK(with({.heads = {1}}) == "chosen_weights: there is no head 1, q has 1 heads");
    CHECK(with({.heads = {1, 0}}) == "chosen_weights: heads must rise from 0 on, but head 0 is number 1");
    CHECK(out.size() == 0);
}

}  // namespace test_chosen_weights
