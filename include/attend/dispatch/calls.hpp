#pragma once
/// \file
/// Checked calls handed over to the object of a level: what stands in them as boundary.hpp has it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <attend/attention.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/dispatch/description.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A `CallEngine`.
struct DispatchedCalls : Fastest {
    static constexpr bool makes_calls = true;

    template <class X, class A>
    std::size_t workspace_bytes(const A& attention, const Shape& shape, Index workers, Pass pass) const {
        if constexpr (is_described<A>()) {
            const auto to = composition_of<Compute<X>>(attention);
            return bytes<X>(to, shape, workers, pass);
        } else {
            return 0;
        }
    }
    template <class A, class X, class T>
    void forward(const A& attention, const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options) const {
        if constexpr (is_described<A>()) {
            require(!options.insight, "insight: dispatched calls have no reductions: leave one of them out");
            const boundary::Calls& level = calls<X>();
            const auto to = composition_of<T>(attention);
            const boundary::ForwardCall call = forward_call_of(problem, out, options, [&] {
                return bytes<X>(to, problem.shape, options.executor.concurrency(),
                                options.weights ? Pass::weights : Pass::forward);
            });
            level.forward(&to, &call);
        }
    }
    template <class A, class X, class Source, class T>
    void forward(const A& attention, const Problem<X>& problem, const Source& source, Output<X>& out,
                 ForwardOptions<T>& options) const {
        if constexpr (is_described<A>() && serves<X, Source>()) {
            require(!options.insight, "insight: dispatched calls have no reductions: leave one of them out");
            const boundary::Calls& level = calls<X>();
            const auto to = composition_of<T>(attention);
            const boundary::ForwardCall call = forward_call_of(problem, out, options, [&] {
                return source_workspace_bytes<X>(attention, problem.shape, options.executor.concurrency());
            });
            const boundary::Cache cache = cache_of(source);
            level.forward_on_cache[cache.stored](&to, &call, &cache);
        }
    }
    template <class X, class A>
    std::size_t source_workspace_bytes(const A& attention, const Shape& shape, Index workers) const {
        const auto to = composition_of<Compute<X>>(attention);
        const boundary::Shape given = shape_of(shape);
        return calls<X>().cache_workspace_bytes(&to, &given, workers);
    }
    template <class A, class X>
    void backward(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs, GradientOutput<X>& dq,
                  GradientOutput<X>& dk, GradientOutput<X>& dv, const BackwardOptions<A>& options, bool* writes) const {
        if constexpr (is_described<A>()) {
            const boundary::Calls& level = calls<X>();
            const auto to = composition_of<Compute<X>>(attention, options.gradient);
            boundary::BackwardCall backward{};
            backward.call = call_of(problem, options, options.dropout);
            reserve(options, backward.call,
                    [&] { return bytes<X>(to, problem.shape, options.executor.concurrency(), Pass::backward); });
            if (writes != nullptr) *writes = true;
            backward.out = view_of(inputs.out), backward.dout = view_of(inputs.dout);
            backward.lse = view_of(inputs.lse), backward.dlse = view_of(inputs.dlse);
            backward.dweights = view_of(inputs.dweights);
            with_outputs(
                [&]<class Y>(Output<Y>& to_q, Output<Y>& to_k, Output<Y>& to_v) {
                    backward.dq = view_of(problem.query_output(to_q, problem.q.columns));
                    backward.dk = view_of(problem.key_output(to_k, problem.k.columns));
                    backward.dv = view_of(problem.key_output(to_v, problem.v.columns));
                    backward.rounds = std::is_same_v<X, Y>;
                },
                dq, dk, dv);
            backward.parameters = options.gradient != nullptr;
            level.backward(&to, &backward);
        }
    }

private:
    template <class X>
    static const boundary::Calls& calls() {
        constexpr int scalar = std::is_same_v<X, float>             ? boundary::f32
                               : std::is_same_v<X, double>          ? boundary::f64
                               : std::is_same_v<X, Eigen::bfloat16> ? boundary::bf16
                               : std::is_same_v<X, Eigen::half>     ? boundary::f16
                                                                    : boundary::scalars;
        static_assert(scalar != boundary::scalars,
                      "attend: dispatched calls take float, double, Eigen::bfloat16 and Eigen::half");
        return *attend_dispatch_calls(scalar);
    }
    template <class T>
    static boundary::View view_of(const StridedView<T>& x) {
        return {const_cast<std::remove_const_t<T>*>(x.data),
                x.sequences,
                x.heads,
                x.rows,
                x.columns,
                x.sequence_stride,
                x.head_stride,
                x.row_stride,
                x.column_stride};
    }
    template <class X>
    static std::size_t bytes(const boundary::Composition& attention, const Shape& s, Index workers, Pass pass) {
        const boundary::Shape shape = shape_of(s);
        return calls<X>().workspace_bytes(&attention, &shape, workers, static_cast<int>(pass));
    }
    static boundary::Shape shape_of(const Shape& s) {
        return {s.sequences, s.heads, s.kv_heads,     s.queries,  s.keys,         s.d_q,
                s.d_k,       s.d_v,   s.query_offset, s.key_rows, s.own_positions};
    }
    static void reserve(const auto& options, boundary::Call& call, const auto& bytes) {
        if (options.workspace == nullptr) return;
        call.scratch_bytes = bytes();
        call.scratch = options.workspace->data(call.scratch_bytes);
    }
    /// Takes the workspace, then the outputs.
    template <class X, class T>
    static boundary::ForwardCall forward_call_of(const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options,
                                                 const auto& bytes) {
        boundary::ForwardCall forward{};
        forward.call = call_of(problem, options, options.dropout);
        reserve(options, forward.call, bytes);
        forward.out = view_of(problem.query_output(out, problem.v.columns));
        forward.lse = view_of(problem.query_output(options.lse, 1));
        forward.weights = view_of(problem.pair_output(options.weights, options.weight_rows));
        forward.some_rows = static_cast<bool>(options.weight_rows);
        forward.weight_rows = indices_of(options.weight_rows.get());
        return forward;
    }
    template <class Stored>
    static constexpr int stored = std::is_same_v<Stored, float>             ? boundary::stored_f32
                                  : std::is_same_v<Stored, double>          ? boundary::stored_f64
                                  : std::is_same_v<Stored, Eigen::bfloat16> ? boundary::stored_bf16
                                  : std::is_same_v<Stored, Eigen::half>     ? boundary::stored_f16
                                  : std::is_same_v<Stored, std::int8_t>     ? boundary::stored_int8
                                                                            : boundary::stored_types;
    /// Whether calls on X are compiled for a source.
    template <class X, class Source>
    static consteval bool serves() {
        constexpr int as = stored_of(static_cast<const Source*>(nullptr));
        constexpr bool served =
            as == stored<X> || (as == boundary::stored_int8 && !std::is_same_v<X, double>) ||
            (std::is_same_v<X, float> && as != boundary::stored_f64 && as != boundary::stored_types);
        static_assert(
            served,
            "attend: dispatched: of key sources a KvCache is served: for queries of float any, for others one "
            "that holds their scalar or, of 16 bits, std::int8_t");
        return served;
    }
    static consteval int stored_of(const void*) { return boundary::stored_types; }
    template <class T, class Stored>
    static consteval int stored_of(const KvCache<T, Stored>*) {
        return stored<Stored>;
    }
    template <class T, class Stored>
    static boundary::Cache cache_of(const KvCache<T, Stored>& cache) {
        const auto rows = [](const auto& held) {
            boundary::Rows all{held.data, nullptr, held.stride};
            if constexpr (HasFactors<decltype(held)>) all.factors = held.factors;
            return all;
        };
        const KvCacheShape& shape = cache.shape();
        return {stored<Stored>,
                shape.sequences,
                shape.heads,
                shape.capacity,
                shape.d_k,
                shape.d_v,
                rows(cache.held_key_rows(0, 0, 0, 0)),
                rows(cache.held_value_rows(0, 0, 0, 0)),
                &cache,
                [](const void* given, Index sequence) {
                    return static_cast<const KvCache<T, Stored>*>(given)->keys(sequence);
                }};
    }
    template <class X>
    static boundary::Call call_of(const Problem<X>& problem, const auto& options, const Dropout& dropout) {
        boundary::Call call{};
        call.q = view_of(problem.q), call.k = view_of(problem.k), call.v = view_of(problem.v);
        call.query_offset = options.query_offset;
        call.query_positions = indices_of(options.query_positions.get());
        call.sequences = indices_of(options.sequences.offsets());
        call.key_sequences = indices_of(options.key_sequences.offsets());
        call.dropout_rate = dropout.rate, call.dropout_seed = dropout.seed;
        call.executor = {options.executor.concurrency(), &options.executor,
                         [](const void* given, Index count, void* task, void (*run)(void*, Index)) {
                             static_cast<const ExecutorRef*>(given)->for_each(
                                 count, [task, run](Index i, Index) { run(task, i); });
                         }};
        return call;
    }
};

}  // namespace attend::detail
