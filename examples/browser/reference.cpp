// What the page computes, computed by this machine, to compare the page with.
//
// browser_reference TEXT SCALE CAP WINDOW CAUSAL WEIGH_BY BIAS     the arguments of attend_to in page.hpp
// browser_reference --learn TEXT STEPS     the same of the settings that change nothing, after so many steps, and the
// loss browser_reference --lines TEXT     settings, and lines of code that the page must show for them, which are run
// here
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string_view>

#include "heads.hpp"
#include "page.hpp"
#include "tokens.hpp"

using namespace attend;
using namespace browser;

namespace {

constexpr float none = -std::numeric_limits<float>::infinity();

struct Settings {
    float scale = 1, cap = 0;
    int window = 0;
    bool causal = true;
    WeighBy weigh_by = by_softmax;
    float bias = none;
};

const float* attend_by(const Settings& s) { return attend_to(s.scale, s.cap, s.window, s.causal, s.weigh_by, s.bias); }

int read(std::string_view text) {
    if (std::ssize(text) > text_capacity()) text = text.substr(0, static_cast<std::size_t>(text_capacity()));
    std::memcpy(text_buffer(), text.data(), text.size());
    return read_text(static_cast<int>(text.size()));
}

void print_floats(const char* name, const float* values, int count) {
    std::printf("\"%s\": [", name);
    for (int i = 0; i < count; ++i) std::printf("%s%.9g", i == 0 ? "" : ", ", static_cast<double>(values[i]));
    std::printf("]");
}

void print(int n, const float* weights, float loss = 0) {
    std::printf("{\"loss\": %.9g, \"tokens\": [", static_cast<double>(loss));
    for (int i = 0; i < n; ++i) std::printf("%s[%d, %d]", i == 0 ? "" : ", ", token_begin(i), token_end(i));
    std::printf("], ");
    print_floats("weights", weights, head_count * n * n);
    std::printf(", ");
    print_floats("sums", row_sums(), n * head_count);
    std::printf("}\n");
}

/// Compares a head of the page's single composition with the attention that a line of code makes; prints both.
template <class Attention>
bool agrees(std::string_view text, Head head, const Settings& settings, const char* line, const Attention& attention) {
    const AllLooks looks(tokens(text, 64), Learner());
    const Index n = looks.q().rows();
    const Matrix q = looks.q().middleCols(head * width, width), k = looks.k().middleCols(head * width, width),
                 ones = Matrix::Ones(n, 1);
    Matrix sums, weights;
    attention(q, k, ones, sums, {.weights = weights});
    const Eigen::Map<const Matrix> page(attend_by(settings) + head * n * n, n, n);
    const float difference = (weights - page).cwiseAbs().maxCoeff();

    std::printf("{\"head\": %d, \"scale\": %g, \"cap\": %g, \"window\": %d, \"causal\": %d, \"weigh_by\": %d, ",
                static_cast<int>(head), static_cast<double>(settings.scale), static_cast<double>(settings.cap),
                settings.window, settings.causal ? 1 : 0, static_cast<int>(settings.weigh_by));
    if (settings.bias != none) std::printf("\"bias\": %g, ", static_cast<double>(settings.bias));
    std::printf("\"line\": \"%s\"}\n", line);
    if (difference <= 2e-6f) return true;
    std::fprintf(stderr, "%s: off by %g\n", line, static_cast<double>(difference));
    return false;
}

#define LINE(...) #__VA_ARGS__, __VA_ARGS__

bool lines_agree(std::string_view text) {
    read(text);
    bool good = agrees(text, same_letters, {}, LINE(scaled_dot_product >> causal >> softmax));
    good &= agrees(text, nearby, {.scale = 1.5f, .cap = 5, .window = 16, .bias = 0},
                   LINE(scaled_dot_product >> scale(1.5f) >> soft_cap(5.f) >> alibi(0.5f) >>
                        (causal & sliding_window(16)) >> softmax_with_sink(0.f)));
    good &= agrees(text, last_mark, {.window = 8, .causal = false, .weigh_by = by_sparsemax},
                   LINE(scaled_dot_product >>
                        modifier([](auto s, auto p) { return s - 0.25f * abs(decltype(s)(p.query - p.key)); }) >>
                        sliding_window(7, 7) >> sparsemax));
    good &= agrees(text, continuation, {.scale = 0.5f, .weigh_by = by_entmax15},
                   LINE(scaled_dot_product >> scale(0.5f) >> causal >> entmax15));
    good &= agrees(text, learning, {.causal = false, .weigh_by = by_sigmoid, .bias = -3},
                   LINE(scaled_dot_product >> sigmoid(-3.f)));
    return good;
}

}  // namespace

int main(int count, char** arguments) {
    if (count == 3 && std::string_view(arguments[1]) == "--lines") return lines_agree(arguments[2]) ? 0 : 1;
    if (count == 4 && std::string_view(arguments[1]) == "--learn") {
        const int n = read(arguments[2]);
        const float loss = learn(std::atoi(arguments[3]));
        print(n, attend_by({}), loss);
        return 0;
    }
    if (count != 8) {
        std::fprintf(
            stderr,
            "browser_reference TEXT SCALE CAP WINDOW CAUSAL WEIGH_BY BIAS | --learn TEXT STEPS | --lines TEXT\n");
        return 2;
    }
    const int n = read(arguments[1]);
    print(n, attend_by({.scale = std::strtof(arguments[2], nullptr),
                        .cap = std::strtof(arguments[3], nullptr),
                        .window = std::atoi(arguments[4]),
                        .causal = std::atoi(arguments[5]) != 0,
                        .weigh_by = static_cast<WeighBy>(std::atoi(arguments[6])),
                        .bias = std::strtof(arguments[7], nullptr)}));
    return 0;
}
