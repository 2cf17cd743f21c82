#pragma once
/// \file
/// Whole calls: what is wrong with one is thrown before anything is written, then it gets its scratch and runs by the
/// fused kernel or, where every score is wanted or the scalar is no packet's, by the reference.

#include <algorithm>
#include <string_view>

#include <attend/core/gradient_check.hpp>
#include <attend/kernel/backward.hpp>
#include <attend/kernel/forward.hpp>
#include <attend/kernel/reference.hpp>

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
}

template <class X, class T>
void require_apart_from_operands(const Problem<X>& problem, const Output<T>& output, std::string_view name) {
    require_apart(output, name, problem.q, "q");
    require_apart(output, name, problem.k, "k");
    require_apart(output, name, problem.v, "v");
}

/// Throws where a workspace built on a buffer of the caller's shares memory with what the call reads or writes.
template <class X, class... Views>
void require_apart_from_workspace(const Workspace* workspace, const Problem<X>& problem, const Views&... views) {
    if (workspace == nullptr || workspace->buffer().empty()) return;
    const auto buffer = workspace->buffer();
    const Reach scratch(buffer.data(), buffer.data() + buffer.size());
    const auto meets = [&scratch](const auto& view) {
        if constexpr (requires { view.given(); }) {
            return view && Reach(view.given()).meets(scratch);
        } else {
            return Reach(view).meets(scratch);
        }
    };
    if (meets(problem.q) || meets(problem.k) || meets(problem.v) || (meets(views) || ...))
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
    if constexpr (fused::Supported<T>) {
        if (pass == Pass::forward) return fused::Layout<T, A, X>(attention, shape, workers).bytes();
        if constexpr (A::any_half) {
            if (pass == Pass::backward) return workspace_bytes<X>(attention.compute_form(), shape, workers, pass);
        }
        if (pass == Pass::backward) return fused::BackwardLayout<T, A, X>(attention, shape, workers).bytes();
    }
    return reference::workspace_bytes<T>(attention, shape, pass == Pass::backward, workers);
}

/// Writes the output, and what the options ask for.
template <class A, class X, class T>
void run_forward(const A& attention, const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options) {
    check_call(attention, problem.shape, problem.q, problem.k);
    require(static_cast<bool>(out), "the output must be given");
    problem.check_query_output(out, "out", problem.v.columns);
    problem.check_query_output(options.lse, "lse", 1);
    problem.check_pair_output(options.weights, "weights");
    require_apart_from_operands(problem, out, "out");
    require_apart_from_operands(problem, options.lse, "lse");
    require_apart_from_operands(problem, options.weights, "weights");
    require_apart(options.lse, "lse", out, "out");
    require_apart(options.weights, "weights", out, "out");
    require_apart(options.weights, "weights", options.lse, "lse");
    require_apart_from_workspace(options.workspace, problem, out, options.lse, options.weights);
    if constexpr (fused::Supported<T>) {
        if (!options.weights) {
            const fused::Layout<T, A, X> layout(attention, problem.shape, options.executor.concurrency());
            return with_scratch(options.workspace, layout.bytes(), [&](std::byte* block) {
                fused::forward(attention, problem, layout, problem.query_output(out, problem.v.columns),
                               problem.query_output(options.lse, 1), block, options.executor);
            });
        }
    }
    with_scratch(options.workspace,
                 reference::workspace_bytes<T>(attention, problem.shape, false, options.executor.concurrency()),
                 [&](std::byte* block) {
                     reference::forward<T>(attention, problem, problem.query_output(out, problem.v.columns),
                                           problem.query_output(options.lse, 1), problem.pair_output(options.weights),
                                           block, options.executor);
                 });
}

/// What a backward call reads beside its operands.
template <class X>
struct BackwardInputs {
    StridedView<const X> out, dout;
    StridedView<const Compute<X>> lse;
};

