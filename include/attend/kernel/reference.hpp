#pragma once
/// \file
/// The reference: every composed attention, forward and backward, row by row in any scalar type. It is the oracle that
/// faster kernels are checked against, so it is written to be read: one row of scores at a time, whole, and every pair
/// by itself.

#include <limits>
#include <span>

#include <attend/core/concepts.hpp>
#include <attend/core/dual.hpp>
#include <attend/kernel/key_features.hpp>

namespace attend::inline ATTEND_ABI::detail::reference {

template <class T>
using Block = Eigen::Map<RowMatrix<T>>;
template <class T>
Block<T> take_block(Arena& arena, Index rows, Index columns) {
    return Block<T>(arena.take<T>(rows * columns), rows, columns);
}

/// The four maps of a score, each with its default: the identity.
template <class S, class Rows, class Mapped>
void map_queries(const S& score, const Rows& q, Mapped& mapped) {
    if constexpr (requires { score.map_queries(q, mapped); }) {
        score.map_queries(q, mapped);
    } else {
        static_assert(!HasMapQueries<S>,
                      "attend: this score has map_queries that does not fit: it needs void map_queries(const auto& q, "
                      "auto& mapped) const");
        mapped = q.template cast<typename Mapped::Scalar>();
    }
}
template <class S, class Rows, class Mapped>
void map_keys(const S& score, const Rows& k, Mapped& mapped) {
    if constexpr (requires { score.map_keys(k, mapped); }) {
        score.map_keys(k, mapped);
    } else {
        mapped = k.template cast<typename Mapped::Scalar>();
    }
}
template <class S, class Rows, class Mapped, class Gradient>
void map_queries_backward(const S& score, const Rows& q, const Mapped& dmapped, Gradient& dq, S* gradient) {
    if constexpr (requires { score.map_queries_backward(q, dmapped, dq, gradient); }) {
        score.map_queries_backward(q, dmapped, dq, gradient);
    } else {
        static_assert(
            !requires(Mapped& mapped) { score.map_queries(q, mapped); },
            "attend: this score has map_queries, but no map_queries_backward that fits: it needs void "
            "map_queries_backward(const auto& q, const auto& dmapped, auto& dq, Self* gradient) const");
        dq += dmapped.template cast<typename Gradient::Scalar>();
    }
}
template <class S, class Rows, class Mapped, class Gradient>
void map_keys_backward(const S& score, const Rows& k, const Mapped& dmapped, Gradient& dk, S* gradient) {
    if constexpr (requires { score.map_keys_backward(k, dmapped, dk, gradient); }) {
        score.map_keys_backward(k, dmapped, dk, gradient);
    } else {
        static_assert(
            !requires(Mapped& mapped) { score.map_keys(k, mapped); },
            "attend: this score has map_keys, but no map_keys_backward that fits: it needs void "
            "map_keys_backward(const auto& k, const auto& dmapped, auto& dk, Self* gradient) const");
        dk += dmapped.template cast<typename Gradient::Scalar>();
    }
}

/// s(i, j) from the mapped features of query i and key j.
template <class T, class S, class Query, class Key>
T paired(const S& score, const Query& q, const Key& k) {
    if constexpr (S::pairing == Pairing::dot) {
        return q.dot(k);
    } else {
        T s(0);
        for (Index a = 0; a < q.size(); ++a) s += score.pair(q[a], k[a], a);
        return s;
    }
}
template <class T, class S, class Query, class Key, class DQuery, class DKey>
void paired_backward(const S& score, const Query& q, const Key& k, T ds, DQuery&& dq, DKey&& dk, S* gradient) {
    if constexpr (S::pairing == Pairing::dot) {
        dq += ds * k;
        dk += ds * q;
    } else {
        using Feature = Dual<T, 2>;
        for (Index a = 0; a < q.size(); ++a) {
            const Feature s = score.pair(Feature::variable(q[a], 0), Feature::variable(k[a], 1), a);
            dq[a] += ds * s.partial[0];
            dk[a] += ds * s.partial[1];
            if constexpr (requires { score.pair_backward(q[a], k[a], a, ds, *gradient); }) {
                if (gradient != nullptr) score.pair_backward(q[a], k[a], a, ds, *gradient);
            }
        }
    }
}

/// The scratch of one worker. Laid out on an empty arena, it tells how much that is.
template <class T>
struct Scratch {
    Block<T> q, k, v, dq, dk, dv;  ///< mapped queries, mapped keys and values of one head, and their gradients
    T *raw, *weights, *dweights;   ///< one row of scores before the modifiers, of weights, and of their gradients
    T* o;                          ///< one row of the output, or of its gradient
    bool* visible;

