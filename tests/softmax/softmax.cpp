// Softmax, log-softmax and log-sum-exp: against their formulas in long double, their laws, their edges, their
// gradients.

#define EIGEN_RUNTIME_NO_MALLOC
#include <cmath>
#include <limits>
#include <vector>

#include <attend/softmax/softmax.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

using namespace attend;
using namespace attend::test;

namespace test_softmax {
namespace {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();

using LongMatrix = RowMatrix<long double>;

/// The formulas as they stand, for scores that need no care. Rows only.
LongMatrix plain_softmax(const LongMatrix& x) {
    const LongMatrix e = x.array().exp();
    return e.array().colwise() / e.array().rowwise().sum();
}

template <class T>
RowMatrix<T> transposed_if(bool yes, const RowMatrix<T>& x) {
    return yes ? RowMatrix<T>(x.transpose()) : x;
}

/// The largest difference, in more bits than `distance` looks at.
template <class X>
double error(const X& x, const LongMatrix& exact) {
    return static_cast<double>((x.template cast<long double>() - exact).cwiseAbs().maxCoeff());
}

/// What the operations make of scores held in X, however it is stored; rows of `scores` are lines of X.
template <class X>
void check_against_formulas(X&& x, const RowMatrix<typename std::remove_cvref_t<X>::Scalar>& scores, Along along,
                            double tolerance) {
    using T = typename std::remove_cvref_t<X>::Scalar;
    const auto lines = [&](const auto& matrix) { return transposed_if<T>(along == columnwise, matrix); };
    x = lines(scores);
    const LongMatrix p = plain_softmax(scores.template cast<long double>());

    const RowMatrix<T> weights = lines(softmax(x, along)), log_weights = lines(log_softmax(x, along));
    CHECK(error(weights, p) <= tolerance);
    CHECK(error(log_weights, p.array().log()) <= 16 * tolerance);  // of numbers up to 16

    RowMatrix<T> out;
    softmax(x, out, along);
    CHECK(lines(out) == weights);
    softmax(x, x, along);
    CHECK(lines(x) == weights);
    x = lines(scores);
    log_softmax(x, x, along);
    CHECK(lines(x) == log_weights);
}

/// Random scores of every size, through every kind of matrix.
template <class T>
void check_all_layouts(double bound, double tolerance) {
    Random random(3);
    for (const auto& [n, length] : {std::pair{1, 1}, {1, 40}, {3, 4}, {17, 5}, {5, 100}, {33, 16}, {2, 1500}}) {
        const RowMatrix<T> scores = random_matrix<T>(random, n, length, bound);
        for (const Along along : {Along::rows, Along::columns}) {
            const Index rows = along == Along::rows ? n : length, columns = along == Along::rows ? length : n;
            check_against_formulas(Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>(rows, columns), scores, along,
                                   tolerance);
            check_against_formulas(RowMatrix<T>(rows, columns), scores, along, tolerance);
            RowMatrix<T> larger = RowMatrix<T>::Constant(rows + 3, columns + 2, T(-7));
            check_against_formulas(larger.block(1, 2, rows, columns), scores, along, tolerance);
            std::vector<T> memory(static_cast<std::size_t>(3 * rows * (columns + 1)));
            using Strided = Eigen::Map<RowMatrix<T>, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>>;
            check_against_formulas(Strided(memory.data(), rows, columns,
                                           Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(3 * (columns + 1), 3)),
                                   scores, along, tolerance);
        }
    }
}

/// Central differences of Σ f(x) ∘ dy in every x.
template <class F>
Eigen::MatrixXd differences(F f, Eigen::MatrixXd x, const Eigen::MatrixXd& dy) {
    Eigen::MatrixXd dx(x.rows(), x.cols());
    for (Index i = 0; i < x.size(); ++i) {
        constexpr double step = 1e-3;
        const double centre = x(i);
        const auto loss = [&](double steps) {
            x(i) = centre + steps * step;
            return f(x).cwiseProduct(dy).sum();
        };
        dx(i) = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * step);
        x(i) = centre;
    }
    return dx;
}

}  // namespace

TEST_CASE("softmax and log_softmax follow their formulas in every layout and scalar") {
    // In halves of the last place of numbers below 1. The terms, their sum, its inverse and the product round; 16-bit
    // weights, computed in float, round once.
    check_all_layouts<float>(3, 6 * 0x1p-25);
    check_all_layouts<double>(3, 6 * 0x1p-54);
    check_all_layouts<long double>(3, 6 * 0x1p-65);
    check_all_layouts<Eigen::half>(3, 1.01 * 0x1p-12);
    check_all_layouts<Eigen::bfloat16>(3, 1.01 * 0x1p-9);
}

