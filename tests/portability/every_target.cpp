// One program for every compiler and processor: attentions of several scores, forward and backward, in float, double
// and bfloat16, and a multi-head block, against plain loops in double; and a file of parameters, byte by byte. It needs
// nothing but attend, says nothing where all is well, and names what is off where it is not.
#include <attend/attend.hpp>
#include <attend/interchange/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>
#include <string>
#include <type_traits>

using namespace attend;
using Matrix = Eigen::MatrixXd;

namespace {

int failures = 0;

constexpr auto every = [](Index, Index) { return true; };

/// Numbers in [-1, 1) that every type here holds exactly, so that the loops start from the same ones.
template <class T>
RowMatrix<T> numbers(Index rows, Index columns, Random& random) {
    RowMatrix<T> x(rows, columns);
    for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < columns; ++j) x(i, j) = static_cast<T>(std::floor(random.uniform() * 128) / 64 - 1);
    }
    return x;
}

template <class X>
Matrix wide(const X& x) {
    return x.template cast<double>();
}

/// What the loops' gradients are off by, since they are derived by differences.
constexpr double of_differences = 1e-9;

/// `what` must be `right`, but for some roundings of numbers as large as the largest and for what that is off by
/// itself.
template <class T, class X>
void compare(const char* name, const char* what, const X& result, const Matrix& right, double off_itself = 0) {
    const double unit = static_cast<double>(Eigen::NumTraits<T>::epsilon());
    const double roundings = std::is_same_v<T, Compute<T>> ? 64 : 4;
    const double allowed = (roundings * unit + off_itself) * std::max(1.0, right.cwiseAbs().maxCoeff());
    const double off = result.rows() == right.rows() && result.cols() == right.cols()
                           ? (wide(result) - right).cwiseAbs().maxCoeff()
                           : std::numeric_limits<double>::infinity();
    if (off <= allowed) return;
    ++failures;
    std::printf("%s of %d bits: %s is off by %g, of which %g are allowed\n", name, static_cast<int>(8 * sizeof(T)),
                what, off, allowed);
}

/// The plain loops: the output, and the gradients of sum(dout ∘ output). `score(q, k, i, j)` is that of the features of
/// query i and key j, and is derived by differences.
struct Loops {
    Matrix out, dq, dk, dv;

    template <class Score, class Keeps>
    Loops(const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& dout, Score score, Keeps keeps)
        : out(Matrix::Zero(q.rows(), v.cols())),
          dq(Matrix::Zero(q.rows(), q.cols())),
          dk(Matrix::Zero(k.rows(), k.cols())),
          dv(Matrix::Zero(v.rows(), v.cols())) {
        const double step = 1e-5;
        for (Index i = 0; i < q.rows(); ++i) {
            Eigen::VectorXd p = Eigen::VectorXd::Zero(k.rows()), dp = p;
            for (Index j = 0; j < k.rows(); ++j) {
                if (keeps(i, j)) p(j) = std::exp(score(q.row(i), k.row(j), i, j));
            }
            if (p.sum() == 0) continue;
            p /= p.sum();
            double dot = 0;
            for (Index j = 0; j < k.rows(); ++j) {
                out.row(i) += p(j) * v.row(j);
                dv.row(j) += p(j) * dout.row(i);
                dp(j) = dout.row(i).dot(v.row(j));
                dot += p(j) * dp(j);
            }
            for (Index j = 0; j < k.rows(); ++j) {
                const double ds = p(j) * (dp(j) - dot);
                if (ds == 0) continue;
                const auto differences = [&](auto x, auto&& of) {
                    Eigen::RowVectorXd d(x.size());
                    for (Index a = 0; a < x.size(); ++a) {
                        const double there = x(a);
                        x(a) = there + step;
                        const double above = of(x);
                        x(a) = there - step;
                        d(a) = (above - of(x)) / (2 * step);
                        x(a) = there;
                    }
                    return d;
                };
                dq.row(i) += ds * differences(Eigen::RowVectorXd(q.row(i)),
                                              [&](const auto& x) { return score(x, k.row(j), i, j); });
                dk.row(j) += ds * differences(Eigen::RowVectorXd(k.row(j)),
                                              [&](const auto& x) { return score(q.row(i), x, i, j); });
            }
        }
    }
};

template <class T, class A, class Score, class Keeps>
void check(const char* name, const A& attention, Index queries, Index keys, Score score, Keeps keeps) {
    Random random(static_cast<std::uint64_t>(queries + keys));
    const Index d = 7, d_v = 5;
    const auto q = numbers<T>(queries, d, random), k = numbers<T>(keys, d, random), v = numbers<T>(keys, d_v, random),
               dout = numbers<T>(queries, d_v, random);
    RowMatrix<T> out, dq, dk, dv;
    ColumnVector<Compute<T>> lse;
    attention(q, k, v, out, {.lse = lse});
    attention.backward(q, k, v, out, lse, dout, dq, dk, dv);

    const Loops right(wide(q), wide(k), wide(v), wide(dout), score, keeps);
    compare<T>(name, "the output", out, right.out);
    compare<T>(name, "the gradient of q", dq, right.dq, of_differences);
    compare<T>(name, "the gradient of k", dk, right.dk, of_differences);
    compare<T>(name, "the gradient of v", dv, right.dv);
}

