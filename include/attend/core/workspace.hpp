#pragma once
/// \file
/// Scratch memory that the caller owns, so that calls need not allocate.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include <attend/core/errors.hpp>

namespace attend::inline ATTEND_ABI {
namespace detail {

/// Something of any type in a list, one of each.
struct Kept {
    const void* type;
    std::unique_ptr<Kept> next;

    Kept(const void* type_, std::unique_ptr<Kept> next_) : type(type_), next(std::move(next_)) {}
    virtual ~Kept() = default;
};
template <class Value>
struct KeptValue : Kept {
    static inline char tag = 0;  // its address stands for the type
    Value value{};

    explicit KeptValue(std::unique_ptr<Kept> next_) : Kept(&tag, std::move(next_)) {}
};

}  // namespace detail

/// Scratch memory for calls of one thread. It grows to the largest call it has served and then no call allocates; built
/// on a buffer of the caller's it never grows, and a call that needs more throws `std::length_error` before writing.
/// What a call needs, its attention's `workspace_bytes` tells. The sums that threads make of parameters' gradients are
/// kept here too, on the heap, from the first such call on.
class Workspace {
public:
    static constexpr std::size_t alignment = 64;  ///< in bytes

    Workspace() = default;
    /// Reserves `bytes` at once.
    explicit Workspace(std::size_t bytes) { data(bytes); }
    /// Uses `buffer` and nothing else. It must outlive the workspace; any alignment will do.
    explicit Workspace(std::span<std::byte> buffer) : fixed_(true) {
        void* start = buffer.data();
        std::size_t space = buffer.size();
        if (std::align(alignment, 1, start, space) != nullptr) {
            data_ = static_cast<std::byte*>(start);
            bytes_ = space;
        }
    }
    Workspace(Workspace&& other) noexcept { swap(other); }
    Workspace& operator=(Workspace&& other) noexcept {
        Workspace(std::move(other)).swap(*this);
        return *this;
    }
    ~Workspace() { release(); }

    /// Usable size in bytes.
    std::size_t bytes() const { return bytes_; }
    /// The caller's buffer, as far as it is used; empty where the workspace has memory of its own.
    std::span<const std::byte> buffer() const {
        return fixed_ ? std::span<const std::byte>(data_, bytes_) : std::span<const std::byte>();
    }

    /// At least `need` bytes, aligned to 64. What they held before is lost when the workspace grows.
    std::byte* data(std::size_t need) {
        if (need > bytes_) [[unlikely]] {
            if (fixed_) {
                detail::fail<std::length_error>("workspace: the call needs ", need, " bytes, the fixed buffer holds ",
                                                bytes_);
            }
            auto* grown = static_cast<std::byte*>(::operator new(need, std::align_val_t{alignment}));
            release();
            data_ = grown;
            bytes_ = need;
        }
        return data_;
    }
    /// What calls leave here for the next: a value of a type of theirs, made by the first that asks for it.
    template <class Value>
    Value& kept() {
        for (detail::Kept* kept = kept_.get(); kept != nullptr; kept = kept->next.get()) {
            if (kept->type == &detail::KeptValue<Value>::tag)
                return static_cast<detail::KeptValue<Value>*>(kept)->value;
        }
        auto made = std::make_unique<detail::KeptValue<Value>>(std::move(kept_));
        Value& value = made->value;
        kept_ = std::move(made);
        return value;
    }

private:
    void release() {
        if (!fixed_ && data_ != nullptr) ::operator delete(data_, std::align_val_t{alignment});
    }
    void swap(Workspace& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        std::swap(fixed_, other.fixed_);
        std::swap(kept_, other.kept_);
    }

    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
    bool fixed_ = false;
    std::unique_ptr<detail::Kept> kept_;
};

namespace detail {

/// Hands out a block piece by piece. Without a block it only counts, so that the code which lays scratch out also tells
/// how much it needs.
class Arena {
public:
    Arena() = default;
    explicit Arena(std::byte* block) : block_(block) {}

    template <class T>
    T* take(Index count) {
        const std::size_t start = used_;
        used_ += (static_cast<std::size_t>(count) * sizeof(T) + Workspace::alignment - 1) & ~(Workspace::alignment - 1);
        return block_ == nullptr ? nullptr : reinterpret_cast<T*>(block_ + start);
    }
    std::size_t used() const { return used_; }

private:
    std::byte* block_ = nullptr;
    std::size_t used_ = 0;
};

/// Without a workspace, calls that need at most this much stay on the stack: small and fixed-size ones use no heap.
inline constexpr std::size_t stack_scratch_bytes = 64 * 1024;

/// A function of its own: calls with a workspace do not pay for the frame.
template <class F>
ATTEND_NOINLINE void with_stack_scratch(F&& f) {
    alignas(Workspace::alignment) std::byte block[stack_scratch_bytes];
    f(static_cast<std::byte*>(block));
}

/// Calls `f` with a block of `bytes`: the workspace's, or of the call's own.
template <class F>
void with_scratch(Workspace* workspace, std::size_t bytes, F&& f) {
    if (workspace != nullptr) {
        f(workspace->data(bytes));
    } else if (bytes <= stack_scratch_bytes) {
        with_stack_scratch(f);
    } else {
        Workspace own;
        f(own.data(bytes));
    }
}

}  // namespace detail
}  // namespace attend