TEST_CASE("expressions, arrays and other kinds of output") {
    Random random(4);
    const Eigen::MatrixXd a = random_matrix<double>(random, 6, 5), b = random_matrix<double>(random, 5, 7);
    const Eigen::MatrixXd product = a * b;
    CHECK(same_bits(softmax(a * b), softmax(product)));
    CHECK(same_bits(softmax(2.0 * a - a), softmax(a)));
    CHECK(same_bits(softmax(a.transpose(), columnwise), softmax(a).transpose()));
    CHECK(same_bits(logsumexp(a * b), logsumexp(product)));
    const Eigen::ArrayXXd array = a;
    const Eigen::ArrayXXd weights = softmax(array);
    CHECK(same_bits(weights, softmax(a)));
    Eigen::MatrixXf in_float(6, 5);
    softmax(a, in_float);
    CHECK(same_bits(in_float, softmax(a.cast<float>())));
    Eigen::MatrixXd target = Eigen::MatrixXd::Constant(8, 9, -7);
    softmax(a, target.block(1, 2, 6, 5));
    CHECK(same_bits(target.block(1, 2, 6, 5), softmax(a)));
    CHECK((target.array() == -7).count() == 8 * 9 - 6 * 5);
}

TEST_CASE("logsumexp is the log of the sum, a column for rows and a row for columns") {
    Random random(5);
    for (const Index n : {1, 7, 40}) {
        const Eigen::MatrixXd x = random_matrix<double>(random, n, 9, 4.0);
        const Eigen::MatrixXd of_rows = x.array().exp().rowwise().sum().log(),
                              of_columns = x.array().exp().colwise().sum().log();
        const Eigen::VectorXd rows = logsumexp(x);
        const Eigen::RowVectorXd columns = logsumexp(x, columnwise);
        CHECK(distance(rows, of_rows) <= 2e-15);
        CHECK(distance(columns, of_columns) <= 4e-15);
    }
    STATIC_REQUIRE(std::is_same_v<decltype(logsumexp(Eigen::Matrix<Eigen::half, 3, 4>())), Eigen::Vector3f>);
    STATIC_REQUIRE(std::is_same_v<decltype(logsumexp(Eigen::Matrix<double, 3, 4>(), columnwise)), Eigen::RowVector4d>);
}

TEMPLATE_TEST_CASE("every row sums to 1", "", float, double) {
    Random random(6);
    for (const double bound : {0.0, 1e-30, 1.0, 20.0, 1000.0, 1e30}) {
        for (const Index length : {1, 2, 33, 5000}) {
            const RowMatrix<TestType> p = softmax(random_matrix<TestType>(random, 3, length, bound));
            CHECK((p.array() >= 0).all());
            const LongMatrix sums = p.template cast<long double>().rowwise().sum();
            // The roundings of a sum of n terms grow like a random walk.
            const double steps = 1 + std::sqrt(static_cast<double>(length));
            CHECK(error(sums, LongMatrix::Ones(3, 1)) <= steps * std::numeric_limits<TestType>::epsilon());
        }
    }
}

TEMPLATE_TEST_CASE("a shift of all scores changes nothing", "", float, double) {
    Random random(7);
    // Multiples of 1/8 below 64: their sums with the shifts are exact.
    const RowMatrix<TestType> x = (random_matrix<TestType>(random, 5, 50, 500.0)).array().round() / TestType(8);
    const Eigen::Matrix<TestType, Eigen::Dynamic, 1> lse = logsumexp(x);
    for (const TestType shift : {TestType(-4096), TestType(1024), TestType(100000)}) {
        const RowMatrix<TestType> shifted = x.array() + shift;
        CHECK(same_bits(softmax(shifted), softmax(x)));
        CHECK(same_bits(log_softmax(shifted), log_softmax(x)));
        CHECK(distance(logsumexp(shifted), lse.array() + shift) <=
              std::numeric_limits<TestType>::epsilon() * std::abs(shift));
    }
}

