// needs: threads
// Keys are mapped once a key and call, however many blocks of queries read them.

#include <attend/attend.hpp>

#include <atomic>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_features_once {
namespace {

std::atomic<Index> mapped_rows;

/// s = q · 2k, counting the keys that it maps.
struct CountingScore {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    template <class Rows, class Mapped>
    void map_keys(const Rows& k, Mapped& mapped) const {
        mapped_rows += k.rows();
        mapped = k.template cast<typename Mapped::Scalar>() * typename Mapped::Scalar(2);
    }
    template <class Rows, class Mapped, class Gradient>
    void map_keys_backward(const Rows&, const Mapped& dmapped, Gradient& dk, CountingScore*) const {
        dk += (dmapped * typename Mapped::Scalar(2)).template cast<typename Gradient::Scalar>();
    }
};

}  // namespace

TEST_CASE("every key is mapped once a call, forward and backward") {
    const Attention attention{CountingScore{}};
    Eigen::ThreadPool pool(2);
    for (const bool threads : {false, true}) {
        for (const Index queries : {1, 200}) {
            CAPTURE(threads, queries);
            const Layout layout{.queries = queries,
                                .keys = 600,
                                .heads = 4,
                                .kv_heads = 2,
                                .sequences = {0, queries / 2, queries},
                                .key_sequences = {0, 70, 600}};
            const Operands<float> x = random_operands<float>(layout, 1);
            const auto executor = [&]() -> attend::detail::ExecutorRef {
                static const auto on_pool = thread_pool(pool);
                if (threads) return on_pool;
                return serial;
            }();
            mapped_rows = 0;
            Outputs<float> y;
            attention(x.query_heads(), x.key_heads(), x.value_heads(), y.out,
                      {.executor = executor,
                       .lse = y.lse,
                       .sequences = attend::detail::SequencesRef(std::span(layout.sequences)),
                       .key_sequences = attend::detail::SequencesRef(std::span(layout.key_sequences))});
            CHECK(mapped_rows == 2 * 600);
            mapped_rows = 0;
            Gradients<float, std::remove_const_t<decltype(attention)>> d{.parameters = attention};
            add_gradients(attention, x, y, d, executor);
            CHECK(mapped_rows == 2 * 600);
        }
    }
}

}  // namespace test_features_once
