// The softmax kernel alone, over the rows of a row-major matrix.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

using Scores = RowMatrix<float>;

Scores make(Index rows, Index columns) {
    Random random(1);
    return random_matrix<Scores>(rows, columns, random);
}

template <class T>
Matrix<T> naive(const Scores& x) {
    Matrix<T> p = x.cast<T>();
    softmax_rows(p);
    return p;
}

void add(Index rows, Index columns) {
    const std::string name = "softmax/f32/" + std::to_string(rows) + "x" + std::to_string(columns) + "/t1";
    add_benchmark(name, [=](benchmark::State& state) {
        const Scores x = make(rows, columns);
        Scores p = softmax(x);
        if (!holds(state, share_of_allowed_error<float>(p, naive<float>(x), naive<double>(x)))) return;
        const double seconds = timed(state, [&] { softmax(x, p); });
        const double bytes = 2.0 * sizeof(float) * static_cast<double>(x.size());  // one read, one written
        state.counters["GB/s"] = 1e-9 * bytes / seconds;
    });
    add_benchmark("naive/" + name, [=](benchmark::State& state) {
        const Scores x = make(rows, columns);
        Scores p(rows, columns);
        timed(state, [&] {
            p = x;
            softmax_rows(p);
        });
    });
}

const bool added = [] {
    add(64, 64);
    add(1024, 1024);
    add(16, 32768);
    return true;
}();

}  // namespace
}  // namespace attend::bench
