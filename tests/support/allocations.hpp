#pragma once
/// \file
/// Counts what a piece of code takes from the heap. Replaces the global operator new and Eigen's assertions, by which
/// Eigen tells of its own allocations: include it before Eigen, and once in a program.

#include <cstdlib>
#include <new>
#include <string_view>

namespace attend::test {

inline int allocations = 0;

inline void eigen_assertion_failed(std::string_view condition) {
    if (condition.find("is_malloc_allowed") == std::string_view::npos) std::abort();
    ++allocations;
}

}  // namespace attend::test

#define EIGEN_RUNTIME_NO_MALLOC
#define eigen_assert(condition) ((condition) ? void() : attend::test::eigen_assertion_failed(#condition))

#include <Eigen/Core>

namespace attend::test {

/// How often `f` allocated.
template <class F>
int allocations_of(const F& f) {
    const int before = allocations;
    Eigen::internal::set_is_malloc_allowed(false);
    f();
    Eigen::internal::set_is_malloc_allowed(true);
    return allocations - before;
}

}  // namespace attend::test

// NOLINTBEGIN(misc-definitions-in-headers)
// Not inlined: GCC 12 would take the free inside for the wrong partner of a new.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
    ++attend::test::allocations;
    if (void* p = std::malloc(bytes)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
    ++attend::test::allocations;
    const auto step = static_cast<std::size_t>(alignment);
    if (void* p = std::aligned_alloc(step, (bytes + step - 1) / step * step)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
// NOLINTEND(misc-definitions-in-headers)