TEMPLATE_TEST_CASE("exponentials of log_softmax are softmax, and its shift is logsumexp", "", float, double) {
    Random random(8);
    const RowMatrix<TestType> x = random_matrix<TestType>(random, 4, 70, 10.0);
    const RowMatrix<TestType> log_p = log_softmax(x);
    constexpr double epsilon = std::numeric_limits<TestType>::epsilon();
    CHECK(distance(log_p.array().exp(), softmax(x).array()) <= 16 * epsilon);
    CHECK(distance((x - log_p).eval(), logsumexp(x).replicate(1, 70).eval()) <= 32 * epsilon);
}

TEMPLATE_TEST_CASE("rows at the edges", "", float, double, long double, Eigen::half, Eigen::bfloat16) {
    using T = TestType;
    using C = Compute<T>;
    struct Edge {
        std::vector<C> x, p;
        C lse;
    };
    const C inf = infinity<C>, log2 = std::log(C(2)), big = static_cast<C>(std::numeric_limits<T>::max());
    const std::vector<Edge> edges{
        {{}, {}, -inf},
        {{-inf}, {0}, -inf},
        {{-inf, -inf, -inf}, {0, 0, 0}, -inf},
        {{5}, {1}, 5},
        {{-inf, 3, -inf}, {0, 1, 0}, 3},
        {{-inf, 3, 3}, {0, C(0.5), C(0.5)}, 3 + log2},
        {{1, inf, -inf}, {0, 1, 0}, inf},
        {{inf, big, inf, -big}, {C(0.5), 0, C(0.5), 0}, inf},
        {{inf, inf, inf, inf}, {C(0.25), C(0.25), C(0.25), C(0.25)}, inf},
        {{big, -big}, {1, 0}, big},
        {{-big, -big}, {C(0.5), C(0.5)}, -big + log2},
        {{big, big}, {C(0.5), C(0.5)}, big + log2},
    };
    for (const Edge& edge : edges) {
        const auto n = static_cast<Index>(edge.x.size());
        const RowMatrix<C> wide = Eigen::Map<const RowMatrix<C>>(edge.x.data(), 1, n);
        const RowMatrix<T> x = wide.template cast<T>();
        const RowMatrix<T> p = softmax(x);
        const RowMatrix<T> log_p = log_softmax(x);
        INFO("scores " << wide.template cast<double>());
        CHECK(distance(p.template cast<C>(), Eigen::Map<const RowMatrix<C>>(edge.p.data(), 1, n)) == 0);
        CHECK(logsumexp(x)[0] == edge.lse);
        for (Index j = 0; j < n; ++j) {
            CHECK(static_cast<C>(log_p(0, j)) == static_cast<C>(static_cast<T>(std::log(static_cast<C>(p(0, j))))));
        }
    }
}

TEMPLATE_TEST_CASE("scores of any size give weights", "", float, double) {
    using T = TestType;
    const Eigen::Matrix<T, 1, 4> huge(T(1e30), T(-1e30), T(1e30), 0);
    CHECK(softmax(huge) == Eigen::Matrix<T, 1, 4>(T(0.5), 0, T(0.5), 0));
    CHECK(logsumexp(huge)[0] == T(1e30));
    const Eigen::Matrix<T, 1, 2> apart(0, T(1e30));
    CHECK(log_softmax(apart) == Eigen::Matrix<T, 1, 2>(T(-1e30), 0));
    const T denormal = std::numeric_limits<T>::denorm_min();
    const Eigen::Matrix<T, 1, 2> tiny(denormal, -denormal);
    CHECK(softmax(tiny) == Eigen::Matrix<T, 1, 2>(T(0.5), T(0.5)));
    // A weight that is no normal number, but not 0: e^x / (1 + e^x).
    const T low = std::log(std::numeric_limits<T>::min()) - 5;
    const Eigen::Matrix<T, 1, 2> p = softmax(Eigen::Matrix<T, 1, 2>(low, 0));
    CHECK(std::abs(p[0] - std::exp(low)) <= 2 * denormal);
    CHECK(p[0] > 0);
}

TEST_CASE("NaN spreads to its own row and no other") {
    for (const double other : {1.0, infinity<double>, -infinity<double>}) {
        for (const Index place : {0, 4, 8}) {
            RowMatrix<double> x = RowMatrix<double>::Constant(3, 9, 1.0);
            x.row(1).setConstant(other);
            x(1, place) = not_a_number<double>;
            const RowMatrix<double> p = softmax(x), log_p = log_softmax(x);
            const Eigen::VectorXd lse = logsumexp(x);
            CHECK(p.row(1).array().isNaN().all());
            CHECK(log_p.row(1).array().isNaN().all());
            CHECK(std::isnan(lse[1]));
            for (const Index i : {0, 2})
                CHECK((p.row(i).allFinite() && log_p.row(i).allFinite() && std::isfinite(lse[i])));
        }
    }
}

