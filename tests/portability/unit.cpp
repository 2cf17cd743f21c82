// One of many objects of one program, each compiled with switches of its own (CMakeLists.txt): defines ATTEND_UNIT, the
// sum of what one call gives.
//
// Its matrices stand in memory of the standard library's: Eigen's own, which each instruction set aligns in a way of
// its own, may be freed by a function of another object (core/config.hpp says what helps).
#include <attend/attend.hpp>

#include <vector>

#if defined(__AVX2__)
extern const bool ATTEND_UNIT_RUNS = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
extern const bool ATTEND_UNIT_RUNS = true;
#endif

double ATTEND_UNIT();

double ATTEND_UNIT() {
    const Eigen::Index queries = 37, keys = 45, width = 19;
    std::vector<float> memory(static_cast<std::size_t>((2 * queries + 2 * keys) * width));
    float* next = memory.data();
    const auto matrix = [&](Eigen::Index rows) {
        float* const start = next;
        next += rows * width;
        return Eigen::Map<Eigen::MatrixXf>(start, rows, width);
    };
    auto q = matrix(queries), k = matrix(keys), v = matrix(keys), out = matrix(queries);
    for (Eigen::Index a = 0; a < width; ++a) {
        for (Eigen::Index i = 0; i < queries; ++i) q(i, a) = static_cast<float>((7 * i + 3 * a) % 16) / 16;
        for (Eigen::Index j = 0; j < keys; ++j) {
            k(j, a) = static_cast<float>((5 * j + 11 * a) % 16) / 16;
            v(j, a) = static_cast<float>((3 * j + 5 * a) % 16) / 16;
        }
    }
    (attend::scaled_dot_product >> attend::causal)(q, k, v, out);
    double sum = 0;
    for (Eigen::Index i = 0; i < queries; ++i) {
        for (Eigen::Index a = 0; a < width; ++a) sum += static_cast<double>(out(i, a)) * static_cast<double>(i + a + 1);
    }
    return sum;
}
