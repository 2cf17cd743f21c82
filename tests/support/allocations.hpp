#pragma once
/// \file
/// Counts what a piece of code takes from the heap, by whatever way: `new`, `malloc` and its kin, Eigen, the runtime of
/// OpenMP. Replaces these functions: include it first, and once in a program. Eigen works as in a release build.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#define EIGEN_NO_DEBUG

namespace attend::test {

inline std::atomic<int> allocations = 0;

/// How often `f` allocated, on all threads.
template <class F>
int allocations_of(const F& f) {
    const int before = allocations;
    f();
    return allocations - before;
}

}  // namespace attend::test

// NOLINTBEGIN
#if defined(__GLIBC__)

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) noexcept {
    ++attend::test::allocations;
    return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
    ++attend::test::allocations;
    return __libc_calloc(count, bytes);
}
void* realloc(void* old, std::size_t bytes) noexcept {
    ++attend::test::allocations;
    return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
    ++attend::test::allocations;
    return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept { return memalign(alignment, bytes); }
// By another name in C++, since glibc and Clang's intrinsics do not agree on its declaration.
int counted_posix_memalign(void** result, std::size_t alignment, std::size_t bytes) noexcept asm("posix_memalign");
int counted_posix_memalign(void** result, std::size_t alignment, std::size_t bytes) noexcept {
    *result = memalign(alignment, bytes);
    return *result == nullptr ? ENOMEM : 0;
}
}

#else

// Elsewhere only `new` is replaced; it counts what std::vector takes, but not Eigen.
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

#endif
// NOLINTEND
