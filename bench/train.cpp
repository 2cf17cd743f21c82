// Forward and backward passes together: the shapes of the comparison with other libraries, by the names it uses (see
// setting.hpp), then what modifiers and their gradients cost, as `times_plain`, and additive scores.

#include <peak.hpp>
#include <setting.hpp>
#include <training.hpp>

namespace attend::bench {
namespace {

constexpr const char* names[] = {
    "train/f32/b1_h8_kv8_q32_k32_d64_full/t1",          "train/f32/b1_h12_kv12_q128_k128_d64_full/t1",
    "train/f32/b1_h12_kv12_q512_k512_d64_full/t1",      "train/f32/b1_h12_kv12_q1024_k1024_d64_full/t1",
    "train/f32/b1_h12_kv12_q1024_k1024_d64_causal/t1",  "train/f32/b1_h8_kv8_q1024_k1024_d128_full/t1",
    "train/f32/b1_h12_kv12_q1024_k1024_d64_full/t2",    "train/f32/b1_h1_kv1_q2048_k2048_d64_causal/t1",
    "train/f32/b1_h1_kv1_q2048_k2048_d64_causal/t2",    "train/bf16/b1_h12_kv12_q128_k128_d64_full/t1",
    "train/bf16/b1_h12_kv12_q512_k512_d64_full/t1",     "train/bf16/b1_h12_kv12_q1024_k1024_d64_full/t1",
    "train/bf16/b1_h12_kv12_q1024_k1024_d64_causal/t1", "train/bf16/b1_h8_kv8_q1024_k1024_d128_full/t1",
    "train/bf16/b1_h8_kv8_q4096_k4096_d64_causal/t1",   "train/bf16/b1_h12_kv12_q1024_k1024_d64_full/t2",
};
constexpr int products = 7;  // two forward, five backward

template <class T, class Attention>
void add(const std::string& name, const Setting& setting, const Attention& attention) {
    add_training<T>(name, setting.shape, setting.threads, attention,
                    [setting](benchmark::State& state, auto&, double seconds) {
                        const double rate = operations(setting, products) / seconds;
                        state.counters["GFLOPS"] = 1e-9 * rate;
                        state.counters["peak_fraction"] = rate / (operations_per_second<Peak<T>>() * setting.threads);
                        name_peak<T>(state);
                    });
}
template <class T>
void add(const std::string& name, const Setting& setting) {
    if (setting.is_causal) {
        add<T>(name, setting, scaled_dot_product >> causal);
    } else {
        add<T>(name, setting, scaled_dot_product);
    }
}

/// Over plain scaled dot-product attention on the same operands.
template <class Attention>
void add_modified(const std::string& name, const Attention& attention) {
    constexpr Index n = 1024;
    const auto report = [attention](benchmark::State& state, auto& x, double) {
        Attention gradient = zero_gradient(attention);
        auto plain = scaled_dot_product;
        const auto step = [&x](const auto& a, auto* d) {
            x.forward(a);
            x.backward(a, d);
        };
        state.counters["times_plain"] =
            times_as_long([&] { step(attention, &gradient); }, [&] { step(scaled_dot_product, &plain); });
    };
    add_training<float>("train_modifier/" + name, {.queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64}, 1,
                        attention, report);
}

const bool added = [] {
    for (const char* name : names) {
        const Setting setting = parse(name);
        setting.type == "bf16" ? add<Eigen::bfloat16>(name, setting) : add<float>(name, setting);
    }
    add_modified("soft_cap", scaled_dot_product >> soft_cap(30.0));
    add_modified("alibi", scaled_dot_product >> alibi(0.125));
    Random random(2);
    add_modified("bias", scaled_dot_product >> bias(random_matrix<Matrix<float>>(1024, 1024, random)));
    add_modified("polynomial",
                 scaled_dot_product >> modifier([](auto s, auto) { return s - decltype(s)(0.01f) * s * s * s; }));
    add_training<float>("train_score/additive_h64/q512_k512",
                        {.queries = 512, .keys = 512, .d_q = 64, .d_k = 64, .d_v = 64}, 1,
                        AdditiveAttention<float>(64, 64, 64, 3));
    return true;
}();

}  // namespace
}  // namespace attend::bench