TEST_CASE("a row's bits do not depend on the matrix it stands in") {
    Random random(9);
    const RowMatrix<float> x = random_matrix<float>(random, 37, 61, 5.0);
    const RowMatrix<float> p = softmax(x), log_p = log_softmax(x), d = random_matrix<float>(random, 37, 61);
    const Eigen::VectorXf lse = logsumexp(x);
    const RowMatrix<float> ds = softmax.backward(p, d), dx = log_softmax.backward(log_p, d),
                           dlse = logsumexp.backward(x, lse, lse);
    const Eigen::MatrixXf by_columns = x, p_by_columns = p, d_by_columns = d;
    CHECK(same_bits(softmax(by_columns), p));
    CHECK(same_bits(logsumexp(by_columns), lse));
    CHECK(same_bits(softmax.backward(p_by_columns, d_by_columns), ds));
    for (Index i = 0; i < x.rows(); ++i) {
        const Eigen::RowVectorXf row = x.row(i), p_row = p.row(i), log_row = log_p.row(i), d_row = d.row(i);
        CHECK(same_bits(softmax(row), p.row(i)));
        CHECK(same_bits(log_softmax(row), log_p.row(i)));
        CHECK(same_bits(softmax.backward(p_row, d_row), ds.row(i)));
        CHECK(same_bits(log_softmax.backward(log_row, d_row), dx.row(i)));
        CHECK(same_bits(logsumexp.backward(row, lse.row(i), lse.row(i)), dlse.row(i)));
    }
}

TEST_CASE("gradients agree with finite differences") {
    Random random(10);
    for (const Index n : {1, 2, 5, 12}) {
        const Eigen::MatrixXd x = random_matrix<double>(random, 3, n, 2.0), dy = random_matrix<double>(random, 3, n);
        const Eigen::VectorXd dlse = random_matrix<double>(random, 3, 1);
        const auto check = [&](const Eigen::MatrixXd& by_differences, const Eigen::MatrixXd& given) {
            CHECK(distance(by_differences, given) <= 1e-10);
        };
        check(differences([](const auto& s) { return softmax(s); }, x, dy), softmax.backward(softmax(x), dy));
        check(differences([](const auto& s) { return log_softmax(s); }, x, dy),
              log_softmax.backward(log_softmax(x), dy));
        check(differences([](const auto& s) { return Eigen::MatrixXd(logsumexp(s)); }, x, dlse),
              logsumexp.backward(x, logsumexp(x), dlse));
        // Columns are the rows of the transpose.
        const RowMatrix<double> xt = x.transpose(), dyt = dy.transpose();
        check(softmax.backward(softmax(x), dy).transpose(), softmax.backward(softmax(xt, columnwise), dyt, columnwise));
        check(log_softmax.backward(log_softmax(x), dy).transpose(),
              log_softmax.backward(log_softmax(xt, columnwise), dyt, columnwise));
        check(logsumexp.backward(x, logsumexp(x), dlse).transpose(),
              logsumexp.backward(xt, logsumexp(xt, columnwise), 1.0 * dlse.transpose(), columnwise));
    }
}

