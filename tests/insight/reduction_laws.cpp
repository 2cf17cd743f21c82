// needs: threads
//
// The laws of a reduction, which every one of the library and one of a user's own keeps: the same bits whatever the
// number of threads, the run, the batch and what else is asked of the call; and what it is not asked for costs nothing.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include "known_weights.hpp"

using namespace attend;
using namespace attend::test;

namespace test_reduction_laws {
namespace {

/// A reduction of a user's own, with no more than the concept says: how far from itself each query looks, and of each
/// head the sum over all queries.
template <class T>
struct LookingDistance {
    RowMatrix<T> of_rows;  ///< rows × heads
    RowMatrix<T> sums;     ///< parts × (heads · sequences)

    void start(const WeightsShape& shape) {
        of_rows.setZero(shape.rows, shape.heads);
        sums.setZero(shape.parts, shape.heads * shape.sequences);
        sequences_ = shape.sequences;
    }
    void take(const WeightsTile<T>& tile) {
        for (Index i = 0; i < tile.rows; ++i) {
            for (Index j = 0; j < tile.keys; ++j) {
                const Index apart = std::abs(tile.query_position + i - tile.key_position - j);
                const T term = tile.weight(i, j) * static_cast<T>(apart);
                of_rows(tile.row + i, tile.head) += term;
                sums(tile.part, tile.head * sequences_ + tile.sequence) += term;
            }
        }
    }
    void finish(const WeightsShape& shape) {
        for (Index part = 1; part < shape.parts; ++part) sums.row(0) += sums.row(part);
    }

private:
    Index sequences_ = 0;
};

/// What a reduction has found, row by row of the call's rows, and of its heads' sequences.
template <class T>
RowMatrix<T> found_by(const RowEntropy<T>& r) {
    return r.values();
}
template <class T>
RowMatrix<T> found_by(const LargestScore<T>& r) {
    return r.values();
}
template <class T>
RowMatrix<T> found_by(const ColumnSums<T>& r) {
    return r.values();
}
template <class T>
RowMatrix<T> found_by(const TopKeys<T>& r) {
    RowMatrix<T> both(r.weights().rows(), 2 * r.weights().cols());
    both << r.weights(), r.keys().template cast<T>();
    return both;
}
template <class T>
RowMatrix<T> found_by(const ChosenWeights<T>& r) {
    return r.values();
}
template <class T>
RowMatrix<T> found_by(const MeanWeights<T>& r) {
    return r.mean();
}
template <class T>
RowMatrix<T> found_by(const Rollout<T>& r) {
    return r.values();
}
template <class T>
RowMatrix<T> found_by(const LookingDistance<T>& r) {
    RowMatrix<T> both = RowMatrix<T>::Zero(r.of_rows.rows() + 1, std::max(r.of_rows.cols(), r.sums.cols()));
    both.topLeftCorner(r.of_rows.rows(), r.of_rows.cols()) = r.of_rows;
    both.bottomLeftCorner(1, r.sums.cols()) = r.sums.row(0);
    return both;
}

template <class T, class R>
void check_laws(const auto& known, const R& reduction) {
    R first = reduction;
    known.show_to({first});
    const RowMatrix<T> found = found_by(first);
    Eigen::ThreadPool one(1), two(2);
    const auto with_one = thread_pool(one), with_two = thread_pool(two);
    for (const attend::detail::ExecutorRef& executor :
         {attend::detail::ExecutorRef(serial), attend::detail::ExecutorRef(with_one),
          attend::detail::ExecutorRef(with_two)}) {
        R alone = reduction, beside = reduction;
        auto scores = largest_score<T>();
        known.show_to({alone}, executor);
        CHECK(same_bits(found_by(alone), found));
        known.show_to({scores, beside}, executor);
        CHECK(same_bits(found_by(beside), found));
    }
    if constexpr (!std::same_as<R, Rollout<T>>) {  // which goes on from what it has
        R again = reduction;
        KnownWeights<T, DotProductAttention>(dot_product, {.queries = 9, .keys = 70, .heads = 2}).show_to({again});
        known.show_to({again});
        CHECK(same_bits(found_by(again), found));
    }
}

}  // namespace

TEMPLATE_TEST_CASE("a reduction finds the same whatever the threads, the run and what is beside it", "", float,
                   double) {
    using T = TestType;
    for_each_known<T>([](const auto& known) {
        check_laws<T>(known, row_entropy<T>());
        check_laws<T>(known, largest_score<T>());
        check_laws<T>(known, column_sums<T>());
        check_laws<T>(known, top_keys<T>(3));
        check_laws<T>(known, chosen_weights<T>());
        check_laws<T>(known, mean_weights<T>({.rows = query_rows({0})}));
        check_laws<T>(known, LookingDistance<T>());
        if (known.rows() == known.keys()) check_laws<T>(known, rollout<T>(known.rows(), known.rows() / 2));
    });
    const KnownWeights<T, ScaledDotProductAttention> square(scaled_dot_product,
                                                            {.queries = 600, .keys = 600, .heads = 2, .kv_heads = 1});
    check_laws<T>(square, rollout<T>(600, 250));
}

TEST_CASE("what a reduction finds of a sequence does not depend on the batch") {
    const auto attention = scaled_dot_product >> causal;
    const Layout layout = insight_layouts()[5];
    const KnownWeights<float, std::remove_const_t<decltype(attention)>> batch(attention, layout);
    auto entropy = row_entropy<float>();
    auto sums = column_sums<float>();
    auto own = LookingDistance<float>();
    batch.show_to({entropy, sums, own});
    for (std::size_t s = 0; s < 2; ++s) {
        const Index q = layout.sequences[s], queries = layout.sequences[s + 1] - q, k = layout.key_sequences[s],
                    keys = layout.key_sequences[s + 1] - k;
        const RowMatrix<float> of_q = batch.x.q.middleRows(q, queries), of_k = batch.x.k.middleRows(k, keys),
                               of_v = batch.x.v.middleRows(k, keys);
        auto entropy_alone = row_entropy<float>();
        auto sums_alone = column_sums<float>();
        auto own_alone = LookingDistance<float>();
        RowMatrix<float> out;
        attention(heads(of_q, 2), heads(of_k, 1), heads(of_v, 1), out,
                  {.insight = {entropy_alone, sums_alone, own_alone}});
        CHECK(same_bits(entropy.values().middleRows(q, queries), entropy_alone.values()));
        CHECK(same_bits(own.of_rows.middleRows(q, queries), own_alone.of_rows));
        for (Index head = 0; head < 2; ++head) {
            const auto s_index = static_cast<Index>(s);
            CHECK(same_bits(sums.of(head, s_index).head(keys), sums_alone.of(head)));
            CHECK(own.sums(0, head * 2 + s_index) == own_alone.sums(0, head));
        }
    }
}

TEST_CASE("a user's own reduction finds what plain loops over the weights find") {
    for_each_known<double>([](const auto& known) {
        LookingDistance<double> own;
        known.show_to({own});
        double worst = 0;
        for (Index head = 0; head < known.heads(); ++head) {
            for (Index s = 0; s < known.sequences(); ++s) {
                double all = 0;
                for (Index row = known.first_row(s); row < known.end_row(s); ++row) {
                    double sum = 0;
                    for (Index key = 0; key < known.keys(); ++key)
                        sum +=
                            known.weight(head, row, key) *
                            static_cast<double>(std::abs(known.x.layout.query_offset + row - known.first_row(s) - key));
                    worst = std::max(worst, std::abs(own.of_rows(row, head) - sum) / (1 + sum));
                    all += sum;
                }
                worst = std::max(worst, std::abs(own.sums(0, head * known.sequences() + s) - all) / (1 + all));
            }
        }
        CHECK(worst < 2500 * 0x1p-53);
    });
}

TEST_CASE("prepared keys, caches and key sources are looked at in the same way") {
    const auto attention = scaled_dot_product >> causal;
    const Operands<float> x = random_operands<float>({.queries = 40, .keys = 40, .d_q = 8, .d_k = 8}, 3);
    RowMatrix<float> out;
    auto entropy = row_entropy<float>(), of_source = row_entropy<float>();
    auto sums = column_sums<float>(), sums_of_source = column_sums<float>();
    attention(x.q, x.k, x.v, out, {.insight = {entropy, sums}});
    attention.prepare(x.k, x.v)(x.q, out, {.insight = {of_source, sums_of_source}});
    CHECK(same_bits(entropy.values(), of_source.values()));
    CHECK(same_bits(sums.values(), sums_of_source.values()));
    KvCache<float> cache({.heads = 1, .d_k = 8, .d_v = 2, .capacity = 40});
    cache.append(x.k, x.v);
    attention(x.q, cache, out, {.insight = {of_source, sums_of_source}});
    CHECK(same_bits(entropy.values(), of_source.values()));
    CHECK(same_bits(sums.values(), sums_of_source.values()));
}

TEST_CASE("16-bit operands are looked at in float") {
    const Operands<float> x = random_operands<float>({.queries = 70, .keys = 90}, 3);
    const Operands<Eigen::bfloat16> half = x.cast<Eigen::bfloat16>();
    const Operands<float> rounded = half.cast<float>();
    RowMatrix<Eigen::bfloat16> out;
    RowMatrix<float> out_float;
    auto entropy = row_entropy<float>(), of_float = row_entropy<float>();
    scaled_dot_product(half.q, half.k, half.v, out, {.insight = entropy});
    scaled_dot_product(rounded.q, rounded.k, rounded.v, out_float, {.insight = of_float});
    CHECK(same_bits(entropy.values(), of_float.values()));
}

TEST_CASE("calls without queries, keys, heads or sequences leave nothing behind") {
    for (const Layout& layout : {Layout{.queries = 0, .keys = 6}, Layout{.queries = 5, .keys = 0},
                                 Layout{.queries = 0, .keys = 0, .sequences = {0, 0}, .key_sequences = {0, 0}}}) {
        const KnownWeights<float, DotProductAttention> known(dot_product, layout);
        auto entropy = row_entropy<float>();
        auto sums = column_sums<float>();
        auto top = top_keys<float>(2);
        auto largest = largest_score<float>();
        auto mean = mean_weights<float>();
        known.show_to({entropy, sums, top, largest, mean});
        CHECK(entropy.values().rows() == layout.queries);
        CHECK((entropy.values().array() == 0).all());
        CHECK(sums.values().cols() == layout.keys);
        CHECK((sums.values().array() == 0).all());
        CHECK((top.keys().array() == -1).all());
        CHECK((largest.values().array() == -std::numeric_limits<float>::infinity()).all());
        CHECK(mean.mean().rows() == layout.queries);
    }
}

}  // namespace test_reduction_laws
