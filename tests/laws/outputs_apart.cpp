// Whatever a call writes has memory of its own: every output beside every operand and every other output.

#include <attend/attend.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_outputs_apart {
namespace {

using Matrix = RowMatrix<double>;
using Column = Eigen::Map<Eigen::MatrixXd>;

/// Of four queries and keys of width 1 all operands and outputs are 4 × 1: each can stand in the memory of any other.
template <std::size_t n>
struct Columns {
    std::vector<Eigen::MatrixXd> own = std::vector<Eigen::MatrixXd>(n, Eigen::MatrixXd::Constant(4, 1, 7.0));
    std::vector<Column> at;

    Columns() {
        for (Eigen::MatrixXd& x : own) at.emplace_back(x.data(), 4, 1);
    }
    void place(std::size_t i, double* data) { new (&at[i]) Column(data, 4, 1); }
};

bool names(const std::string& text, const std::string& a, const std::string& b) {
    return text.find(" aliases ") != std::string::npos && text.find(a + " (") != std::string::npos &&
           text.find(b + " (") != std::string::npos;
}

constexpr std::array backward_names{"q", "k", "v", "out", "dout", "lse", "dlse", "dq", "dk", "dv"};
constexpr std::size_t first_gradient = 7;
using BackwardCall = Columns<10>;

template <class A>
std::string refused(const A& attention, BackwardCall& c, A* gradient = nullptr) {
    return refusal([&] {
        attention.backward(c.at[0], c.at[1], c.at[2], c.at[3], c.at[5], c.at[4], c.at[7], c.at[8], c.at[9],
                           {.gradient = gradient, .dlse = c.at[6]});
    });
}

}  // namespace

TEST_CASE("no gradient of an operand may share memory with what else a call reads or writes") {
    for (std::size_t j = first_gradient; j < backward_names.size(); ++j) {
        for (std::size_t i = 0; i < j; ++i) {
            BackwardCall c;
            CAPTURE(backward_names[i], backward_names[j]);
            c.place(j, c.own[i].data());
            CHECK(names(refused(dot_product, c), backward_names[i], backward_names[j]));
            CHECK((c.own[i].array() == 7.0).all());
        }
    }
    BackwardCall apart;
    CHECK(refused(dot_product, apart) == "");
}

TEST_CASE("no gradient of a parameter may share memory with what else a call reads or writes") {
    const auto attention = dot_product >> bias(Matrix::Zero(4, 4));
    for (std::size_t i = 0; i < backward_names.size(); ++i) {
        BackwardCall c;
        auto gradient = zero_gradient(attention);
        auto& values = std::get<0>(gradient.modifiers.each).values;
        CAPTURE(backward_names[i]);
        c.place(i, values.data());
        const std::string text = refused(attention, c, &gradient);
        CHECK(names(text, "gradient: modifiers.0.values", backward_names[i]));
        CHECK(values.isZero(0));
    }
}

TEST_CASE("no output of a forward call may share memory with what else the call reads or writes") {
    constexpr std::array forward_names{"q", "k", "v", "out", "lse"};
    const auto call = [](Columns<5>& c, Eigen::MatrixXd& weights) {
        return refusal([&] { dot_product(c.at[0], c.at[1], c.at[2], c.at[3], {.lse = c.at[4], .weights = weights}); });
    };
    for (std::size_t i = 0; i < forward_names.size(); ++i) {
        Eigen::MatrixXd weights = Eigen::MatrixXd::Constant(4, 4, 7.0);
        CAPTURE(forward_names[i]);
        for (std::size_t j = std::max<std::size_t>(i + 1, 3); j < forward_names.size(); ++j) {
            Columns<5> c;
            CAPTURE(forward_names[j]);
            c.place(j, c.own[i].data());
            CHECK(names(call(c, weights), forward_names[i], forward_names[j]));
        }
        Columns<5> c;
        c.place(i, weights.data());
        CHECK(names(call(c, weights), forward_names[i], "weights"));
        CHECK((weights.array() == 7.0).all());
    }
}

TEST_CASE("RoPE turns no rows that reach into each other") {
    std::vector<double> memory(16, 7.0);
    const auto x = strided(memory.data(), {1, 1, 4, 4}, {0, 0, 2, 1});
    const std::string text = refusal([&] { Rope{}(x, 3); });
    CHECK(text == "rope: x (4x4) overlaps itself: by its strides two of its elements are one");
    for (const double value : memory) CHECK(value == 7.0);
}

}  // namespace test_outputs_apart
