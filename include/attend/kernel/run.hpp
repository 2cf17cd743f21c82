#pragma once
/// \file
/// Whole calls: what is wrong with one is thrown before anything is written, then it gets its scratch and runs by the
/// fused kernel.

#include <algorithm>

#include <attend/call/checks.hpp>
#include <attend/kernel/backward.hpp>
#include <attend/kernel/direct_backward.hpp>
#include <attend/kernel/forward.hpp>
#include <attend/kernel/plain_call.hpp>

namespace attend::inline ATTEND_ABI::detail {

template <class X, class A>
std::size_t workspace_bytes(const A& attention, const Shape& shape, Index workers, Pass pass) {
    using T = Compute<X>;
    const auto& [sequences, heads, kv_heads, queries, keys, d_q, d_k, d_v, query_offset, key_rows, own_positions] =
        shape;
    require(std::min({sequences, heads, kv_heads, queries, keys, d_q, d_k, d_v, key_rows}) >= 0 && workers > 0,
            "workspace_bytes: sizes must not be negative, and there must be at least one worker");
    check_reach(shape);
    const StridedView<const X> q{nullptr, sequences, heads, queries, d_q}, k{nullptr, sequences, kv_heads, keys, d_k};
    require_groups(q, k);
    check_call(attention, shape, q, k);
    if constexpr (CallEngine<typename A::EngineType>) {
        return attention.engine.template workspace_bytes<X>(attention, shape, workers, pass);
    } else {
        if constexpr (A::any_half) {
            if (pass == Pass::backward) return workspace_bytes<X>(attention.compute_form(), shape, workers, pass);
        }
        using E = fused::ForwardEngine<T, A, X, SourceOf<T, A, X>>;
        fused::Needs needs = fused::needs_of<T, A, X, E>(attention, shape);
        needs.keeps_scores = pass == Pass::insight;
        needs.sees_twice = fused::sees_twice<T, X>;
        return pass == Pass::backward ? fused::BackwardLayout<T>(needs, shape, workers).bytes()
                                      : fused::Layout<T>(needs, shape, workers).bytes();
    }
}

/// What reductions look at in a call, which they must agree to. `merges`: results over parts of the keys can be merged.
template <class T, class X>
WeightsShape check_insight(const Insight<T>& insight, const Problem<X>& problem, bool merges) {
    if (!insight) return {};
    require(!problem.dropout, "insight: reductions see the weights of a call without dropout: leave one of them out");
    require(!problem.own_positions(),
            "insight: reductions see queries that follow each other: leave it or query_positions out");
    const WeightsShape looked_at = fused::weights_shape<T>(problem, merges);
    insight.check(looked_at);
    return looked_at;
}

/// Takes from a workspace, if there is one, what a call on a source of that shape will need: throws where it has not as
/// much.
template <class A, class T>
void reserve_forward(const A& attention, const Problem<T>& problem, Workspace* workspace, Index workers,
                     const Insight<Compute<T>>& insight) {
    if (workspace == nullptr) return;
    if constexpr (CallEngine<typename A::EngineType>) {
        workspace->data(attention.engine.template source_workspace_bytes<T>(attention, problem.shape, workers));
    } else {
        fused::Needs needs = fused::needs_of<Compute<T>, A>(problem.shape, problem.shape.d_k, 0);
        needs.keeps_scores = insight && insight.sees_scores();
        workspace->data(fused::Layout<Compute<T>>(needs, problem.shape, workers).bytes());
    }
}

/// Writes the output, and what the options ask for. `make_source(memory)` gives the source, which may form features in
/// that memory.
template <class A, class X, class T, class MakeSource>
void run_forward_on(const A& attention, const Problem<X>& problem, fused::Needs needs, Output<X>& out,
                    ForwardOptions<T>& options, MakeSource&& make_source) {
    const Insight<T>& insight = options.insight;
    needs.keeps_scores = insight && insight.sees_scores();
    const WeightsShape looked_at = check_insight(insight, problem, needs.merges);
    const fused::Layout<T> layout(needs, problem.shape, options.executor.concurrency());
    with_scratch(options.workspace, layout.bytes(), [&](std::byte* memory) {
        const fused::Results<T, X> results{
            .out = problem.query_output(out, problem.v.columns),
            .lse = problem.query_output(options.lse, 1),
            .weights = {problem.pair_output(options.weights, options.weight_rows),
                        static_cast<bool>(options.weight_rows), options.weight_rows.get()},
            .insight = insight};
        insight.start(looked_at);
        const auto source = make_source(layout.keys(memory));
        fused::Forward<T, A, X, std::remove_const_t<decltype(source)>>(attention, problem, source, layout, results,
                                                                       memory, options.executor)
            .run();
        insight.finish(looked_at);
    });
}
template <class A, class X, class T>
void run_forward(const A& attention, const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options) {
    check_call(attention, problem.shape, problem.q, problem.k);
    check_outputs(problem, out, options);
    if constexpr (CallEngine<typename A::EngineType>) {
        attention.engine.forward(attention, problem, out, options);
    } else {
        if constexpr (fused::Direct<T, A, X>) {
            const SourceOf<T, A, X> source(problem.k, problem.v);
            const bool may_copy = problem.k.column_stride != 1 || problem.v.column_stride != 1;
            if (fused::runs_directly<T>(attention, problem, source, out, options, may_copy)) return;
        }
        const fused::Needs needs =
            fused::needs_of<T, A, X, fused::ForwardEngine<T, A, X, SourceOf<T, A, X>>>(attention, problem.shape);
        run_forward_on(attention, problem, needs, out, options, [&](std::byte* memory) {
            return SourceOf<T, A, X>(
                KeyFeatures<T, A, X>::of(attention, problem.k, needs.width, memory, options.executor), problem.v);
        });
    }
}
template <class A, class X, class T, class Source>
void run_forward(const A& attention, const Problem<X>& problem, const Source& source, Output<X>& out,
                 ForwardOptions<T>& options) {
    require(!options.key_sequences, "key_sequences: a source says itself how many keys a sequence has: leave them out");
    check_source_call(attention, problem.part_shape(), problem.q, problem.k);
    check_outputs(problem, out, options);
    if constexpr (CallEngine<typename A::EngineType>) {
        attention.engine.forward(attention, problem, source, out, options);
    } else {
        const GivenSource<T, Source> given(source);
        if constexpr (fused::Direct<T, A, X>) {
            if (fused::runs_directly<T>(attention, problem, given, out, options, true)) return;
        }
        run_forward_on(attention, problem, fused::needs_of<T, A>(problem.shape, problem.shape.d_k, 0), out, options,
                       [&](std::byte*) { return given; });
    }
}

/// Calls `run(attention, gradient)`, with parameters of 16 bits in the form that their gradients are summed up in.
template <class A, class Run>
void with_compute_form(const A& attention, const BackwardOptions<A>& options, Run&& run) {
    if constexpr (!A::any_half) {
        run(attention, options.gradient);
    } else if (options.gradient == nullptr) {
        run(attention, static_cast<A*>(nullptr));
    } else {
        with_gradient(options.gradient, [&]<class Gradient>(Gradient* gradient) {
            if constexpr (std::is_same_v<Gradient, A>) {
                auto sums = gradient->compute_form();
                run(attention.compute_form(), &sums);
                gradient->round_from(sums);
            } else {
                run(attention.compute_form(), gradient);
            }
        });
    }
}

/// Adds the gradients of queries and parameters, and those of keys and values to what `make_gradients()` gives.
/// `writes` is set where nothing can be refused any more.
template <class A, class X, class MakeSource, class MakeGradients>
void run_backward_on(const A& attention, const Problem<X>& problem, fused::Needs needs, const BackwardInputs<X>& inputs,
                     GradientOutput<X>& dq, A* gradient, Workspace* workspace, const ExecutorRef& executor,
                     MakeSource&& make_source, MakeGradients&& make_gradients, bool* writes = nullptr) {
    using T = Compute<X>;
    needs.sees_twice = fused::sees_twice<T, X>;
    const fused::BackwardLayout<T> layout(needs, problem.shape, executor.concurrency());
    with_scratch(workspace, layout.bytes(), [&](std::byte* memory) {
        if (writes != nullptr) *writes = true;
        const fused::Gradients<T, X> gradients{.out = inputs.out,
                                               .dout = inputs.dout,
                                               .lse = inputs.lse,
                                               .dlse = inputs.dlse,
                                               .dweights = inputs.dweights,
                                               .dq = problem.query_output(dq, problem.q.columns)};
        const auto source = make_source(layout.keys(memory));
        const auto keys_into = make_gradients();
        fused::Backward<T, A, X, std::remove_const_t<decltype(source)>, std::remove_const_t<decltype(keys_into)>>(
            attention, problem, source, gradients, keys_into, layout, memory, executor)
            .run(gradient, workspace);
    });
}
template <class A, class X>
void run_backward(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs, GradientOutput<X>& dq,
                  GradientOutput<X>& dk, GradientOutput<X>& dv, const BackwardOptions<A>& options,
                  bool* writes = nullptr) {
    require(dq && dk && dv, "the gradients dq, dk and dv must be given");
    check_call(attention, problem.shape, problem.q, problem.k);
    with_outputs([&](const auto&... outputs) { check_outputs(attention, problem, inputs, options, outputs...); }, dq,
                 dk, dv);
    if constexpr (CallEngine<typename A::EngineType>) {
        attention.engine.backward(attention, problem, inputs, dq, dk, dv, options, writes);
    } else {
        if constexpr (fused::DirectlyBackward<Compute<X>, A, X>) {
            using Small = fused::DirectBackward<X, A>;
            if (Small::serves(problem, inputs, options) &&
                fused::run_backward_directly<X>(attention, problem, inputs, dq, dk, dv)) {
                if (writes != nullptr) *writes = true;
                return;
            }
        }
        with_compute_form(attention, options, [&]<class Form>(const Form& form, Form* gradient) {
            using T = Compute<X>;
            using E = fused::ForwardEngine<T, Form, X, SourceOf<T, Form, X>>;
            const fused::Needs needs = fused::needs_of<T, Form, X, E>(form, problem.shape);
            const auto make_source = [&](std::byte* memory) {
                return SourceOf<T, Form, X>(
                    KeyFeatures<T, Form, X>::of(form, problem.k, needs.width, memory, options.executor), problem.v);
            };
            run_backward_on(
                form, problem, needs, inputs, dq, gradient, options.workspace, options.executor, make_source,
                [&] {
                    return fused::DenseGradients<Form, X>(form, problem, problem.key_output(dk, problem.k.columns),
                                                          problem.key_output(dv, problem.v.columns));
                },
                writes);
        });
    }
}
template <class A, class X, class Source, class KeysInto>
void run_backward(const A& attention, const Problem<X>& problem, const Source& source, const BackwardInputs<X>& inputs,
                  GradientOutput<X>& dq, KeysInto& keys_into, const BackwardOptions<A>& options) {
    constexpr bool is_served = !CallEngine<typename A::EngineType>;
    static_assert(is_served, "attend: dispatched: backward takes operands, and no key source");
    if constexpr (is_served) {
        static_assert(
            !requires(const Source& s) { s.position(Index(), Index()); },
            "attend: a source whose keys stand at positions of their own serves forward calls alone");
        require(!options.key_sequences,
                "key_sequences: a source says itself how many keys a sequence has: leave them out");
        require(static_cast<bool>(dq), "the gradient dq must be given");
        check_source_call(attention, problem.part_shape(), problem.q, problem.k);
        with_outputs([&](const auto& output) { check_outputs(attention, problem, inputs, options, output); }, dq);
        with_compute_form(attention, options, [&]<class Form>(const Form& form, Form* gradient) {
            using T = Compute<X>;
            run_backward_on(
                form, problem, fused::needs_of<T, Form>(problem.shape, problem.shape.d_k, 0), inputs, dq, gradient,
                options.workspace, options.executor, [&](std::byte*) { return GivenSource<T, Source>(source); },
                [&] { return fused::GivenGradients<KeysInto>(keys_into); });
        });
    }
}

}  // namespace attend::detail
