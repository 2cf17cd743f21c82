#pragma once
/// \file
/// The names that the comparison with other libraries uses:
///   PASS/TYPE/bBATCH_hHEADS_kvHEADS_qQUERIES_kKEYS_dWIDTH_MASK/tTHREADS

#include <cstdio>
#include <stdexcept>
#include <string>

#include <attend/attend.hpp>

namespace attend::bench {

struct Setting {
    std::string pass, type;
    Shape shape;
    bool is_causal;
    int threads;
};

inline Setting parse(const char* name) {
    char pass[8], type[5], mask[7];
    int b, h, g, n, m, d, t;
    if (std::sscanf(name, "%7[a-z]/%4[a-z0-9]/b%d_h%d_kv%d_q%d_k%d_d%d_%6[a-z]/t%d", pass, type, &b, &h, &g, &n, &m, &d,
                    mask, &t) != 10) {
        throw std::logic_error(std::string("not the name of a benchmark: ") + name);
    }
    return {.pass = pass,
            .type = type,
            .shape = {.sequences = b, .heads = h, .kv_heads = g, .queries = n, .keys = m, .d_q = d, .d_k = d, .d_v = d},
            .is_causal = std::string(mask) == "causal",
            .threads = t};
}

/// Of `products` matrix products, for the pairs that the mask keeps.
inline double operations(const Setting& setting, int products) {
    const Shape& s = setting.shape;
    double pairs = 0;
    for (Index i = 0; i < s.queries; ++i) {
        pairs += static_cast<double>(setting.is_causal ? std::min(i + 1, s.keys) : s.keys);
    }
    return 2 * products * static_cast<double>(s.sequences * s.heads * s.d_k) * pairs;
}

}  // namespace attend::bench