TEST_CASE("what is absent has gradient 0 and is not looked at") {
    const double inf = infinity<double>, nan = not_a_number<double>;
    const Eigen::Matrix<double, 3, 3> x{{-inf, 1, 2}, {-inf, -inf, -inf}, {-inf, inf, inf}};
    const Eigen::Matrix<double, 3, 3> d{{nan, 3, 5}, {nan, inf, 1}, {-inf, 2, 4}};
    const Eigen::Vector2d seen = x.row(0).tail<2>(), d_seen = d.row(0).tail<2>();
    const Eigen::Matrix<double, 3, 3> ds = softmax.backward(softmax(x), d),
                                      dx = log_softmax.backward(log_softmax(x), d);
    const Eigen::Matrix<double, 3, 3> dlse = logsumexp.backward(x, logsumexp(x), Eigen::Vector3d(2, nan, 4));

    CHECK(ds(0, 0) == 0);
    CHECK(distance(ds.row(0).tail<2>(), softmax.backward(softmax(seen, columnwise), d_seen, columnwise).transpose()) <=
          1e-15);
    CHECK(dx(0, 0) == 0);
    CHECK(distance(dx.row(0).tail<2>(),
                   log_softmax.backward(log_softmax(seen, columnwise), d_seen, columnwise).transpose()) <= 1e-15);
    CHECK(dlse(0, 0) == 0);
    CHECK(distance(dlse.row(0).tail<2>(), 2 * softmax(seen, columnwise).transpose()) <= 1e-15);
    CHECK((ds.row(1).array() == 0).all());
    CHECK((dx.row(1).array() == 0).all());
    CHECK((dlse.row(1).array() == 0).all());
    // Two infinities share: p is (0, 1/2, 1/2).
    CHECK(ds.row(2) == Eigen::RowVector3d(0, -0.5, 0.5));
    CHECK(distance(dx.row(2), Eigen::RowVector3d(0, -1, 1)) <= 1e-15);
    CHECK(dlse.row(2) == Eigen::RowVector3d(0, 2, 2));
}

TEST_CASE("fixed sizes use no heap") {
    Random random(11);
    const Eigen::Matrix<float, 4, 9> x = random_matrix<float>(random, 4, 9);
    const Eigen::Matrix<float, 9, 4, Eigen::RowMajor> xt = x.transpose();
    Eigen::Matrix<Eigen::half, 4, 9> h = x.cast<Eigen::half>(), h_out;
    Eigen::Matrix<float, 4, 9> out;
    Eigen::internal::set_is_malloc_allowed(false);
    const auto p = softmax(x);
    const auto pt = softmax(xt, columnwise);
    const auto ds = softmax.backward(p, x);
    const auto log_p = log_softmax(2.F * x);
    const auto dx = log_softmax.backward(log_p, x + x);
    const auto lse = logsumexp(x);
    const auto lse_of_columns = logsumexp(x, columnwise);
    const auto dlse = logsumexp.backward(x, lse, 2.F * lse);
    softmax(x, out);
    softmax(h, h_out);
    Eigen::internal::set_is_malloc_allowed(true);

    const Eigen::MatrixXf dynamic = x;
    CHECK(same_bits(p, softmax(dynamic)));
    CHECK(same_bits(pt.transpose().eval(), p));
    CHECK(same_bits(ds, softmax.backward(softmax(dynamic), dynamic)));
    CHECK(same_bits(log_p, log_softmax((2.F * dynamic).eval())));
    CHECK(same_bits(dx, log_softmax.backward(log_p, (2.F * dynamic).eval())));
    CHECK(same_bits(lse, logsumexp(dynamic)));
    CHECK(same_bits(lse_of_columns, logsumexp(dynamic, columnwise)));
    CHECK(same_bits(dlse, logsumexp.backward(dynamic, lse, (2.F * lse).eval())));
    CHECK(same_bits(out, p));
    CHECK(same_bits(h_out, softmax(h.cast<float>()).cast<Eigen::half>()));
}

TEST_CASE("contiguous lines of any size need no heap but for the result") {
    Random random(12);
    const RowMatrix<float> x = random_matrix<float>(random, 20, 300);
    const RowMatrix<float> p = softmax(x);
    RowMatrix<float> out(20, 300);
    Eigen::internal::set_is_malloc_allowed(false);
    softmax(x, out);
    Eigen::internal::set_is_malloc_allowed(true);
    CHECK(same_bits(out, p));
}

TEST_CASE("matrices without lines or with empty ones") {
    CHECK(softmax(Eigen::MatrixXf(0, 5)).cols() == 5);
    CHECK(softmax(Eigen::MatrixXf(5, 0)).rows() == 5);
    CHECK(logsumexp(Eigen::MatrixXf(0, 5)).size() == 0);
    CHECK(logsumexp(Eigen::MatrixXf(5, 0)) == Eigen::VectorXf::Constant(5, -infinity<float>));
    CHECK(logsumexp(Eigen::MatrixXf(5, 0), columnwise).size() == 0);
    CHECK(softmax.backward(Eigen::MatrixXf(0, 5), Eigen::MatrixXf(0, 5)).cols() == 5);
    CHECK(logsumexp.backward(Eigen::MatrixXf(0, 5), Eigen::VectorXf(0), Eigen::VectorXf(0)).cols() == 5);
}

