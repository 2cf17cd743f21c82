#pragma once
/// \file
/// A memory that many calls of a cross-attending block read.

#include <type_traits>
#include <utility>
#include <vector>

#include <attend/prepared.hpp>

namespace attend::inline ATTEND_ABI {

template <class T, class A>
class MultiHeadAttention;

/// What `block.prepare(memory)` gives: the memory, copied, and its projected keys and values, prepared for the block's
/// attention as it was then. The block's weights are not copied: they must be the same until the gradients are added.
/// O(n · d_memory + n · d_model) memory. Calls on a const one may run at the same time. For float and double.
template <class T, class A>
class MultiHeadMemory {
public:
    Index rows() const { return rows_.rows(); }

private:
    friend class MultiHeadAttention<T, A>;

    MultiHeadMemory(Index kv_heads, Index d_head, RowMatrix<T>&& rows, std::vector<Index>&& sequences,
                    Prepared<std::remove_const_t<A>, T>&& keys)
        : kv_heads_(kv_heads),
          d_head_(d_head),
          rows_(std::move(rows)),
          sequences_(std::move(sequences)),
          keys_(std::move(keys)) {}

    Index kv_heads_, d_head_;
    RowMatrix<T> rows_;
    std::vector<Index> sequences_;
    Prepared<std::remove_const_t<A>, T> keys_;
    RowMatrix<T> dk_, dv_;
};

}  // namespace attend
