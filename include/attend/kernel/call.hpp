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

template <class A>
void check_other_parts(const A& attention, const Shape& shape) {
    check_part(attention.modifiers, shape);
    check_part(attention.mask, shape);
    check_part(attention.normalizer, shape);
    check_part(attention.engine, shape);
}
template <class A, class X>
void check_call(const A& attention, const Shape& shape, const StridedView<const X>& q, const StridedView<const X>& k) {
    if constexpr (!requires { attention.score().check(shape); }) {
        if (shape.d_q != shape.d_k) refuse(named("q", q), " and ", named("k", k), " must have the same width");
    }
    check_part(attention.score(), shape);
    check_other_parts(attention, shape);
}
/// Of a source, whose keys are features of the score: what they once were of is not known, if that is another width.
template <class A, class X>
void check_source_call(const A& attention, const Shape& shape, const StridedView<const X>& q,
                       const StridedView<const X>& k) {
    using S = typename A::ScoreFunctor;
    const S& score = attention.score();
    Shape mapped = shape;
    if constexpr (HasMapKeys<S>) mapped.d_k = shape.d_q;
    if constexpr (HasMapKeys<S> && requires { score.query_width(); }) {
        if (shape.d_q != score.query_width())
            refuse(named("q", q), " must have the width that the score maps queries from, ", score.query_width());
    } else {
        if constexpr (!requires { score.check(mapped); }) {
            if (mapped.d_q != mapped.d_k)
                refuse(named("q", q), " and the source's ", named("k", k), " must have the same width");
        }
        check_part(score, mapped);
    }
    if (features_of(score, mapped) != shape.d_k)
        refuse("the source's ", named("k", k), " must be features of the score, which makes ",
               features_of(score, mapped), " of ", named("q", q));
    check_other_parts(attention, shape);
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
    problem.check_pair_output(options.weights, "weights", options.weight_rows);
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

/// Writes the output, and what the options ask for. `make_source(memory)` gives the source, which may form features in
/// that memory.
template <class A, class X, class T, class MakeSource>
void run_forward_on(const A& attention, const Problem<X>& problem, const fused::Needs& needs, Output<X>& out,
                    ForwardOptions<T>& options, MakeSource&& make_source) {
    check_outputs(problem, out, options);
    const fused::Layout<T> layout(needs, problem.shape, options.executor.concurrency());
    with_scratch(options.workspace, layout.bytes(), [&](std::byte* memory) {
        const fused::Results<T, X> results{
            .out = problem.query_output(out, problem.v.columns),
            .lse = problem.query_output(options.lse, 1),
            .weights = {problem.pair_output(options.weights, options.weight_rows),
                        static_cast<bool>(options.weight_rows), options.weight_rows.get()}};
        const auto source = make_source(layout.keys(memory));
        fused::Forward<T, A, X, std::remove_const_t<decltype(source)>>(attention, problem, source, layout, results,
                                                                       memory, options.executor)
            .run();
    });
}
template <class A, class X, class T>
void run_forward(const A& attention, const Problem<X>& problem, Output<X>& out, ForwardOptions<T>& options) {
    check_call(attention, problem.shape, problem.q, problem.k);
    const fused::Needs needs = fused::needs_of<T, A, X>(attention, problem.shape);
    run_forward_on(attention, problem, needs, out, options, [&](std::byte* memory) {
        return SourceOf<T, A, X>(KeyFeatures<T, A, X>::of(attention, problem.k, needs.width, memory, options.executor),
                                 problem.v);
    });
}
template <class A, class X, class T, class Source>
void run_forward(const A& attention, const Problem<X>& problem, const Source& source, Output<X>& out,
                 ForwardOptions<T>& options) {
    require(!options.key_sequences, "key_sequences: a source says itself how many keys a sequence has: leave them out");
    check_source_call(attention, problem.shape, problem.q, problem.k);
    run_forward_on(attention, problem, fused::needs_of<T, A>(problem.shape, problem.shape.d_k, 0), out, options,
                   [&](std::byte*) { return GivenSource<T, Source>(source); });
}

/// What a backward call reads beside its operands.
template <class X>
struct BackwardInputs {
    StridedView<const X> out, dout;
    StridedView<const Compute<X>> lse, dlse, dweights;  ///< no dlse or dweights: none
};

/// All that a backward call reads, by name.
template <class X>
struct InputPlaces {
    Place<const X> q, k, v, out, dout;
    Place<const Compute<X>> lse, dlse, dweights;

    InputPlaces(const Problem<X>& problem, const BackwardInputs<X>& inputs)
        : q(problem.q, "q"),
          k(problem.k, "k"),
          v(problem.v, "v"),
          out(inputs.out, "out"),
          dout(inputs.dout, "dout"),
          lse(inputs.lse, "lse"),
          dlse(inputs.dlse, "dlse"),
          dweights(inputs.dweights, "dweights") {}

    void require_apart_from(const Place<X>& output) const {
        for (const Place<const X>* input : {&q, &k, &v, &out, &dout}) require_apart(output, *input);
        require_apart(output, lse), require_apart(output, dlse), require_apart(output, dweights);
    }
    template <class... Outputs>
    void require_workspace_apart(const Workspace* workspace, const Outputs&... outputs) const {
        require_apart_from_workspace(workspace, q, k, v, out, dout, lse, dlse, dweights, outputs...);
    }
    /// Throws where the gradient of a parameter has memory of what is read or of these outputs.
    template <class Matrix, class... Outputs>
    void require_parameter_apart(const Matrix& gradient, const ParameterName& name, const Outputs&... outputs) const {
        const auto view = view_of(gradient.data(), gradient);
        const auto apart = [&](const auto& other) {
            if (may_overlap(view, other.view)) refuse_alias("gradient: " + name.text(), view, other.name, other.view);
        };
        apart(q), apart(k), apart(v), apart(out), apart(dout), apart(lse), apart(dlse), apart(dweights),
            (apart(outputs), ...);
    }
};

/// Throws where an output of a backward call has another shape, or memory of something else of the call. `keys`: the
/// gradients of keys and values, where these are operands.
template <class A, class X, class... Keys>
ATTEND_NOINLINE void check_outputs(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs,
                                   const BackwardOptions<A>& options, const Output<X>& dq, const Keys&... keys) {
    problem.check_query_output(dq, "dq", problem.q.columns);
    const InputPlaces<X> places(problem, inputs);
    const Place of_q(dq, "dq");
    places.require_apart_from(of_q);
    const auto check_with = [&](const auto&... outputs) {
        places.require_workspace_apart(options.workspace, of_q, outputs...);
        if (options.gradient == nullptr) return;
        check_gradient(attention, *options.gradient, [&](const auto& matrix, const ParameterName& name) {
            if constexpr (DenseMemory<decltype(matrix)>) places.require_parameter_apart(matrix, name, of_q, outputs...);
        });
    };
    if constexpr (sizeof...(keys) == 2) {
        [&](const Output<X>& dk, const Output<X>& dv) {
            problem.check_key_output(dk, "dk", problem.k.columns);
            problem.check_key_output(dv, "dv", problem.v.columns);
            const Place of_k(dk, "dk"), of_v(dv, "dv");
            places.require_apart_from(of_k), places.require_apart_from(of_v);
            require_apart(of_q, of_k), require_apart(of_q, of_v), require_apart(of_k, of_v);
            check_with(of_k, of_v);
        }(keys...);
    } else {
        check_with();
    }
}

/// Calls `run(attention, options)`, with parameters of 16 bits in the form that their gradients are summed up in.
template <class A, class Run>
void with_compute_form(const A& attention, const BackwardOptions<A>& options, Run&& run) {
    if constexpr (A::any_half) {
        if (options.gradient != nullptr) {
            auto sums = options.gradient->compute_form();
            run(attention.compute_form(),
                BackwardOptions<decltype(sums)>{
                    .workspace = options.workspace, .executor = options.executor, .gradient = &sums});
            return options.gradient->round_from(sums);
        }
    }
    run(attention, options);
}

/// Adds the gradients of queries and parameters, and those of keys and values to what `make_gradients()` gives.
/// `writes` is set where nothing can be refused any more.
template <class A, class X, class MakeSource, class MakeGradients>
void run_backward_on(const A& attention, const Problem<X>& problem, const fused::Needs& needs,
                     const BackwardInputs<X>& inputs, Output<X>& dq, const BackwardOptions<A>& options,
                     MakeSource&& make_source, MakeGradients&& make_gradients, bool* writes = nullptr) {
    using T = Compute<X>;
    const ExecutorRef& executor = options.executor;
    const fused::BackwardLayout<T> layout(needs, problem.shape, executor.concurrency());
    with_scratch(options.workspace, layout.bytes(), [&](std::byte* memory) {
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
            .run(options.gradient, options.workspace);
    });
}
template <class A, class X>
void run_backward(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs, Output<X>& dq,
                  Output<X>& dk, Output<X>& dv, const BackwardOptions<A>& options, bool* writes = nullptr) {
    require(dq && dk && dv, "the gradients dq, dk and dv must be given");
    check_call(attention, problem.shape, problem.q, problem.k);
    check_outputs(attention, problem, inputs, options, dq, dk, dv);
    with_compute_form(attention, options, [&]<class Form>(const Form& form, const BackwardOptions<Form>& form_options) {
        using T = Compute<X>;
        const fused::Needs needs = fused::needs_of<T, Form, X>(form, problem.shape);
        const auto make_source = [&](std::byte* memory) {
            return SourceOf<T, Form, X>(
                KeyFeatures<T, Form, X>::of(form, problem.k, needs.width, memory, form_options.executor), problem.v);
        };
        run_backward_on(
            form, problem, needs, inputs, dq, form_options, make_source,
            [&] {
                return fused::DenseGradients<Form, X>(form, problem, problem.key_output(dk, problem.k.columns),
                                                      problem.key_output(dv, problem.v.columns));
            },
            writes);
    });
}
template <class A, class X, class Source, class KeysInto>
void run_backward(const A& attention, const Problem<X>& problem, const Source& source, const BackwardInputs<X>& inputs,
                  Output<X>& dq, KeysInto& keys_into, const BackwardOptions<A>& options) {
    require(!options.key_sequences, "key_sequences: a source says itself how many keys a sequence has: leave them out");
    require(static_cast<bool>(dq), "the gradient dq must be given");
    check_source_call(attention, problem.shape, problem.q, problem.k);
    check_outputs(attention, problem, inputs, options, dq);
    with_compute_form(attention, options, [&]<class Form>(const Form& form, const BackwardOptions<Form>& form_options) {
        using T = Compute<X>;
        run_backward_on(
            form, problem, fused::needs_of<T, Form>(problem.shape, problem.shape.d_k, 0), inputs, dq, form_options,
            [&](std::byte*) { return GivenSource<T, Source>(source); },
            [&] { return fused::GivenGradients<KeysInto>(keys_into); });
    });
}

}  // namespace attend::detail
