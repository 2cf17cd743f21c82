#pragma once
/// \file
/// One program for every processor: calls by the widest instruction set that it has. Takes the library
/// `attend::dispatch` of CMake, in which they are compiled for each; all else of attend is headers alone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include <attend/attention.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/dispatch/description.hpp>
#include <attend/source/kv_cache.hpp>

namespace attend::inline ATTEND_ABI {

/// An engine whose calls were compiled for several instruction sets, one of which is chosen when the program runs:
///
///     const auto attention = dispatched(scaled_dot_product >> causal);    // or scaled_dot_product >> causal >>
///     dispatched attention(q, k, v, out, {.workspace = &workspace});
///
/// The same calls, options, errors and, on operands and on caches, the same bits as those of the attention without it
/// in a build for that instruction set. It serves dot_product and scaled_dot_product; soft_cap, alibi and bias(matrix),
/// in this order; every mask that does not list its keys; softmax and softmax_with_sink; of key sources a KvCache,
/// forward. Anything else does not compile; reductions (`.insight`) throw.
///
/// A level is an instruction set: x86-64 has "sse2", "avx2", "avx512", "avx512_bf16" and "amx". The environment
/// variable ATTEND_LEVEL, read by the first call, names one, of which it throws `std::invalid_argument` where the
/// processor or the library has it not.
struct Dispatched : Fastest {
    static constexpr bool makes_calls = true;  ///< see engine/engine.hpp

    auto spelled(const auto& say) const { return say("dispatched"); }

    /// `attention >> dispatched`.
    template <class A>
        requires OfKind<A, Kind::attention>
    constexpr auto operator()(A attention) const {
        static_cast<void>(detail::is_described<A>());
        return std::move(attention) >> *this;
    }

    /// What kernel/run.hpp asks of an engine that makes calls.
    /// @{
    template <class X, class A>
    std::size_t workspace_bytes(const A& attention, const Shape& shape, Index workers, Pass pass) const {
        if constexpr (detail::is_described<A>()) {
            const auto to = detail::composition_of<Compute<X>>(attention);
            return bytes<X>(to, shape, workers, pass);
        } else {
            return 0;
        }
    }
    template <class A, class X, class T>
    void forward(const A& attention, const detail::Problem<X>& problem, Output<X>& out,
                 ForwardOptions<T>& options) const {
        if constexpr (detail::is_described<A>()) {
            detail::require(!options.insight, "insight: dispatched calls have no reductions: leave one of them out");
            const boundary::Calls& level = calls<X>();
            const auto to = detail::composition_of<T>(attention);
            const boundary::ForwardCall call = forward_call_of(problem, out, options, [&] {
                return bytes<X>(to, problem.shape, options.executor.concurrency(),
                                options.weights ? Pass::weights : Pass::forward);
            });
            level.forward(&to, &call);
        }
    }
    template <class A, class X, class Source, class T>
    void forward(const A& attention, const detail::Problem<X>& problem, const Source& source, Output<X>& out,
                 ForwardOptions<T>& options) const {
        if constexpr (detail::is_described<A>() && serves<X, Source>()) {
            detail::require(!options.insight, "insight: dispatched calls have no reductions: leave one of them out");
            const boundary::Calls& level = calls<X>();
            const auto to = detail::composition_of<T>(attention);
            const boundary::ForwardCall call = forward_call_of(problem, out, options, [&] {
                return source_workspace_bytes<X>(attention, problem.shape, options.executor.concurrency());
            });
            const boundary::Cache cache = cache_of(source);
            level.forward_on_cache[cache.stored](&to, &call, &cache);
        }
    }
    template <class X, class A>
    std::size_t source_workspace_bytes(const A& attention, const Shape& shape, Index workers) const {
        const auto to = detail::composition_of<Compute<X>>(attention);
        const boundary::Shape given = shape_of(shape);
        return calls<X>().cache_workspace_bytes(&to, &given, workers);
    }
    template <class A, class X>
    void backward(const A& attention, const detail::Problem<X>& problem, const detail::BackwardInputs<X>& inputs,
                  Output<X>& dq, Output<X>& dk, Output<X>& dv, const BackwardOptions<A>& options, bool* writes) const {
        if constexpr (detail::is_described<A>()) {
            const boundary::Calls& level = calls<X>();
            const auto to = detail::composition_of<Compute<X>>(attention, options.gradient);
            boundary::BackwardCall backward{};
            backward.call = call_of(problem, options, options.dropout);
            reserve(options, backward.call,
                    [&] { return bytes<X>(to, problem.shape, options.executor.concurrency(), Pass::backward); });
            if (writes != nullptr) *writes = true;
            backward.out = view_of(inputs.out), backward.dout = view_of(inputs.dout);
            backward.lse = view_of(inputs.lse), backward.dlse = view_of(inputs.dlse);
            backward.dweights = view_of(inputs.dweights);
            backward.dq = view_of(problem.query_output(dq, problem.q.columns));
            backward.dk = view_of(problem.key_output(dk, problem.k.columns));
            backward.dv = view_of(problem.key_output(dv, problem.v.columns));
            backward.parameters = options.gradient != nullptr;
            level.backward(&to, &backward);
        }
    }
    /// @}

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
    static boundary::Indices indices_of(std::span<const Index> indices) {
        return {indices.data(), static_cast<Index>(indices.size())};
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
    static boundary::ForwardCall forward_call_of(const detail::Problem<X>& problem, Output<X>& out,
                                                 ForwardOptions<T>& options, const auto& bytes) {
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
            if constexpr (detail::HasFactors<decltype(held)>) all.factors = held.factors;
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
    static boundary::Call call_of(const detail::Problem<X>& problem, const auto& options, const Dropout& dropout) {
        boundary::Call call{};
        call.q = view_of(problem.q), call.k = view_of(problem.k), call.v = view_of(problem.v);
        call.query_offset = options.query_offset;
        call.query_positions = indices_of(options.query_positions.get());
        call.sequences = indices_of(options.sequences.offsets());
        call.key_sequences = indices_of(options.key_sequences.offsets());
        call.dropout_rate = dropout.rate, call.dropout_seed = dropout.seed;
        call.executor = {options.executor.concurrency(), &options.executor,
                         [](const void* given, Index count, void* task, void (*run)(void*, Index)) {
                             static_cast<const detail::ExecutorRef*>(given)->for_each(
                                 count, [task, run](Index i, Index) { run(task, i); });
                         }};
        return call;
    }
};
/// `dispatched(attention)`, or `attention >> dispatched`.
inline constexpr Dispatched dispatched{};

/// The name of the instruction set by which dispatched calls go here. Throws as these do.
inline std::string_view dispatch_level() { return attend_dispatch_level(); }

}  // namespace attend
