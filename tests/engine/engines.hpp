#pragma once
// An engine of a user's own, which needs nothing of the library but the words of engine/engine.hpp: plain loops that
// count what they multiply.

#include <algorithm>
#include <atomic>

#include <attend/engine/engine.hpp>

namespace attend::test {

struct CountingLoops {
    static constexpr Kind kind = Kind::engine;

    std::atomic<Index>* products;

    template <class T>
    void multiply(const StridedMatrix<T>& a, Index rows, Index depth, const T* b, Index lanes, T* c,
                  const ProductOptions<T>& options) const {
        *products += rows * depth * lanes;
        for (Index r = 0; r < rows; ++r) {
            for (Index lane = 0; lane < lanes; ++lane) {
                T sum = 0;
                for (Index k = 0; k < depth; ++k) sum += a(r, k) * b[k * lanes + lane];
                T& to = c[r * lanes + lane];
                to = options.factor == nullptr ? sum : options.factor[lane] * to + sum;
                if (options.largest != nullptr) options.largest[lane] = std::max(options.largest[lane], to);
            }
        }
    }
};

}  // namespace attend::test
