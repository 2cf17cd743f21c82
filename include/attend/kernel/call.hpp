#pragma once
/// \file
/// Whole calls: what is wrong with one is thrown before anything is written, then it gets its scratch and runs by the
/// fused kernel.

#include <algorithm>
#include <string_view>

#include <attend/core/gradient_check.hpp>
#include <attend/kernel/backward.hpp>
#include <attend/kernel/forward.hpp>

namespace attend::inline ATTEND_ABI::detail {

template <class A, class X>
void check_call(const A& attention, const Shape& shape, const StridedView<const X>& q, const StridedView<const X>& k) {
    if constexpr (!requires { attention.score().check(shape); }) {
        if (shape.d_q != shape.d_k) refuse(named("q", q), " and ", named("k", k), " must have the same width");
    }
    check_part(attention.score(), shape);
    check_part(attention.modifiers, shape);
    check_part(attention.mask, shape);
    check_part(attention.normalizer, shape);
    check_part(attention.engine, shape);
}

/// Throws where a workspace built on a buffer of the caller's shares memory with what the call reads or writes.
template <class... Places>
void require_apart_from_workspace(const Workspace* workspace, const Places&... places) {
    if (workspace == nullptr || workspace->buffer().empty()) return;
    const auto buffer = workspace->buffer();
    const Reach scratch(buffer.data(), buffer.data() + buffer.size());
    if ((places.reach.meets(scratch) || ...))
        refuse("the workspace's buffer overlaps an operand or an output of the call");
}

template <class X, class A>
std::size_t workspace_bytes(const A& attention, const Shape& shape, Index workers, Pass pass) {
    using T = Compute<X>;
    const auto& [sequences, heads, kv_heads, queries, keys, d_q, d_k, d_v, query_offset, key_rows] = shape;
    require(std::min({sequences, heads, kv_heads, queries, keys, d_q, d_k, d_v, key_rows}) >= 0 && workers > 0,
            "workspace_bytes: sizes must not be negative, and there must be at least one worker");
    check_reach(shape);
    const StridedView<const X> q{nullptr, sequences, heads, queries, d_q}, k{nullptr, sequences, kv_heads, keys, d_k};
    require_groups(q, k);
    check_call(attention, shape, q, k);
    if constexpr (A::any_half) {
        if (pass == Pass::backward) return workspace_bytes<X>(attention.compute_form(), shape, workers, pass);
    }
    const fused::Needs needs = fused::needs_of<T, A, X>(attention, shape);
    return pass == Pass::backward ? fused::BackwardLayout<T>(needs, shape, workers).bytes()
                                  : fused::Layout<T>(needs, shape, workers).bytes();
}

/// Throws where an output of a forward call has another shape, or memory of something else of the call.
template <class X, class T>
ATTEND_NOINLINE void check_outputs(const Problem<X>& problem, const Output<X>& out, const ForwardOptions<T>& options) {
    require(static_cast<bool>(out), "the output must be given");
    problem.check_query_output(out, "out", problem.v.columns);
    problem.check_query_output(options.lse, "lse", 1);
    problem.check_pair_output(options.weights, "weights");
    const Place q(problem.q, "q"), k(problem.k, "k"), v(problem.v, "v");
    const Place output(out, "out");
    const Place lse(options.lse, "lse"), weights(options.weights, "weights");
    const auto apart_from_operands = [&](const auto& place) {
        require_apart(place, q), require_apart(place, k), require_apart(place, v);
    };
    apart_from_operands(output);
    if (options.lse) {
        apart_from_operands(lse);
        require_apart(lse, output);
    }
    if (options.weights) {
        apart_from_operands(weights);
        require_apart(weights, output);
        require_apart(weights, lse);
    }
    require_apart_from_workspace(options.workspace, q, k, v, output, lse, weights);
}

/// Writes the output, and what the options ask for.
template <class A, class X, class T>
void run_forward(const A& attention, const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options) {
    check_call(attention, problem.shape, problem.q, problem.k);
    check_outputs(problem, out, options);
    const fused::Needs needs = fused::needs_of<T, A, X>(attention, problem.shape);
    const fused::Layout<T> layout(needs, problem.shape, options.executor.concurrency());
    with_scratch(options.workspace, layout.bytes(), [&](std::byte* memory) {
        const fused::Results<T, X> results{.out = problem.query_output(out, problem.v.columns),
                                           .lse = problem.query_output(options.lse, 1),
                                           .weights = problem.pair_output(options.weights)};
        fused::Forward<T, A, X>(attention, problem, layout, results, memory, options.executor).run();
    });
}

/// What a backward call reads beside its operands.
template <class X>
struct BackwardInputs {
    StridedView<const X> out, dout;
    StridedView<const Compute<X>> lse, dlse;  ///< no dlse: none
};

/// The outputs of a backward call.
template <class X>
struct BackwardOutputs {
    Output<X>&dq, &dk, &dv;
};
/// Throws where one of them has another shape, or memory of something else of the call.
template <class X>
ATTEND_NOINLINE void check_outputs(const Problem<X>& problem, const BackwardInputs<X>& inputs,
                                   const BackwardOutputs<X>& outputs, const Workspace* workspace) {
    const auto& [dq, dk, dv] = outputs;
    require(dq && dk && dv, "the gradients dq, dk and dv must be given");
    problem.check_query_output(dq, "dq", problem.q.columns);
    problem.check_key_output(dk, "dk", problem.k.columns);
    problem.check_key_output(dv, "dv", problem.v.columns);
    const Place q(problem.q, "q"), k(problem.k, "k"), v(problem.v, "v"), out(inputs.out, "out"),
        dout(inputs.dout, "dout");
    const Place lse(inputs.lse, "lse"), dlse(inputs.dlse, "dlse");
    const Place of_q(dq, "dq"), of_k(dk, "dk"), of_v(dv, "dv");
    for (const Place<X>* output : {&of_q, &of_k, &of_v}) {
        for (const Place<const X>* input : {&q, &k, &v, &out, &dout}) require_apart(*output, *input);
        require_apart(*output, lse), require_apart(*output, dlse);
    }
    require_apart(of_q, of_k);
    require_apart(of_q, of_v);
    require_apart(of_k, of_v);
    require_apart_from_workspace(workspace, q, k, v, out, dout, lse, dlse, of_q, of_k, of_v);
}
/// Throws where the gradient of a parameter has memory of something else of the call.
template <class X, class P>
ATTEND_NOINLINE void check_apart(const StridedView<P>& gradient, const ParameterName& name, const Problem<X>& problem,
                                 const BackwardInputs<X>& inputs, const BackwardOutputs<X>& outputs) {
    const auto apart = [&](const auto& other, std::string_view other_name) {
        if (may_overlap(gradient, other)) refuse_alias("gradient: " + name.text(), gradient, other_name, other);
    };
    apart(problem.q, "q"), apart(problem.k, "k"), apart(problem.v, "v");
    apart(inputs.out, "out"), apart(inputs.dout, "dout"), apart(inputs.lse, "lse");
    apart(inputs.dlse, "dlse");
    apart(outputs.dq.given(), "dq"), apart(outputs.dk.given(), "dk"), apart(outputs.dv.given(), "dv");
}

/// Adds the gradients.
template <class A, class X>
void run_backward(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs,
                  const BackwardOutputs<X>& outputs, const BackwardOptions<A>& options) {
    using T = Compute<X>;
    check_call(attention, problem.shape, problem.q, problem.k);
    check_outputs(problem, inputs, outputs, options.workspace);
    if (options.gradient != nullptr) {
        check_gradient(attention, *options.gradient, [&](const auto& matrix, const ParameterName& name) {
            if constexpr (DenseMemory<decltype(matrix)>)
                check_apart(view_of(matrix.data(), matrix), name, problem, inputs, outputs);
        });
    }
    if constexpr (A::any_half) {
        if (options.gradient != nullptr) {
            auto sums = options.gradient->compute_form();
            run_backward(attention.compute_form(), problem, inputs, outputs,
                         BackwardOptions<decltype(sums)>{
                             .workspace = options.workspace, .executor = options.executor, .gradient = &sums});
            return options.gradient->round_from(sums);
        }
    }
    const ExecutorRef& executor = options.executor;
    const fused::Needs needs = fused::needs_of<T, A, X>(attention, problem.shape);
    const fused::BackwardLayout<T> layout(needs, problem.shape, executor.concurrency());
    with_scratch(options.workspace, layout.bytes(), [&](std::byte* memory) {
        const fused::Gradients<T, A, X> gradients{
            .out = inputs.out,
            .dout = inputs.dout,
            .lse = inputs.lse,
            .dlse = inputs.dlse,
            .keys = KeyFeatures<T, A, X>::of(attention, problem, layout.width(), layout.keys(memory), executor),
            .dq = problem.query_output(outputs.dq, problem.q.columns),
            .dk = problem.key_output(outputs.dk, problem.k.columns),
            .dv = problem.key_output(outputs.dv, problem.v.columns)};
        fused::Backward<T, A, X>(attention, problem, gradients, layout, memory, executor)
            .run(options.gradient, options.workspace);
    });
}

}  // namespace attend::detail
