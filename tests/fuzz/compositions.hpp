#pragma once
/// \file
/// The compositions of the differential tests, in families: every part occurs with several others. A family is a
/// template of the scalar, for a source each to register: so that each compiles in good time. What shows no part that
/// others do not show is left to float.

#include <fuzz/run_case.hpp>

namespace fuzz {

inline constexpr Wants any{}, two_widths{.two_widths = true};
inline constexpr Wants shifted{.shifts = true};
inline constexpr Wants additive_features{.two_widths = true, .large_features = true};
inline constexpr Wants positive{.positive = true, .moderate = true};
inline constexpr Wants moderate{.moderate = true};

template <class X>
void add_dot_products() {
    if constexpr (std::is_same_v<X, float>) add<X>("dot", any, [](auto& m) { return m.dot(); });
    if constexpr (std::is_same_v<X, float>)
        add<X>("scaled>>causal", any, [](auto& m) { return m.scaled() >> m.mask(m.causal()); });
    add<X>("scaled>>alibi of heads>>cap>>causal&window", any, [](auto& m) {
        auto a = m.scaled() >> m.alibi_of_heads();
        auto b = a >> m.soft_cap();
        return b >> m.mask(m.causal() & m.window());
    });
    add<X>("dot>>bias", shifted, [](auto& m) {
        auto a = m.dot();
        return a >> m.bias();
    });
    add<X>("scaled>>scale>>prefix>>sink of heads", any, [](auto& m) {
        auto a = m.scaled() >> m.scale();
        auto b = a >> m.mask(m.prefix());
        return b >> m.sink_of_heads();
    });
    if constexpr (std::is_same_v<X, float>)
        add<X>("general>>lengths", two_widths, [](auto& m) {
            auto a = m.general();
            return a >> m.mask(m.lengths());
        });
    if constexpr (std::is_same_v<X, float>)
        add<X>("cosine>>documents", any, [](auto& m) {
            auto a = m.cosine();
            return a >> m.mask(m.documents());
        });
    add<X>("scaled>>bias>>neighbourhood", any, [](auto& m) {
        auto a = m.scaled() >> m.bias();
        return a >> m.mask(m.neighbourhood());
    });
    if constexpr (std::is_same_v<X, float>)
        add<X>("dot>>neighbourhood&~dilated>>sink", any, [](auto& m) {
            auto a = m.dot() >> m.mask(m.neighbourhood() & ~m.dilated());
            return a >> m.sink();
        });
    if constexpr (std::is_same_v<X, float>)
        add<X>("scaled>>chunked&dilated", any, [](auto& m) {
            auto a = m.scaled();
            return a >> m.mask(m.chunked() & m.dilated());
        });
    if constexpr (std::is_same_v<X, float>)
        add<X>("scaled>>alibi>>tree", any, [](auto& m) {
            auto a = m.scaled() >> m.alibi();
            return a >> m.mask(m.tree());
        });
}

template <class X>
void add_modifiers() {
    add<X>("scaled by>>bias of heads>>causal|prefix>>sink", shifted, [](auto& m) {
        auto a = m.scaled_by(0.5) >> m.bias(true);
        auto b = a >> m.mask(m.causal() | m.prefix());
        return b >> m.sink();
    });
    add<X>("dot>>infinite bias>>cap", any, [](auto& m) {
        auto a = m.dot() >> m.infinite_bias();
        return a >> m.soft_cap();
    });
    add<X>("cosine>>relative bias of heads>>block sparse of heads", any, [](auto& m) {
        auto a = m.cosine() >> m.relative_bias(true);
        return a >> m.mask(m.block_sparse(true));
    });
    add<X>("scaled>>relative bias>>formula>>dense mask", any, [](auto& m) {
        auto a = m.scaled() >> m.relative_bias(false, 12, 20, false);
        auto b = a >> m.formula();
        return b >> m.mask(m.dense_mask());
    });
    add<X>("scaled>>row of heads and column bias>>window>>sink", any, [](auto& m) {
        auto a = m.scaled() >> m.row_column_bias(true, false);
        auto b = a >> m.mask(m.window());
        return b >> m.sink();
    });
    add<X>("dot>>bent>>span>>two-sided window", any, [](auto& m) {
        auto a = m.dot() >> m.bent();
        auto b = a >> m.span();
        return b >> m.mask(m.two_sided_window());
    });
    add<X>("rms norm>>scale of heads>>local p>>causal|prefix", any, [](auto& m) {
        auto a = m.rms_norm() >> m.scale_of_heads();
        auto b = a >> m.local_p();
        return b >> m.mask(m.causal() | m.prefix());
    });
    add<X>("general>>alibi>>span of heads>>odd keys", two_widths, [](auto& m) {
        auto a = m.general() >> m.alibi();
        auto b = a >> m.span_of_heads();
        return b >> m.mask(m.odd_keys());
    });
}

template <class X>
void add_pair_scores() {
    if constexpr (std::is_same_v<X, float>) add<X>("additive", additive_features, [](auto& m) { return m.additive(); });
    add<X>("additive>>cap>>prefix", additive_features, [](auto& m) {
        auto a = m.additive() >> m.soft_cap();
        return a >> m.mask(m.prefix());
    });
    add<X>("additive>>bias>>causal>>sink", Wants{.two_widths = true, .large_features = true, .shifts = true},
           [](auto& m) {
               auto a = m.additive() >> m.bias();
               auto b = a >> m.mask(m.causal());
               return b >> m.sink();
           });
    if constexpr (std::is_same_v<X, float>) add<X>("entropy", positive, [](auto& m) { return m.entropy(); });
    add<X>("distance>>alibi>>causal|~lengths", moderate, [](auto& m) {
        auto a = m.distance() >> m.alibi();
        return a >> m.mask(m.causal() | ~m.lengths());
    });
    add<X>("quotient>>scale>>documents", moderate, [](auto& m) {
        auto a = m.quotient() >> m.scale();
        return a >> m.mask(m.documents());
    });
}

template <class X>
void add_normalizers() {
    add<X>("scaled>>bias>>sparsemax", shifted, [](auto& m) {
        auto a = m.scaled() >> m.bias();
        return a >> m.sparsemax();
    });
    add<X>("additive>>window>>entmax15", additive_features, [](auto& m) {
        auto a = m.additive() >> m.mask(m.window());
        return a >> m.entmax15();
    });
    if constexpr (std::is_same_v<X, float>)
        add<X>("cosine>>causal>>top k", any, [](auto& m) {
            auto a = m.cosine() >> m.mask(m.causal());
            return a >> m.top_k();
        });
    add<X>("dot>>cap>>~dense mask>>sigmoid", any, [](auto& m) {
        auto a = m.dot() >> m.soft_cap();
        auto b = a >> m.mask(~m.dense_mask());
        return b >> m.sigmoid();
    });
    add<X>("entropy>>lengths>>sigmoid of heads", positive, [](auto& m) {
        auto a = m.entropy() >> m.mask(m.lengths());
        return a >> m.sigmoid_of_heads();
    });
    add<X>("general>>relative bias>>causal>>entmax15", two_widths, [](auto& m) {
        auto a = m.general() >> m.relative_bias(false);
        auto b = a >> m.mask(m.causal());
        return b >> m.entmax15();
    });
    add<X>("distance>>block sparse>>top k", moderate, [](auto& m) {
        auto a = m.distance() >> m.mask(m.block_sparse());
        return a >> m.top_k();
    });
}

/// Those of the 16-bit scalars: what stores and loads differently.
template <class X>
void add_some() {
    add<X>("dot>>bias>>causal", any, [](auto& m) {
        auto a = m.dot() >> m.bias();
        return a >> m.mask(m.causal());
    });
    add<X>("general>>cap>>lengths>>sink", two_widths, [](auto& m) {
        auto a = m.general() >> m.soft_cap();
        auto b = a >> m.mask(m.lengths());
        return b >> m.sink();
    });
    add<X>("cosine>>relative bias>>prefix>>entmax15", any, [](auto& m) {
        auto a = m.cosine() >> m.relative_bias(true);
        auto b = a >> m.mask(m.prefix());
        return b >> m.entmax15();
    });
    add<X>("rms norm>>scale of heads>>lengths", any, [](auto& m) {
        auto a = m.rms_norm() >> m.scale_of_heads();
        return a >> m.mask(m.lengths());
    });
    add<X>("distance>>row and column of heads bias>>sigmoid", moderate, [](auto& m) {
        auto a = m.distance() >> m.row_column_bias(false, true);
        return a >> m.sigmoid();
    });
    add<X>("additive>>window", two_widths, [](auto& m) {
        auto a = m.additive();
        return a >> m.mask(m.window());
    });
    add<X>("scaled>>neighbourhood", any, [](auto& m) {
        auto a = m.scaled();
        return a >> m.mask(m.neighbourhood());
    });
}

}  // namespace fuzz
