// needs: openmp
// needs: threads
//
// Gradients of parameters come from all threads, with the same bits for any number of them.

#include <attend/attend.hpp>

#include <unsupported/Eigen/CXX11/ThreadPool>

#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include <support/call.hpp>
#include <support/catch.hpp>

using namespace attend;
using namespace attend::test;

namespace test_parameter_threads {
namespace {

/// One long sequence, whose queries are cut into chunks; many heads, which are not; many short sequences.
const Layout cut{.queries = 150, .keys = 300, .d_q = 6, .d_k = 6, .d_v = 4},
    many_heads{.queries = 40, .keys = 30, .d_q = 6, .d_k = 6, .d_v = 4, .heads = 20, .kv_heads = 10},
    short_ones{.queries = 60,
               .keys = 70,
               .d_q = 6,
               .d_k = 6,
               .d_v = 4,
               .heads = 16,
               .kv_heads = 4,
               .sequences = {0, 3, 20, 20, 31, 50, 60},
               .key_sequences = {0, 10, 25, 30, 41, 50, 70}};

template <class A>
Index groups(const A& attention, const Layout& n) {
    const auto of = [](const std::vector<Index>& begin, Index all) {
        Index longest = begin.empty() ? all : 0;
        for (std::size_t i = 1; i < begin.size(); ++i) longest = std::max(longest, begin[i] - begin[i - 1]);
        return longest;
    };
    const Shape shape{.sequences = n.sequences.empty() ? 1 : static_cast<Index>(n.sequences.size()) - 1,
                      .heads = n.heads,
                      .kv_heads = n.kv_heads,
                      .queries = of(n.sequences, n.queries),
                      .keys = of(n.key_sequences, n.keys),
                      .d_q = n.d_q,
                      .d_k = n.d_k,
                      .d_v = n.d_v};
    return attend::detail::fused::parameter_groups(attention, shape,
                                                   attend::detail::features_of(attention.score(), shape));
}

template <class A>
void check_threads(const A& attention, const Layout& layout) {
    CAPTURE(layout.queries, layout.heads, layout.sequences.size());
    REQUIRE(groups(attention, layout) > 1);
    const Operands<double> x = random_operands(layout, 3);
    const auto y = forward(attention, x);
    const auto d = backward(attention, x);
    Eigen::ThreadPool pool(3);
    CHECK(first_difference(backward(attention, x, thread_pool(pool)), d) == "");
#if defined(_OPENMP)
    for (const int threads : {2, 3, 8}) {
        CAPTURE(threads);
        CHECK(first_difference(backward(attention, x, openmp(threads)), d) == "");
    }
#endif

    // A query's gradients add up to those of all.
    Gradients<double, A> sum{.parameters = zero_gradient(attention)};
    for (Index i = 0; i < layout.queries && layout.sequences.empty(); ++i) {
        Operands<double> one = x;
        one.layout.queries = 1;
        one.layout.query_offset = i;
        one.q = x.q.row(i);
        one.dout = x.dout.row(i);
        Gradients<double, A> of_one{.parameters = std::move(sum.parameters)};
        add_gradients(attention, one, forward(attention, one), of_one);
        sum.parameters = std::move(of_one.parameters);
    }
    if (layout.sequences.empty()) {
        const auto right = parameters_of(sum.parameters), found = parameters_of(d.parameters);
        CHECK((right - found).norm() < 1e-12 * right.norm());
    }
}

/// A scale that notes which threads have asked for its gradient.
struct Noted {
    static constexpr Kind kind = Kind::modifier;
    double factor = 1;
    std::mutex* lock = nullptr;
    std::set<std::thread::id>* threads = nullptr;

    static void parameters(auto& self, auto&& visit) { visit("factor", self.factor); }
    template <class S>
    S operator()(const S& s, const auto&) const {
        return s * S(factor);
    }
    template <class S>
    void backward(const S& s, const auto&, const S& ds, Noted& gradient) const {
        gradient.factor += static_cast<double>(sum(ds * s));
        const std::lock_guard guard(*lock);
        threads->insert(std::this_thread::get_id());
    }
};

/// Shifts the scores of head h by w[(h + turn) % size]. `W` may be a vector or a map.
template <class W>
struct Shift {
    static constexpr Kind kind = Kind::modifier;
    W w;
    Index turn = 0;