/// Rows that fill no packet, one that fills several, and a single query.
template <class T, class A, class Score, class Keeps>
void check_sizes(const char* name, const A& attention, Score score, Keeps keeps) {
    check<T>(name, attention, 1, 70, score, keeps);
    check<T>(name, attention, 5, 3, score, keeps);
    check<T>(name, attention, 43, 29, score, keeps);
}

template <class T>
void check_dot_products() {
    check_sizes<T>(
        "scaled_dot_product >> alibi >> soft_cap >> causal",
        scaled_dot_product >> alibi(0.125F) >> soft_cap(3.F) >> causal,
        [](const auto& q, const auto& k, Index i, Index j) {
            return 3 * std::tanh((q.dot(k) / std::sqrt(7.0) - 0.125 * static_cast<double>(i - j)) / 3);
        },
        [](Index i, Index j) { return j <= i; });
}

template <class T>
void check_pairs() {
    check_sizes<T>(
        "score(-(q - k)^2)", score([](auto q, auto k) { return -(q - k) * (q - k); }),
        [](const auto& q, const auto& k, Index, Index) { return -(q - k).squaredNorm(); }, every);
    const AdditiveAttention<T> additive(7, 7, 9, 1);
    check_sizes<T>(
        "additive", additive,
        [&](const auto& q, const auto& k, Index, Index) {
            const Eigen::RowVectorXd hidden =
                (q * wide(additive.query_weight) + k * wide(additive.key_weight) + wide(additive.bias).transpose())
                    .array()
                    .tanh();
            return (hidden * wide(additive.score_weight))(0);
        },
        every);
}

template <class T>
void check_mapped() {
    check_sizes<T>(
        "cosine", cosine(4),
        [](const auto& q, const auto& k, Index, Index) { return 4 * q.dot(k) / (q.norm() * k.norm()); }, every);
    const GeneralAttention<T> general(7, 7, 1);
    check_sizes<T>(
        "general", general,
        [&](const auto& q, const auto& k, Index, Index) { return (q * wide(general.weight)).dot(k); }, every);
}

/// One weight matrix of a block stands for all: the identity elsewhere leaves an attention over halves of the features.
template <class T>
void check_block() {
    using Block = MultiHeadAttention<T, decltype(scaled_dot_product >> causal)>;
    const Index d = 6, n = 11;
    Block block({.d_model = d, .heads = 2}, scaled_dot_product >> causal, 1);
    for (auto* weight : {&block.query_weight, &block.key_weight, &block.value_weight}) weight->setIdentity();

    Random random(1);
    const auto x = numbers<T>(n, d, random), dy = numbers<T>(n, d, random);
    RowMatrix<T> y, dx;
    typename Block::Tape tape;
    block.forward(x, y, {.tape = &tape});
    Block gradient = zero_gradient(block);
    block.backward(tape, dy, dx, {.gradient = &gradient});

    const Matrix weight = wide(block.output_weight), dcontext = wide(dy) * weight.transpose();
    Matrix context(n, d), right(n, d);
    for (Index head = 0; head < 2; ++head) {
        const Matrix z = wide(x).middleCols(3 * head, 3);
        const Loops loops(
            z, z, z, dcontext.middleCols(3 * head, 3),
            [](const auto& q, const auto& k, Index, Index) { return q.dot(k) / std::sqrt(3.0); },
            [](Index i, Index j) { return j <= i; });
        context.middleCols(3 * head, 3) = loops.out;
        right.middleCols(3 * head, 3) = loops.dq + loops.dk + loops.dv;
    }
    compare<T>("a block", "the output", y, context * weight);
    compare<T>("a block", "the gradient of x", dx, right, of_differences);
    compare<T>("a block", "the gradient of output_weight", gradient.output_weight, context.transpose() * wide(dy));
}

struct Parameters {
    Eigen::Matrix<Eigen::bfloat16, 2, 1> brief{Eigen::bfloat16(1), Eigen::bfloat16(-2)};
    float number = 0.5f;
    double exact = 3;

    static void parameters(auto& self, auto&& visit) {
        visit("brief", self.brief), visit("number", self.number), visit("exact", self.exact);
    }
};

/// Its lowest bytes stand first, whatever the processor's order.
void check_file() {
    std::stringstream file;
    save_safetensors(file, Parameters());
    const std::string bytes = file.str(), numbers("\0\0\0\0\0\0\x08\x40\0\0\0\x3f\x80\x3f\0\xc0", 16);
    Parameters loaded{.brief = {}, .number = 0, .exact = 0};
    load_safetensors(file, loaded);
    const bool right = bytes.ends_with(numbers) && bytes[0] != '\0' && bytes[7] == '\0' &&
                       loaded.brief == Parameters().brief && loaded.number == 0.5f && loaded.exact == 3;
    if (right) return;
    std::printf("a file of parameters has other bytes\n");
    ++failures;
}

}  // namespace

int main() {
    check_file();
    check_dot_products<float>();
    check_dot_products<double>();
    check_dot_products<Eigen::bfloat16>();
    check_pairs<float>();
    check_pairs<double>();
    check_mapped<float>();
    check_block<float>();
    check_block<double>();
    return failures == 0 ? 0 : 1;
}