TEST_CASE("softmax is the normalizer of an attention") {
    STATIC_REQUIRE(Normalizer<Softmax>);
    std::vector<double> row{1, -infinity<double>, 2};
    const Eigen::RowVector3d x(1, -infinity<double>, 2);
    CHECK(softmax.normalize(std::span<double>(row), RowPosition{}) == logsumexp(x)[0]);
    const Eigen::RowVector3d p = Eigen::Map<const Eigen::RowVector3d>(row.data());
    CHECK(same_bits(p, softmax(x)));
    std::vector<double> d{3, 4, 5};
    softmax.backward(std::span<const double>(row), std::span<double>(d), 0.0, RowPosition{}, nullptr);
    CHECK(same_bits(Eigen::Map<const Eigen::RowVector3d>(d.data()), softmax.backward(p, Eigen::RowVector3d(3, 4, 5))));
}

TEST_CASE("shapes that do not fit are named, before anything is written") {
    using Catch::Matchers::Equals;
    const Eigen::MatrixXf x = Eigen::MatrixXf::Zero(3, 4);
    Eigen::MatrixXf out = Eigen::MatrixXf::Constant(3, 5, -7);
    const auto message_of = [](auto call) -> std::string {
        try {
            call();
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "nothing thrown";
    };
    CHECK(message_of([&] { softmax(x, out); }) == "attend: out (3x5) must be 3x4, or empty to be resized");
    CHECK((out.array() == -7).all());
    CHECK(message_of([&] { softmax.backward(x, out); }) ==
          "attend: softmax.backward: p (3x4) and dp (3x5) must have the same shape");
    CHECK(message_of([&] { log_softmax.backward(out, x); }) ==
          "attend: log_softmax.backward: log_p (3x5) and dlog_p (3x4) must have the same shape");
    CHECK(message_of([&] { logsumexp.backward(x, Eigen::VectorXf(3), Eigen::VectorXf(4)); }) ==
          "attend: logsumexp.backward: lse (3x1) and dlse (4x1) must have one entry for each row of x (3x4)");
    CHECK(message_of([&] { logsumexp.backward(x, Eigen::VectorXf(3), Eigen::VectorXf(3), columnwise); }) ==
          "attend: logsumexp.backward: lse (3x1) and dlse (3x1) must have one entry for each column of x (3x4)");
}

TEST_CASE("an out that is a shifted part of x is refused") {
    Eigen::MatrixXd memory = Eigen::MatrixXd::Constant(4, 4, 7);
    const auto shifted = [&] { softmax(memory.topRows(3), memory.bottomRows(3)); };
    CHECK_THROWS_MATCHES(
        shifted(), std::invalid_argument,
        Catch::Matchers::Message("attend: out overlaps x (3x4): it must be x or have memory of its own"));
    CHECK((memory.array() == 7).all());
}

// A row's extremes are found while the row before is scaled.
TEMPLATE_TEST_CASE("a row's weights have the same bits whatever stands above and below it", "", float, double) {
    using T = TestType;
    for (const Index columns : {3, 100, 129, 500, 2048, 4096, 5000}) {
        CAPTURE(columns);
        Random random(static_cast<std::uint64_t>(columns));
        RowMatrix<T> x = random_matrix<T>(random, 12, columns, 4.0);
        x.row(1).setConstant(-infinity<T>);
        x(3, columns / 2) = infinity<T>;
        x(5, 0) = not_a_number<T>;
        x.row(7) *= T(1e5);
        x.row(8).array() -= T(1e4);
        x(10, columns - 1) = -infinity<T>;
        RowMatrix<T> expected(x.rows(), columns), in_place = x;
        for (Index i = 0; i < x.rows(); ++i) expected.row(i) = softmax(RowMatrix<T>(x.row(i)));
        CHECK(same_bits(softmax(x), expected));
        softmax(in_place, in_place);
        CHECK(same_bits(in_place, expected));
        RowMatrix<T> wide = RowMatrix<T>::Zero(x.rows(), columns + 7);
        softmax(x, wide.middleCols(3, columns));
        CHECK(same_bits(wide.middleCols(3, columns), expected));
        const RowMatrix<T> columns_of_x = x.transpose();
        CHECK(same_bits(RowMatrix<T>(softmax(columns_of_x, columnwise).transpose()), expected));
    }
}

}  // namespace test_softmax