    static void parameters(auto& self, auto&& visit) { visit("w", self.w); }
    Index place(Index head) const { return (head + turn) % w.size(); }
    template <class S>
    S operator()(const S& s, const auto& p) const {
        return s * S(w[place(p.head)]);
    }
    template <class S>
    void backward(const S& s, const auto& p, const S& ds, Shift& gradient) const {
        gradient.w[gradient.place(p.head)] += static_cast<double>(sum(ds * s));
    }
};

/// Backward on many heads into `gradient`.
template <class A>
void add_parameters_of_many_heads(const A& attention, A& gradient, Workspace* workspace) {
    REQUIRE(groups(attention, many_heads) > 1);
    const Operands<double> x = random_operands(many_heads, 6);
    const auto y = forward(attention, x);
    RowMatrix<double> dq, dk, dv;
    Eigen::ThreadPool pool(1);
    attention.backward(x.query_heads(), x.key_heads(), x.value_heads(), heads(y.out, 20), y.lse, heads(x.dout, 20), dq,
                       dk, dv, {.workspace = workspace, .executor = thread_pool(pool), .gradient = &gradient});
}

}  // namespace

TEST_CASE("parameters in memory of others have the gradients of a part's own") {
    const Eigen::VectorXd values = Eigen::VectorXd::LinSpaced(4, 0.5, 1.5);
    const auto own = dot_product >> Shift<Eigen::VectorXd>{values};
    auto right = zero_gradient(own);
    add_parameters_of_many_heads(own, right, nullptr);
    Eigen::VectorXd memory = values, of_gradient = Eigen::VectorXd::Zero(4);
    using Map = Eigen::Map<Eigen::VectorXd>;
    const auto view = dot_product >> Shift<Map>{Map(memory.data(), 4)};
    auto gradient = dot_product >> Shift<Map>{Map(of_gradient.data(), 4)};
    for (int call = 0; call < 2; ++call) {
        of_gradient.setZero();
        add_parameters_of_many_heads(view, gradient, nullptr);
        CHECK(distance(of_gradient, std::get<0>(right.modifiers.each).w) < 1e-12);
    }
    CHECK(same_bits(memory, values));
}

TEST_CASE("sums that a workspace keeps know of the gradient that they are for what is no parameter") {
    const Eigen::VectorXd values = Eigen::VectorXd::LinSpaced(4, 0.5, 1.5);
    Workspace workspace;
    for (const Index turn : {0, 1, 3}) {
        const auto attention = dot_product >> Shift<Eigen::VectorXd>{values, turn};
        auto right = zero_gradient(attention), found = right;
        add_parameters_of_many_heads(attention, right, nullptr);
        add_parameters_of_many_heads(attention, found, &workspace);
        CHECK(same_bits(std::get<0>(found.modifiers.each).w, std::get<0>(right.modifiers.each).w));
    }
}

TEST_CASE("what cannot be copied trains") {
    const auto attention = score([p = std::make_unique<int>(1)](auto q, auto k) { return q * k * decltype(q)(*p); });
    const Operands<double> x = random_operands(cut, 7);
    Outputs<double> y;
    attention(x.q, x.k, x.v, y.out, {.lse = y.lse});
    RowMatrix<double> dq, dk, dv;
    attention.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, dq, dk, dv);
    CHECK(distance(dq, backward(dot_product, x).dq) < 1e-12);
}

TEST_CASE("parameters' gradients have the same bits for any number of threads") {
    for (const Layout& layout : {cut, many_heads, short_ones}) {
        check_threads(AdditiveAttention<double>(6, 6, 5, 1) >> soft_cap(2.0), layout);
        check_threads(GeneralAttention<double>(6, 6, 2) >> causal, layout);
    }
    check_threads(dot_product >> alibi(alibi_slopes(20)) >> causal >> softmax_with_sink(0.5), many_heads);
}

TEST_CASE("a workspace keeps the threads' sums for gradients of several shapes") {
    const Operands<double> x = random_operands(cut, 4);
    Workspace workspace;
    for (int turn = 0; turn < 2; ++turn) {
        for (const Index hidden : {3, 5}) {
            CAPTURE(turn, hidden);
            const AdditiveAttention<double> attention(6, 6, hidden, 1);
            const auto y = forward(attention, x);
            Gradients<double, AdditiveAttention<double>> d{.parameters = zero_gradient(attention)};
            attention.backward(x.q, x.k, x.v, y.out, y.lse, x.dout, d.dq, d.dk, d.dv,
                               {.workspace = &workspace, .gradient = &d.parameters});
            CHECK(first_difference(d, backward(attention, x)) == "");
        }
    }
}

TEST_CASE("more threads than one add up parameters' gradients") {
    std::mutex lock;
    std::set<std::thread::id> threads;
    const auto attention = dot_product >> Noted{.factor = 1, .lock = &lock, .threads = &threads};
    Eigen::ThreadPool pool(2);
    REQUIRE(groups(attention, cut) > 1);
    // A thread may be so slow to start that the others have done all: then once more.
    for (int i = 0; i < 100 && threads.size() < 2; ++i) backward(attention, random_operands(cut, 5), thread_pool(pool));
    CHECK(threads.size() > 1);
}

}  // namespace test_parameter_threads
