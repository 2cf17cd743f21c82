#pragma once
/// \file
/// The calls of one instruction set, behind boundary.hpp: what a source of the library `attend::dispatch` compiles.

#include <cstdint>
#include <vector>

#include <attend/dispatch/foreign_cache.hpp>
#include <attend/dispatch/foreign_parts.hpp>

namespace attend::inline ATTEND_ABI::detail {

template <class T>
StridedView<T> view_of(const boundary::View& x) {
    return {static_cast<T*>(x.data), x.sequences,   x.heads,      x.rows,         x.columns,
            x.sequence_stride,       x.head_stride, x.row_stride, x.column_stride};
}
/// Not given where it has neither memory nor a shape.
template <class T>
Output<T> output_of(const boundary::View& x) {
    return x.data == nullptr ? Output<T>() : Output<T>(view_of<T>(x));
}
inline Shape shape_of(const boundary::Shape& s) {
    return {.sequences = s.sequences,
            .heads = s.heads,
            .kv_heads = s.kv_heads,
            .queries = s.queries,
            .keys = s.keys,
            .d_q = s.d_q,
            .d_k = s.d_k,
            .d_v = s.d_v,
            .query_offset = s.query_offset,
            .key_rows = s.key_rows,
            .own_positions = s.own_positions};
}

struct ForeignExecutor {
    const boundary::Executor& given;

    Index concurrency() const { return given.concurrency; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        given.parallel_for(given.given, count, &f,
                           [](void* task, Index i) { (*static_cast<std::remove_reference_t<F>*>(task))(i); });
    }
};

template <class X>
struct Level {
    using T = Compute<X>;
    using A = ForeignAttention<T>;

    static std::size_t workspace_bytes(const boundary::Composition* attention, const boundary::Shape* shape,
                                       Index workers, int pass) {
        return foreign_attention<T>(*attention, false, attention->cap.values)
            .template workspace_bytes<X>(shape_of(*shape), workers, static_cast<Pass>(pass));
    }
    static void forward(const boundary::Composition* given, const boundary::ForwardCall* call) {
        run_forward(*given, *call, [&](const A& attention, const ForwardOptions<T>& options) {
            attention(view_of<const X>(call->call.q), view_of<const X>(call->call.k), view_of<const X>(call->call.v),
                      Output<X>(view_of<X>(call->out)), options);
        });
    }
    template <class Stored>
    static void forward_on(const boundary::Composition* given, const boundary::ForwardCall* call,
                           const boundary::Cache* cache) {
        run_forward(*given, *call, [&](const A& attention, const ForwardOptions<T>& options) {
            attention(view_of<const X>(call->call.q), ForeignCache<T, Stored>(*cache), Output<X>(view_of<X>(call->out)),
                      options);
        });
    }
    static std::size_t cache_workspace_bytes(const boundary::Composition*, const boundary::Shape* given,
                                             Index workers) {
        const Shape shape = shape_of(*given);
        const fused::Needs needs = fused::needs_of<T, A>(shape, shape.d_k, 0);
        return fused::Layout<T>(needs, shape, workers).bytes();
    }
    static void backward(const boundary::Composition* given, const boundary::BackwardCall* call) {
        const A attention = foreign_attention<T>(*given, call->parameters, given->cap.values);
        const ForeignExecutor executor{call->call.executor};
        BackwardOptions<A> options;
        if (call->dlse.data != nullptr) options.dlse = view_of<const T>(call->dlse);
        if (call->dweights.data != nullptr) options.dweights = view_of<const T>(call->dweights);
        with_options(call->call, executor, options, [&] {
            const auto to = [&](const boundary::View& view) {
                return call->rounds ? GradientOutput<X>(view_of<X>(view)) : GradientOutput<X>(view_of<T>(view));
            };
            const auto run = [&] {
                attention.backward(view_of<const X>(call->call.q), view_of<const X>(call->call.k),
                                   view_of<const X>(call->call.v), view_of<const X>(call->out),
                                   view_of<const T>(call->lse), view_of<const X>(call->dout), to(call->dq),
                                   to(call->dk), to(call->dv), options);
            };
            if (!call->parameters) return run();
            A gradient = foreign_attention<T>(*given, true, given->cap.gradients);
            options.gradient = &gradient;
            run();
            give_back<T>(gradient, *given);
        });
    }
    static const boundary::Calls* calls() {
        static constexpr boundary::Calls all{workspace_bytes,
                                             forward,
                                             backward,
                                             cache_workspace_bytes,
                                             {on_cache<float>(), on_cache<double>(), on_cache<Eigen::bfloat16>(),
                                              on_cache<Eigen::half>(), on_cache<std::int8_t>()}};
        return &all;
    }

private:
    /// Those of the operands' own type, of 8 bits, and of calls on float the others.
    template <class Stored>
    static consteval auto on_cache()
        -> void (*)(const boundary::Composition*, const boundary::ForwardCall*, const boundary::Cache*) {
        constexpr bool served = std::is_same_v<Stored, X> ||
                                (std::is_same_v<T, float> && std::is_same_v<Stored, std::int8_t>) ||
                                (std::is_same_v<X, float> && !std::is_same_v<Stored, double>);
        if constexpr (served) {
            return forward_on<Stored>;
        } else {
            return nullptr;
        }
    }
    /// Calls `run(attention, options)`.
    template <class Run>
    static void run_forward(const boundary::Composition& given, const boundary::ForwardCall& call, Run&& run) {
        const A attention = foreign_attention<T>(given, false, given.cap.values);
        const ForeignExecutor executor{call.call.executor};
        ForwardOptions<T> options;
        options.lse = output_of<T>(call.lse);
        options.weights = output_of<T>(call.weights);
        if (call.some_rows) {
            const auto rows = span_of(call.weight_rows);
            options.weight_rows = QueryRows(std::vector<Index>(rows.begin(), rows.end()));
        }
        with_options(call.call, executor, options, [&] { run(attention, options); });
    }
    template <class Options, class Run>
    static void with_options(const boundary::Call& call, const ForeignExecutor& executor, Options& options, Run&& run) {
        Workspace workspace(std::span<std::byte>(call.scratch, call.scratch_bytes));
        if (call.scratch != nullptr) options.workspace = &workspace;
        options.executor = executor;
        options.query_offset = call.query_offset;
        options.query_positions = span_of(call.query_positions);
        options.sequences = SequencesRef(span_of(call.sequences));
        options.key_sequences = SequencesRef(span_of(call.key_sequences));
        options.dropout = {call.dropout_rate, call.dropout_seed};
        run();
    }
};

}  // namespace attend::detail