    Scratch(Arena& arena, const Shape& shape, Index width, bool backward)
        : q(take_block<T>(arena, shape.queries, width)),
          k(take_block<T>(arena, shape.keys, width)),
          v(take_block<T>(arena, shape.keys, shape.d_v)),
          dq(take_block<T>(arena, backward ? shape.queries : 0, width)),
          dk(take_block<T>(arena, backward ? shape.keys : 0, width)),
          dv(take_block<T>(arena, backward ? shape.keys : 0, shape.d_v)),
          raw(arena.take<T>(shape.keys)),
          weights(arena.take<T>(shape.keys)),
          dweights(arena.take<T>(backward ? shape.keys : 0)),
          o(arena.take<T>(shape.d_v)),
          visible(arena.take<bool>(shape.keys)) {}
};

/// What one worker needs.
template <class T, class A>
std::size_t scratch_bytes(const A& attention, const Shape& shape, bool backward) {
    Arena counter;
    Scratch<T>(counter, shape, features_of(attention.score(), shape), backward);
    return counter.used();
}

/// What a call needs: scratch for each of its workers that finds a task.
template <class T, class A>
std::size_t workspace_bytes(const A& attention, const Shape& shape, bool backward, Index workers) {
    const Index tasks = shape.sequences * shape.kv_heads;
    return scratch_bytes<T>(attention, shape, backward) * static_cast<std::size_t>(std::min(workers, tasks));
}

/// Turns the scores of one query into weights and returns their LSE. A masked key is −∞ to the normalizer, whatever its
/// score.
template <class T, class A, class Query, class Keys>
T weigh_row(const A& attention, const Query& q, const Keys& k, const RowPosition& where, Scratch<T>& scratch) {
    const Index n = k.rows();
    for (Index j = 0; j < n; ++j) {
        const Position p = where.at(j);
        scratch.visible[j] = attention.mask(p);
        scratch.raw[j] = scratch.visible[j] ? paired<T>(attention.score(), q, k.row(j)) : T(0);
        scratch.weights[j] =
            scratch.visible[j] ? attention.modifiers(scratch.raw[j], p) : -std::numeric_limits<T>::infinity();
    }
    return attention.normalizer.normalize(std::span<T>(scratch.weights, static_cast<std::size_t>(n)), where);
}

template <class T>
using Row = Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>;

/// What dropout makes of a weight, as a factor.
template <class T, class X>
T dropped(const Problem<X>& problem, const RowPosition& where, Index key) {
    return problem.dropout ? problem.dropout.template at<T>(where.at(key)) : T(1);
}

/// Forward of one head of one sequence; `scratch` holds its keys and values.
template <class T, class A, class X>
void forward_head(const A& attention, const Problem<X>& problem, Index sequence, Index head, Scratch<T>& scratch,
                  const StridedView<X>& out, const StridedView<T>& lse, const StridedView<T>& weights) {
    const Index n_q = problem.queries(sequence), n_kv = problem.keys(sequence);
    const auto k = scratch.k.topRows(n_kv), v = scratch.v.topRows(n_kv);
    Block<T> q(scratch.q.data(), n_q, scratch.q.cols());
    map_queries(attention.score(), problem.query_slice(problem.q, sequence, head), q);
    Slice<X> out_rows = problem.query_slice(out, sequence, head);
    for (Index i = 0; i < n_q; ++i) {
        const RowPosition where = problem.row_position(sequence, head, i);
        const T row_lse = weigh_row(attention, q.row(i), k, where, scratch);
        for (Index j = 0; j < n_kv; ++j) scratch.weights[j] *= dropped<T>(problem, where, j);
        Row<T> o(scratch.o, v.cols());
        o.setZero();
        for (Index j = 0; j < n_kv; ++j) {
            if (scratch.visible[j]) o += scratch.weights[j] * v.row(j);  // a masked value may hold NaN
        }
        out_rows.row(i) = o.template cast<X>();
        if (lse.data != nullptr) problem.query_slice(lse, sequence, head)(i, 0) = row_lse;
        if (weights.data != nullptr) {
            auto row = problem.query_slice(weights, sequence, head).row(i);
            row.head(n_kv) = Row<T>(scratch.weights, n_kv);
            row.tail(row.size() - n_kv).setZero();
        }
    }
}

/// Backward of one head of one sequence: adds into dq, the parameters' gradients, and the scratch's dk and dv.
template <class T, class A, class X>
void backward_head(const A& attention, const Problem<X>& problem, Index sequence, Index head, Scratch<T>& scratch,
                   const StridedView<const X>& dout, const StridedView<X>& dq_out, A* gradient) {
    const Index n_q = problem.queries(sequence), n_kv = problem.keys(sequence);
    const auto k = scratch.k.topRows(n_kv), v = scratch.v.topRows(n_kv);
    auto* const score_gradient = gradient == nullptr ? nullptr : &gradient->score();
    Block<T> q(scratch.q.data(), n_q, scratch.q.cols()), dq(scratch.dq.data(), n_q, scratch.q.cols());
    const Slice<const X> q_rows = problem.query_slice(problem.q, sequence, head),
                         dout_rows = problem.query_slice(dout, sequence, head);
    map_queries(attention.score(), q_rows, q);
    dq.setZero();
    for (Index i = 0; i < n_q; ++i) {
        const RowPosition where = problem.row_position(sequence, head, i);
        const T lse = weigh_row(attention, q.row(i), k, where, scratch);
        Row<T> dout_row(scratch.o, v.cols());
        dout_row = dout_rows.row(i).template cast<T>();
        for (Index j = 0; j < n_kv; ++j) {
            scratch.dweights[j] = scratch.visible[j] ? dropped<T>(problem, where, j) * dout_row.dot(v.row(j)) : T(0);
        }
        const auto n = static_cast<std::size_t>(n_kv);
        attention.normalizer.backward(std::span<const T>(scratch.weights, n), std::span<T>(scratch.dweights, n), lse,
                                      where, gradient == nullptr ? nullptr : &gradient->normalizer);
        for (Index j = 0; j < n_kv; ++j) {
            if (!scratch.visible[j]) continue;
            const T ds = attention.modifiers.backward(scratch.raw[j], where.at(j), scratch.dweights[j],
                                                      gradient == nullptr ? nullptr : &gradient->modifiers);
            scratch.dv.row(j) += dropped<T>(problem, where, j) * scratch.weights[j] * dout_row;
            paired_backward(attention.score(), q.row(i), k.row(j), ds, dq.row(i), scratch.dk.row(j), score_gradient);
        }
    }
    Slice<X> dq_rows = problem.query_slice(dq_out, sequence, head);
    map_queries_backward(attention.score(), q_rows, dq, dq_rows, score_gradient);
}

/// Maps the keys and copies the values of one kv head into the scratch.
template <class T, class A, class X>
void load_keys(const A& attention, const Problem<X>& problem, Index sequence, Index kv_head, Scratch<T>& scratch) {
    const Index n_kv = problem.keys(sequence);
    Block<T> k(scratch.k.data(), n_kv, scratch.k.cols()), v(scratch.v.data(), n_kv, scratch.v.cols());
    map_keys(attention.score(), problem.key_slice(problem.k, sequence, kv_head), k);
    v = problem.key_slice(problem.v, sequence, kv_head).template cast<T>();
}

/// Calls `f(sequence, kv_head, scratch)` for every kv head of every sequence, each worker with scratch of its own.
template <class T, class A, class X, class F>
void for_each_kv_head(const A& attention, const Problem<X>& problem, bool backward, std::byte* block,
                      const ExecutorRef& executor, F&& f) {
    const std::size_t bytes = scratch_bytes<T>(attention, problem.shape, backward);
    const Index width = features_of(attention.score(), problem.shape);
    executor.for_each(problem.shape.sequences * problem.shape.kv_heads, [&](Index task, Index worker) {
        Arena arena(block + static_cast<std::size_t>(worker) * bytes);
        Scratch<T> scratch(arena, problem.shape, width, backward);
        f(task / problem.shape.kv_heads, task % problem.shape.kv_heads, scratch);
    });
}

/// out = weights · v for every head. `block` holds `scratch_bytes` for each of the executor's workers.
template <class T, class A, class X>
void forward(const A& attention, const Problem<X>& problem, const StridedView<X>& out, const StridedView<T>& lse,
             const StridedView<T>& weights, std::byte* block, const ExecutorRef& executor) {
    const Index group = problem.shape.group();
    for_each_kv_head<T>(attention, problem, false, block, executor,
                        [&](Index sequence, Index kv_head, Scratch<T>& scratch) {
                            load_keys(attention, problem, sequence, kv_head, scratch);
                            for (Index head = kv_head * group; head < (kv_head + 1) * group; ++head) {
                                forward_head(attention, problem, sequence, head, scratch, out, lse, weights);
                            }
                        });
}

/// Adds the gradients of q, k, v and the parameters, recomputing the weights row by row.
template <class T, class A, class X>
void backward(const A& attention, const Problem<X>& problem, const StridedView<const X>& dout, const StridedView<X>& dq,
              const StridedView<X>& dk, const StridedView<X>& dv, A* gradient, std::byte* block,
              const ExecutorRef& executor) {
    const Index group = problem.shape.group();
    const auto kv_head_backward = [&](Index sequence, Index kv_head, Scratch<T>& scratch) {
        load_keys(attention, problem, sequence, kv_head, scratch);
        scratch.dk.setZero();
        scratch.dv.setZero();
        for (Index head = kv_head * group; head < (kv_head + 1) * group; ++head) {
            backward_head(attention, problem, sequence, head, scratch, dout, dq, gradient);
        }
        const Index n_kv = problem.keys(sequence);
        const Block<T> dk_mapped(scratch.dk.data(), n_kv, scratch.dk.cols());
        Slice<X> dk_rows = problem.key_slice(dk, sequence, kv_head), dv_rows = problem.key_slice(dv, sequence, kv_head);
        map_keys_backward(attention.score(), problem.key_slice(problem.k, sequence, kv_head), dk_mapped, dk_rows,
                          gradient == nullptr ? nullptr : &gradient->score());
        dv_rows += scratch.dv.topRows(n_kv).template cast<X>();
    };
    // Parameters are shared by all heads: their gradients are added up by one thread, in order, so that the bits never
    // change.
    for_each_kv_head<T>(attention, problem, true, block, gradient == nullptr ? executor : ExecutorRef(serial),
                        kv_head_backward);
}

}  // namespace attend::detail::reference
