#pragma once

#include <attend/attend.hpp>

#include <array>
#include <string_view>

/// The attentions that `--score` chooses from. Each is one line of the library's algebra,
/// score >> modifiers >> mask >> normalizer; blocks, training and sampling take whatever it makes.
namespace transformer_lm {

struct AttentionChoice {
    std::string_view score = "scaled";
    double soft_cap = 0;  ///< of "scaled" alone; 0: none
    int heads = 4;
};

inline constexpr std::array<std::string_view, 4> scores{"scaled", "alibi", "cosine", "yours"};

/// Write any formula of a score and its position here and run with `--score yours`. Its derivative is found from the
/// formula, so it trains as it stands. This one weighs a key at distance n by 1 / (1 + n), as Kerple does (Chi et al.
/// 2022). Other things to try: another score, score([](auto q, auto k) { return -(q - k) * (q - k); }); another mask,
/// (causal & sliding_window(32)); a normalizer behind it, >> sparsemax.
inline auto yours() {
    const auto nearness = attend::modifier([](auto s, auto p) {
        using std::log, std::abs;
        using S = decltype(s);
        return s - log(S(1) + abs(S(p.query - p.key)));
    });
    return attend::scaled_dot_product >> nearness >> attend::causal;
}

/// Vaswani et al. 2017, with the positions of Su et al. 2021 in the blocks.
inline auto scaled() { return attend::scaled_dot_product >> attend::causal; }

/// No score beyond the cap (Gemma 2, 2024), which trains.
inline auto capped(double cap) { return attend::scaled_dot_product >> attend::soft_cap(cap) >> attend::causal; }

/// Calls f(attention, whether RoPE turns queries and keys) with the chosen one. `f` is compiled for each of them.
template <class F>
auto with_attention(const AttentionChoice& choice, F&& f) {
    using namespace attend;
    constexpr bool rope = true, no_rope = false;

    if (choice.score == "yours") return f(yours(), no_rope);

    if (choice.score == "scaled" && choice.soft_cap > 0) return f(capped(choice.soft_cap), rope);

    // A bias for nearness, of another slope in each head, instead of RoPE (Press et al. 2022); the slopes train.
    if (choice.score == "alibi") return f(scaled_dot_product >> alibi(alibi_slopes(choice.heads)) >> causal, no_rope);

    // Angles alone decide, whatever the lengths (Liu et al. 2021); the scale trains.
    if (choice.score == "cosine") return f(cosine(10.0) >> causal, rope);

    return f(scaled(), rope);
}

}  // namespace transformer_lm
