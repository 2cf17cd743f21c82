#pragma once
/// \file
/// Random numbers and matrices from a seed.

#include <vector>

#include <attend/core/random.hpp>

namespace attend::test {

/// Uniform in [-bound, bound).
inline double random_number(Random& random, double bound = 1.0) { return bound * (2.0 * random.uniform() - 1.0); }

/// Uniform among the integers first … last.
inline Index random_index(Random& random, Index first, Index last) {
    return first + static_cast<Index>(random.uniform() * static_cast<double>(last - first + 1));
}

template <class T>
RowMatrix<T> random_matrix(Random& random, Index rows, Index columns, double bound = 1.0) {
    RowMatrix<T> x(rows, columns);
    for (T& value : x.reshaped()) value = static_cast<T>(random_number(random, bound));
    return x;
}

template <class T = double>
std::vector<T> random_row(Random& random, Index size, double bound = 1.0) {
    std::vector<T> row(static_cast<std::size_t>(size));
    for (T& value : row) value = static_cast<T>(random_number(random, bound));
    return row;
}

}  // namespace attend::test
