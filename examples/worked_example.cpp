// Dot-product attention by hand: three keys, one query, every intermediate figure printed.
//
//     V = K = [[1, 2], [3, 4], [5, 6]],  q = [1, 2]
//
// The five steps are those of every attention: encode, score, normalise, select, output.
#include <cmath>
#include <cstdio>

#include <attend/attend.hpp>

namespace {

void print(const char* name, const Eigen::MatrixXd& matrix) {
    for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
        std::printf("  %-8s [", i == 0 ? name : "");
        for (Eigen::Index j = 0; j < matrix.cols(); ++j) std::printf("%s%.6g", j == 0 ? "" : ", ", matrix(i, j));
        std::printf("]\n");
    }
}

}  // namespace

int main() {
    std::printf(
        "1. Encode: what is sought (q), how it is found (K), what is read (V). Here the keys are the values.\n");
    const Eigen::Matrix<double, 3, 2> values{{1, 2}, {3, 4}, {5, 6}};
    const Eigen::RowVector2d query{1, 2};
    print("q", query);
    print("K = V", values);

    std::printf("\n2. Score: how well the query matches each key, s_j = q . k_j\n");
    const Eigen::RowVector3d scores = query * values.transpose();
    print("s", scores);

    std::printf("\n3. Normalise: softmax turns scores into weights that sum to 1, p_j = exp(s_j - lse)\n");
    const Eigen::RowVector3d weights = attend::softmax(scores);
    print("lse", attend::logsumexp(scores));
    print("p", weights);

    std::printf("\n4. Select: each value times its weight\n");
    print("p_j v_j", weights.transpose().asDiagonal() * values);

    std::printf("\n5. Output: their sum\n");
    print("p V", weights * values);

    std::printf("\nThe same in one call, attend::dot_product(q, K, V):\n");
    const Eigen::RowVector2d output = attend::dot_product(query, values, values);
    print("output", output);
    return (output - weights * values).norm() < 1e-12 && std::fflush(stdout) == 0 ? 0 : 1;
}
