// One of many objects of one program, each compiled with switches of its own (CMakeLists.txt): defines ATTEND_UNIT, the
// sum of what one call gives.
#include <attend/attend.hpp>

#if defined(__AVX2__)
extern const bool ATTEND_UNIT_RUNS = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
extern const bool ATTEND_UNIT_RUNS = true;
#endif

double ATTEND_UNIT();

double ATTEND_UNIT() {
    const Eigen::Index queries = 37, keys = 45, width = 19;
    Eigen::MatrixXf q(queries, width), k(keys, width), v(keys, width);
    for (Eigen::Index a = 0; a < width; ++a) {
        for (Eigen::Index i = 0; i < queries; ++i) q(i, a) = static_cast<float>((7 * i + 3 * a) % 16) / 16;
        for (Eigen::Index j = 0; j < keys; ++j) {
            k(j, a) = static_cast<float>((5 * j + 11 * a) % 16) / 16;
            v(j, a) = static_cast<float>((3 * j + 5 * a) % 16) / 16;
        }
    }
    const Eigen::MatrixXf out = (attend::scaled_dot_product >> attend::causal)(q, k, v);
    double sum = 0;
    for (Eigen::Index i = 0; i < queries; ++i) {
        for (Eigen::Index a = 0; a < width; ++a) sum += static_cast<double>(out(i, a)) * static_cast<double>(i + a + 1);
    }
    return sum;
}
