// A level's calls have the bits of the header's own, compiled as this is: by the switches of that level.
#include <attend/attend.hpp>
#include <attend/dispatch.hpp>
#include <attend/dispatch/processor.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include <support/random.hpp>

namespace {

using namespace attend;

int compared = 0, wrong = 0;

struct Size {
    Index queries, keys, heads, kv_heads, d;
};

template <class A, class B>
void compare(const A& a, const B& b, const char* what, const char* attention, const Size& n) {
    ++compared;
    const bool same = a.rows() == b.rows() && a.cols() == b.cols() &&
                      std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) == 0;
    if (same) return;
    ++wrong;
    double apart = 0;
    for (Index i = 0; i < a.size(); ++i)
        apart = std::max(apart, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
    std::printf("%s, %td x %td, %td / %td heads of %td: %s has other bits, by up to %g\n", attention, n.queries, n.keys,
                n.heads, n.kv_heads, n.d, what, apart);
}

template <class X>
RowMatrix<X> random(Index rows, Index columns, std::uint64_t seed) {
    Random numbers(seed);
    return test::random_matrix<X>(numbers, rows, columns);
}

/// `make(size)` gives the attention.
template <class X, class Make>
void same(const char* name, Make make) {
    using T = Compute<X>;
    for (const Size& n : {Size{1, 300, 4, 2, 64}, Size{1, 2500, 2, 1, 32}, Size{4, 8, 1, 1, 8}, Size{5, 37, 2, 1, 16},
                          Size{70, 130, 4, 2, 33}, Size{197, 197, 2, 2, 64}, Size{300, 90, 1, 1, 128}}) {
        const auto plain = make(n);
        const auto served = dispatched(plain);
        const RowMatrix<X> q = random<X>(n.queries, n.heads * n.d, 1), k = random<X>(n.keys, n.kv_heads * n.d, 2),
                           v = random<X>(n.keys, n.kv_heads * n.d, 3), dout = random<X>(n.queries, n.heads * n.d, 4);
        const auto all = [&](const auto& attention, auto& out, auto& lse, auto& weights, auto& dq, auto& dk, auto& dv,
                             auto& gradient) {
            Workspace workspace;
            ForwardOptions<T> options{.workspace = &workspace, .lse = lse, .query_offset = n.keys / 3};
            attention(heads(q, n.heads), heads(k, n.kv_heads), heads(v, n.kv_heads), out, options);
            options.lse = {}, options.weights = weights;
            RowMatrix<X> again;
            attention(heads(q, n.heads), heads(k, n.kv_heads), heads(v, n.kv_heads), again, options);
            attention.backward(heads(q, n.heads), heads(k, n.kv_heads), heads(v, n.kv_heads), out, lse, dout, dq, dk,
                               dv, {.workspace = &workspace, .gradient = &gradient, .query_offset = n.keys / 3});
        };
        RowMatrix<X> out, dq, dk, dv, s_out, s_dq, s_dk, s_dv;
        Eigen::MatrixX<T> lse, s_lse, weights, s_weights;
        auto gradient = zero_gradient(plain);
        auto s_gradient = zero_gradient(served);
        all(plain, out, lse, weights, dq, dk, dv, gradient);
        all(served, s_out, s_lse, s_weights, s_dq, s_dk, s_dv, s_gradient);
        compare(out, s_out, "the output", name, n), compare(lse, s_lse, "the LSE", name, n);
        compare(weights, s_weights, "the weights", name, n), compare(dq, s_dq, "dq", name, n);
        compare(dk, s_dk, "dk", name, n), compare(dv, s_dv, "dv", name, n);
        if constexpr (!std::is_same_v<X, T>) {  // gradients that are not rounded
            const auto summed = [&](const auto& attention) {
                std::array<RowMatrix<T>, 3> d;
                attention.backward(heads(q, n.heads), heads(k, n.kv_heads), heads(v, n.kv_heads), out, lse, dout, d[0],
                                   d[1], d[2], {.query_offset = n.keys / 3});
                return d;
            };
            const auto d = summed(plain), s_d = summed(served);
            for (std::size_t i = 0; i < 3; ++i) compare(d[i], s_d[i], "a gradient in float", name, n);
        }
        Eigen::VectorXd parameters(0), s_parameters(0);
        const auto gather = [](auto& value, Eigen::VectorXd& to) {
            visit_parameters(value, [&](std::string_view, auto& matrix) {
                const Index before = to.size();
                to.conservativeResize(before + matrix.size());
                for (Index i = 0; i < matrix.size(); ++i) to[before + i] = static_cast<double>(matrix.data()[i]);
            });
        };
        gather(gradient, parameters), gather(s_gradient, s_parameters);
        compare(parameters, s_parameters, "the parameters' gradient", name, n);
    }
}

/// Those whose bits a level could miss: each chain that is compiled to a loop of its own, and each engine.
template <class X>
void some() {
    same<X>("causal", [](const Size&) { return scaled_dot_product >> causal; });
    same<X>("cap, alibi, bias, window, sink of heads", [](const Size& n) {
        return scaled_dot_product >> soft_cap(3) >> alibi(alibi_slopes(n.heads)) >>
               bias(random<Compute<X>>(n.queries, n.keys, 5)) >> (causal & sliding_window(50)) >>
               softmax_with_sink(random<double>(n.heads, 1, 6));
    });
}
/// Over caches: one token, some, and many.
template <class X, class Stored>
void same_on_cache(const char* name) {
    using T = Compute<X>;
    for (const bool latent : {false, true}) {
        KvCache<T, Stored> cache(
            {.heads = 2, .d_k = 48, .d_v = latent ? 32 : 0, .capacity = 200, .sequences = 2, .latent = latent});
        const Index d_v = cache.value_width();
        for (Index s = 0; s < 2; ++s) {
            const RowMatrix<T> k = random<T>(150 + s, 96, 8), v = random<T>(150 + s, 96, 9);
            if (latent) {
                cache.append(k, s);
            } else {
                cache.append(k, v, s);
            }
        }
        for (const Index queries : {1, 7, 100}) {
            const auto plain = scaled_dot_product >> alibi(0.125) >> (causal & sliding_window(120));
            const Size n{queries, 150, 4, 2, 48};
            const RowMatrix<X> q = random<X>(2 * queries, 4 * 48, 10);
            const StridedView<const X> view{q.data(), 2, 4, queries, 48, queries * q.cols(), 48, q.cols(), 1};
            RowMatrix<X> out, s_out;
            Eigen::MatrixX<T> lse, s_lse;
            Workspace workspace;
            plain(view, cache, out, {.workspace = &workspace, .lse = lse});
            dispatched(plain)(view, cache, s_out, {.workspace = &workspace, .lse = s_lse});
            if (out.cols() != 4 * d_v) ++wrong;
            compare(out, s_out, "the output over a cache", name, n);
            compare(lse, s_lse, "the LSE over a cache", name, n);
        }
    }
}
void caches() {
    same_on_cache<float, float>("float of float"), same_on_cache<float, Eigen::bfloat16>("float of bfloat16");
    same_on_cache<float, Eigen::half>("float of half"), same_on_cache<float, std::int8_t>("float of int8");
    same_on_cache<Eigen::bfloat16, Eigen::bfloat16>("bfloat16"), same_on_cache<double, double>("double");
    same_on_cache<Eigen::half, std::int8_t>("half of int8");
}
void rest() {
    same<float>("plain", [](const Size&) { return dot_product; });
    same<float>("cap, alibi", [](const Size&) {
        return scaled_dot_product >> soft_cap(3) >> alibi(0.125) >> sliding_window(20, 10);
    });
    same<float>("cap, dense mask, sink", [](const Size& n) {
        const Eigen::MatrixXf kept = random<float>(n.queries, n.keys, 7);
        return ScaledDotProductAttention(0.3) >> soft_cap(3) >> dense_mask(kept.array() > 0) >> softmax_with_sink(0.5);
    });
    same<float>("alibi of heads, bias, documents", [](const Size& n) {
        return scaled_dot_product >> alibi(alibi_slopes(n.heads)) >> bias(random<float>(n.queries, n.keys, 5)) >>
               (causal & documents({0, 60, 61, 400}));
    });
    // Masks that cross as numbers: each alone, beside a band and beside each other.
    same<float>("documents", [](const Size&) { return scaled_dot_product >> documents({40, 160, 160, 700, 2400}); });
    same<float>("lengths", [](const Size& n) { return scaled_dot_product >> lengths({n.keys - 3}); });
    same<float>("causal, lengths",
                [](const Size& n) { return scaled_dot_product >> (causal & lengths({n.keys / 2})); });
    same<float>("window, documents, cap", [](const Size&) {
        return scaled_dot_product >> soft_cap(3) >> (sliding_window(30, 5) & documents({0, 100, 250, 2500}));
    });
    same<float>("lengths, documents, causal, sink", [](const Size& n) {
        return scaled_dot_product >> (lengths({n.keys - 1}) & documents({0, 60, 400}) & causal) >>
               softmax_with_sink(0.5);
    });
    same<float>("two of documents", [](const Size&) {
        return scaled_dot_product >> (documents({0, 150, 400}) & documents({0, 70, 300}));
    });
    same<float>("documents, dense mask", [](const Size& n) {
        const Eigen::MatrixXf kept = random<float>(n.queries, n.keys, 7);
        return scaled_dot_product >> (documents({0, 60, 400}) & dense_mask(kept.array() > 0));
    });
}

}  // namespace

int main() {
    if (!detail::processor_has(detail::compiled_level())) {
        std::printf("NOT RUN: this processor lacks %s\n", std::string(detail::compiled_level()).c_str());
        return 77;
    }
    std::printf("level %s\n", std::string(dispatch_level()).c_str());
    if (dispatch_level() != detail::compiled_level()) return 1;
    some<float>(), some<double>(), some<Eigen::bfloat16>(), some<Eigen::half>();
    rest();
    caches();
    std::printf("%d results, %d with other bits\n", compared, wrong);
    return wrong == 0 ? 0 : 1;
}
