// Golden merges of two partial attention results.

#include <attend/attend.hpp>
#include <golden/golden.hpp>

using namespace attend;
using namespace attend::test;

namespace test_merge_state {
namespace {

template <class T>
struct Merged {
    RowMatrix<T> out;
    ColumnVector<T> lse;

    explicit Merged(const Case& c) {
        const auto column = [&](const std::string& name) -> ColumnVector<T> {
            return c.in(name).matrix<T>().transpose();
        };
        merge(c.in("out_a").matrix<T>(), column("lse_a"), c.in("out_b").matrix<T>(), column("lse_b"), out, lse);
    }
};

/// The same as one writes it in Eigen.
struct NaiveMerge {
    Eigen::MatrixXf out;
    Eigen::VectorXf lse;

    explicit NaiveMerge(const Case& c) {
        const Eigen::ArrayXf a = c.in("lse_a").matrix<float>().transpose(),
                             b = c.in("lse_b").matrix<float>().transpose();
        const Eigen::ArrayXf most = a.max(b), share_a = (a - most).exp(), share_b = (b - most).exp(),
                             sum = share_a + share_b;
        lse = most + sum.log();
        out = (c.in("out_a").matrix<float>().array().colwise() * (share_a / sum) +
               c.in("out_b").matrix<float>().array().colwise() * (share_b / sum))
                  .matrix();
    }
};

}  // namespace

TEST_CASE("golden merges") {
    const Case c = GENERATE(from_range(golden_cases_of("merge_state")));
    Comparison comparison(c);
    const Merged<double> merged(c);
    comparison.check("out", merged.out);
    comparison.check("lse", merged.lse);
    comparison.finish();

    const Merged<float> in_float(c);
    const NaiveMerge naive(c);
    comparison.check_float("out", in_float.out, comparison.error("out", naive.out));
    comparison.check_float("lse", in_float.lse, comparison.error("lse", naive.lse));
}

}  // namespace test_merge_state
