// Links objects of many switches, ATTEND_UNITS (CMakeLists.txt), into one program: each must give its right sum.
#include <cmath>
#include <cstdio>

namespace {

/// By plain loops in double, of the operands of unit.cpp.
double right_sum() {
    const int queries = 37, keys = 45, width = 19;
    double sum = 0;
    for (int i = 0; i < queries; ++i) {
        double total = 0, out[width] = {};
        for (int j = 0; j <= i && j < keys; ++j) {
            double score = 0;
            for (int a = 0; a < width; ++a) score += (7 * i + 3 * a) % 16 / 16.0 * ((5 * j + 11 * a) % 16 / 16.0);
            const double weight = std::exp(score / std::sqrt(static_cast<double>(width)));
            total += weight;
            for (int a = 0; a < width; ++a) out[a] += weight * ((3 * j + 5 * a) % 16 / 16.0);
        }
        for (int a = 0; a < width; ++a) sum += out[a] / total * (i + a + 1);
    }
    return sum;
}

int failures = 0;

void check(const char* name, bool runs, double (*sum)()) {
    const double right = right_sum();
    if (!runs) {
        std::printf("%s: not run, this processor lacks it\n", name);
    } else if (const double it = sum(); !(std::abs(it - right) < 1e-5 * right)) {
        std::printf("%s: %.9g, right is %.9g\n", name, it, right);
        ++failures;
    }
}

}  // namespace

#define ATTEND_UNIT(name)          \
    extern const bool name##_runs; \
    double name();
ATTEND_UNITS
#undef ATTEND_UNIT

int main() {
#define ATTEND_UNIT(name) check(#name, name##_runs, name);
    ATTEND_UNITS
    return failures == 0 ? 0 : 1;
}
