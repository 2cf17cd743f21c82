// Forward passes on the shapes that the comparison with other libraries uses, by the names it uses (see setting.hpp).

#include <attention_benchmark.hpp>
#include <peak.hpp>
#include <setting.hpp>

namespace attend::bench {
namespace {

constexpr const char* names[] = {
    "forward/f32/b1_h8_kv8_q32_k32_d64_full/t1",         "forward/f32/b1_h12_kv12_q128_k128_d64_full/t1",
    "forward/f32/b8_h12_kv12_q197_k197_d64_full/t1",     "forward/f32/b1_h12_kv12_q512_k512_d64_full/t1",
    "forward/f32/b1_h12_kv12_q1024_k1024_d64_full/t1",   "forward/f32/b1_h12_kv12_q1024_k1024_d64_causal/t1",
    "forward/f32/b1_h8_kv8_q4096_k4096_d64_full/t1",     "forward/f32/b1_h8_kv8_q4096_k4096_d64_causal/t1",
    "forward/f32/b1_h8_kv8_q1024_k1024_d128_full/t1",    "forward/f32/b1_h8_kv8_q4096_k4096_d128_causal/t1",
    "forward/f32/b1_h32_kv8_q1_k4096_d128_full/t1",      "forward/f32/b1_h12_kv12_q1024_k1024_d64_full/t2",
    "forward/f32/b1_h1_kv1_q4096_k4096_d64_causal/t2",   "forward/f32/b1_h8_kv8_q4096_k4096_d128_causal/t2",
    "forward/f32/b1_h32_kv8_q1_k4096_d128_full/t2",      "forward/f64/b1_h12_kv12_q512_k512_d64_full/t1",
    "forward/bf16/b1_h12_kv12_q128_k128_d64_full/t1",    "forward/bf16/b1_h12_kv12_q1024_k1024_d64_full/t1",
    "forward/bf16/b1_h8_kv8_q4096_k4096_d64_causal/t1",  "forward/bf16/b1_h8_kv8_q1024_k1024_d128_full/t1",
    "forward/bf16/b1_h8_kv8_q4096_k4096_d128_causal/t1", "forward/bf16/b1_h32_kv8_q1_k4096_d128_full/t1",
    "forward/bf16/b1_h8_kv8_q4096_k4096_d128_causal/t2", "forward/f16/b1_h12_kv12_q1024_k1024_d64_full/t1",
    "forward/f16/b1_h32_kv8_q1_k4096_d128_full/t1",
};

/// Many queries are bound by arithmetic, one query by reading the keys and values.
template <class AnyOperands>
double peak_fraction(const Setting& setting, const AnyOperands& x, double seconds) {
    using T = typename AnyOperands::Scalar;
    if (setting.shape.queries > 1) {
        return operations(setting, 2) / seconds / (operations_per_second<Peak<T>>() * setting.threads);
    }
    const std::size_t bytes = static_cast<std::size_t>(x.k.storage.size() + x.v.storage.size()) * sizeof(T);
    return static_cast<double>(bytes) / seconds / bytes_per_second(bytes, setting.threads);
}

template <class T, class Attention, class Scores>
void add(const std::string& name, const Setting& setting, const Attention& attention, const Scores& scores) {
    constexpr bool in_16_bits = sizeof(T) == 2;
    const auto make = [setting] { return Operands<T>(setting.shape, setting.threads); };
    const auto report = [setting](benchmark::State& state, const auto& x, double seconds) {
        state.counters["GFLOPS"] = 1e-9 * operations(setting, 2) / seconds;
        state.counters["peak_fraction"] = peak_fraction(setting, x, seconds);
        setting.shape.queries > 1 ? name_peak<T>(state) : name_bandwidth<T>(state);
    };
    add_attention(name, make, attention, scores, report)->Unit(benchmark::kMillisecond);
    if constexpr (!in_16_bits) {
        add_naive(name.substr(name.find('/') + 1), make, scores)->Unit(benchmark::kMillisecond);
    }
}

template <class T>
void add(const std::string& name, const Setting& setting) {
    if (setting.is_causal) {
        add<T>(name, setting, scaled_dot_product >> causal, masked_scores(causal));
    } else {
        add<T>(name, setting, scaled_dot_product, scaled_dot_scores);
    }
}

const bool added = [] {
    for (const char* name : names) {
        const Setting setting = parse(name);
        if (setting.type == "f32") add<float>(name, setting);
        if (setting.type == "f64") add<double>(name, setting);
        if (setting.type == "bf16") add<Eigen::bfloat16>(name, setting);
        if (setting.type == "f16") add<Eigen::half>(name, setting);
    }
    return true;
}();

}  // namespace
}  // namespace attend::bench
