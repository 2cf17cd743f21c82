// needs: threads
//
// An engine that packs lets blocks of a head read their keys together: each of them gets what it gets alone, also the
// last with the few queries that are left, and whatever order keys and values are stored in.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_packing_engine {
namespace {

/// By packets, whatever else the build has.
struct Packets {
    static constexpr Kind kind = Kind::engine;
    template <class T>
    static constexpr Index most_rows = Fastest::most_rows<T>;

    template <class T>
    void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c,
                  const ProductOptions<T>& options) const {
        Fastest{}.multiply(a, rows, depth, b, lanes, c, options);
    }
    template <class T>
    void row_scores(const RowBlock<T>& k, const T* q, Index count, T* s, const ScoreStrides& apart) const {
        Fastest{}.row_scores(k, q, count, s, apart);
    }
    template <class T>
    void add_row_values(const RowBlock<T>& v, const T* weights, Index count, const ScoreStrides& apart, const T* factor,
                        T* o) const {
        Fastest{}.add_row_values(v, weights, count, apart, factor, o);
    }
};

/// The same; packs nothing, but says that it does.
struct Pretender : Packets {
    static constexpr Index least_keys = 1;

    struct Session {
        explicit Session(bool) {}
        ~Session() {}  // not trivial: it is held for what it does
    };
    static bool packs(Index, Index) { return true; }
    static Index packed_bytes(Index, Index) { return 64; }
    template <class T>
    void pack(RowOperand<T>& a, Index, Index, std::byte* to) const {
        a.packed = to;
    }
    template <class T>
    void pack(LaneOperand<T>& b, Index, Index, std::byte* to) const {
        b.packed = to;
    }
    template <class T>
    void multiply_packed(const RowOperand<T>& a, Index rows, Index depth, const LaneOperand<T>& b, Index lanes, T* c,
                         const ProductOptions<T>& options) const {
        multiply<T>(a.matrix, rows, depth, b.data, lanes, c, options);
    }
};

}  // namespace

TEST_CASE("blocks that read their keys together get what each gets alone") {
    for (const Index n : {65, 66, 129, 130, 193, 194, 196, 257}) {
        CAPTURE(n);
        Random random(1);
        const Eigen::MatrixXf q = random_matrix<float>(random, n, 24), k = random_matrix<float>(random, 200, 24),
                              v = random_matrix<float>(random, 200, 40);
        CHECK(same_bits((scaled_dot_product >> Pretender())(q, k, v), (scaled_dot_product >> Packets())(q, k, v)));
        const auto attention = scaled_dot_product >> alibi(0.1) >> causal;
        CHECK(same_bits((attention >> Pretender())(q, k, v), (attention >> Packets())(q, k, v)));
    }
}

// How many blocks read together depends on the number of threads; what is summed up over them does not.
TEST_CASE("reductions find of blocks that read their keys together what they find of each alone") {
    const auto attention = scaled_dot_product >> causal;
    for (const Index n : {130, 1500}) {
        Random random(2);
        const Eigen::MatrixXf q = random_matrix<float>(random, n, 24), k = random_matrix<float>(random, n, 24),
                              v = random_matrix<float>(random, n, 40);
        Eigen::MatrixXf out;
        auto sums = column_sums<float>();
        auto entropy = row_entropy<float>();
        (attention >> Packets())(q, k, v, out, {.insight = {sums, entropy}});
        Eigen::ThreadPool one(1), two(2);
        const auto with_one = thread_pool(one), with_two = thread_pool(two);
        for (const attend::detail::ExecutorRef& executor :
             {attend::detail::ExecutorRef(serial), attend::detail::ExecutorRef(with_one),
              attend::detail::ExecutorRef(with_two)}) {
            auto sums_together = column_sums<float>();
            auto entropy_together = row_entropy<float>();
            (attention >> Pretender())(q, k, v, out,
                                       {.executor = executor, .insight = {sums_together, entropy_together}});
            CHECK(same_bits(sums_together.values(), sums.values()));
            CHECK(same_bits(entropy_together.values(), entropy.values()));
        }
    }
}

}  // namespace test_packing_engine
