#pragma once
/// \file
/// What the types of a call must be: what they lack is said once, in words, at compile time.

#include <type_traits>

#include <attend/core/operands.hpp>
#include <attend/engine/engine.hpp>
#include <attend/softmax/softmax.hpp>
#include <attend/source/source.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// Says why a call has no operands.
template <class Q, class Key, class V>
consteval void refuse_what_is_no_operand() {
    static_cast<void>(are_operands<Q, Key, V>());
}

/// Whether operands have types that a call by engine E can be made of.
template <class E, class First, class... Others>
consteval bool operands_go_together() {
    using T = ScalarOf<First>;
    constexpr bool good = are_operands<First, Others...>();
    constexpr bool multiplies = !good || EngineOf<E, Compute<T>>;
    static_assert(multiplies,
                  "attend: this engine cannot multiply in the scalar of this call: it needs void multiply(a, rows, "
                  "depth, b, lanes, c, options) const, see engine/engine.hpp");
    return good && multiplies;
}

/// Whether a call can be made of queries and a key source.
template <class E, class Q, class Source>
consteval bool source_fits() {
    constexpr bool fits = KeySourceOf<Source, Compute<ScalarOf<Q>>>;
    static_assert(fits,
                  "attend: this key source does not fit a call in the scalar of q: it needs sequences, heads, keys, "
                  "key_width, value_width, key_rows and value_rows, see source/source.hpp");
    return operands_go_together<E, Q>() && fits;
}

/// Whether results by these weights over some keys can be merged with those over others.
template <class Weights>
consteval bool has_states() {
    constexpr bool merges = std::is_base_of_v<Softmax, Weights>;
    static_assert(merges,
                  "attend: states are of attentions by softmax: a sink would count once for every part, so leave it "
                  "out and add it to the merged state by add_sink; other weights do not merge");
    return merges;
}

/// What holds an output that is returned: in the storage order of q.
template <class Q, class V>
using ReturnedOutput = Eigen::Matrix<ScalarOf<Q>, Operand<Q>::rows_at_compile_time, Operand<V>::columns_at_compile_time,
                                     (Operand<Q>::row_major || Operand<Q>::rows_at_compile_time == 1) &&
                                             Operand<V>::columns_at_compile_time != 1
                                         ? Eigen::RowMajor
                                         : Eigen::ColMajor>;

}  // namespace attend::detail