/// Throws where the parameters' gradients have other shapes than the parameters, or memory of something else of the
/// call.
template <class A, class X>
void check_parameter_gradients(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs,
                               const Output<X>& dq, const Output<X>& dk, const Output<X>& dv, const A& gradient) {
    check_gradient(attention, gradient, [&](const auto& matrix, Index i) {
        if constexpr (DenseMemory<decltype(matrix)>) {
            const auto view = view_of(matrix.data(), matrix);
            const auto apart = [&](const auto& other, std::string_view name) {
                if (may_overlap(view, other))
                    refuse_alias("gradient: " + parameter_name(gradient, i), view, name, other);
            };
            apart(problem.q, "q"), apart(problem.k, "k"), apart(problem.v, "v");
            apart(inputs.out, "out"), apart(inputs.dout, "dout"), apart(inputs.lse, "lse");
            apart(dq.given(), "dq"), apart(dk.given(), "dk"), apart(dv.given(), "dv");
        }
    });
}

/// Adds the gradients.
template <class A, class X>
void run_backward(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs, Output<X>& dq,
                  Output<X>& dk, Output<X>& dv, const BackwardOptions<A>& options) {
    using T = Compute<X>;
    check_call(attention, problem.shape, problem.q, problem.k);
    require(dq && dk && dv, "the gradients dq, dk and dv must be given");
    problem.check_query_output(dq, "dq", problem.q.columns);
    problem.check_key_output(dk, "dk", problem.k.columns);
    problem.check_key_output(dv, "dv", problem.v.columns);
    const auto apart = [&](const Output<X>& output, std::string_view name) {
        require_apart_from_operands(problem, output, name);
        require_apart(output, name, inputs.out, "out");
        require_apart(output, name, inputs.lse, "lse");
        require_apart(output, name, inputs.dout, "dout");
    };
    apart(dq, "dq"), apart(dk, "dk"), apart(dv, "dv");
    require_apart(dq, "dq", dk, "dk");
    require_apart(dq, "dq", dv, "dv");
    require_apart(dk, "dk", dv, "dv");
    require_apart_from_workspace(options.workspace, problem, dq, dk, dv, inputs.out, inputs.dout, inputs.lse);
    if (options.gradient != nullptr)
        check_parameter_gradients(attention, problem, inputs, dq, dk, dv, *options.gradient);
    if constexpr (fused::Supported<T>) {
        if constexpr (A::any_half) {
            if (options.gradient != nullptr) {
                auto sums = options.gradient->compute_form();
                run_backward(attention.compute_form(), problem, inputs, dq, dk, dv,
                             BackwardOptions<decltype(sums)>{.workspace = options.workspace, .gradient = &sums});
                return options.gradient->round_from(sums);
            }
        }
        // Parameters are shared by all heads: one thread adds their gradients up, in order.
        const bool shared = options.gradient != nullptr && has_parameters(*options.gradient);
        const ExecutorRef executor = shared ? ExecutorRef(serial) : options.executor;
        const fused::BackwardLayout<T, A, X> layout(attention, problem.shape, executor.concurrency());
        with_scratch(options.workspace, layout.bytes(), [&](std::byte* block) {
            const fused::Gradients<T, A, X> gradients{
                .out = inputs.out,
                .dout = inputs.dout,
                .lse = inputs.lse,
                .keys = KeyFeatures<T, A, X>::of(attention, problem, layout.width(), layout.keys(block), executor),
                .dq = problem.query_output(dq, problem.q.columns),
                .dk = problem.key_output(dk, problem.k.columns),
                .dv = problem.key_output(dv, problem.v.columns),
                .parameters = options.gradient};
            fused::Backward<T, A, X>(attention, problem, gradients, layout, block, executor).run();
        });
    } else {
        with_scratch(options.workspace,
                     reference::workspace_bytes<T>(attention, problem.shape, true, options.executor.concurrency()),
                     [&](std::byte* block) {
                         reference::backward<T>(
                             attention, problem, inputs.dout, problem.query_output(dq, problem.q.columns),
                             problem.key_output(dk, problem.k.columns), problem.key_output(dv, problem.v.columns),
                             options.gradient, block, options.executor);
                     });
    }
}

}  // namespace attend::detail
