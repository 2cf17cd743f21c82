#include "page.hpp"

#include <array>
#include <string_view>
#include <vector>

#include <attend/attend.hpp>

#include "heads.hpp"
#include "learner.hpp"
#include "tokens.hpp"

namespace {

using browser::head_count;
using browser::Index;
using browser::Matrix;

constexpr int most_tokens = 64;

struct Page {
    std::array<char, 1 << 14> text = {};
    std::vector<browser::Token> tokens;
    browser::Learner learner;
    browser::AllLooks looks;
    Matrix ones;  ///< values, so that the outputs are the sums of weights
    Matrix weights, sums;
    attend::Workspace workspace;
} page;

}  // namespace

char* text_buffer() { return page.text.data(); }
int text_capacity() { return static_cast<int>(page.text.size()); }

int read_text(int bytes) {
    page.tokens = browser::tokens(std::string_view(page.text.data(), static_cast<std::size_t>(bytes)), most_tokens);
    page.looks = browser::AllLooks(page.tokens, page.learner);
    const auto n = static_cast<int>(page.tokens.size());
    page.ones.setOnes(n, head_count);
    page.sums.resize(n, head_count);
    page.weights.resize(head_count * n, n);
    return n;
}
int token_begin(int token) { return page.tokens[static_cast<std::size_t>(token)].begin; }
int token_end(int token) { return page.tokens[static_cast<std::size_t>(token)].end; }

int head_total() { return head_count; }
float head_slope(int head) { return browser::slopes[static_cast<std::size_t>(head)]; }

const float* attend_to(float scale, float cap, int window, bool causal, WeighBy weigh_by, float bias) {
    // Parts that are switched off have a value that changes nothing: one composition serves, which is compiled once.
    const auto scores = attend::scaled_dot_product >> attend::scale(scale) >> attend::soft_cap(cap > 0 ? cap : 1e6) >>
                        attend::modifier([](auto s, auto p) {
                            using S = decltype(s);
                            return s - S(browser::slopes[static_cast<std::size_t>(p.head)]) * abs(S(p.query - p.key));
                        }) >>
                        attend::sliding_window(window - 1, causal ? 0 : window - 1);
    const auto run = [&](const auto& attention) {
        attention(attend::heads(page.looks.q(), head_count), attend::heads(page.looks.k(), head_count),
                  attend::heads(page.ones, head_count), page.sums,
                  {.workspace = &page.workspace, .weights = page.weights});
    };
    switch (weigh_by) {
        case by_softmax:
            run(scores >> attend::softmax_with_sink(bias));
            break;
        case by_sparsemax:
            run(scores >> attend::sparsemax);
            break;
        case by_entmax15:
            run(scores >> attend::entmax15);
            break;
        case by_sigmoid:
            run(scores >> attend::sigmoid(bias));
            break;
    }
    return page.weights.data();
}
const float* row_sums() { return page.sums.data(); }

float learn(int steps) {
    float loss = 0;
    for (int i = 0; i < steps; ++i) loss = page.learner.learn(page.tokens);
    page.looks.set(browser::learning, page.learner.looks(page.tokens));
    return loss;
}
void forget() {
    page.learner.forget();
    page.looks.set(browser::learning, page.learner.looks(page.tokens));
}
