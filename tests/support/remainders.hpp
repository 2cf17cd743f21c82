#pragma once
/// \file
/// Layouts that leave remainders of lanes, tiles and blocks, with heads that are grouped and not.

#include <initializer_list>

#include <support/call.hpp>

namespace attend::test {

/// Calls `f(layout)` for two heads of width d and later queries.
template <class F>
void for_each_remainder(Index d, std::initializer_list<Index> queries, std::initializer_list<Index> keys, F&& f) {
    for (const Index n_q : queries) {
        for (const Index n_kv : keys) {
            for (const Index kv_heads : {1, 2}) {
                f(Layout{.queries = n_q,
                         .keys = n_kv,
                         .d_q = d,
                         .d_k = d,
                         .d_v = 13,
                         .heads = 2,
                         .kv_heads = kv_heads,
                         .query_offset = 5});
            }
        }
    }
}

}  // namespace attend::test
