#pragma once
/// \file
/// What can be wrong with a call: all of it is thrown before anything is written.

#include <string_view>

#include <attend/call/problem.hpp>
#include <attend/core/gradient_check.hpp>
#include <attend/core/options.hpp>
#include <attend/core/parameters.hpp>
#include <attend/source/mapped.hpp>

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

    template <class D>
    void require_apart_from(const Place<D>& output) const {
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
template <class A, class X, class D, class... Keys>
ATTEND_NOINLINE void check_outputs(const A& attention, const Problem<X>& problem, const BackwardInputs<X>& inputs,
                                   const BackwardOptions<A>& options, const Output<D>& dq, const Keys&... keys) {
    problem.check_query_output(dq, "dq", problem.q.columns);
    const InputPlaces<X> places(problem, inputs);
    const Place of_q(dq, "dq");
    places.require_apart_from(of_q);
    const auto check_with = [&](const auto&... outputs) {
        places.require_workspace_apart(options.workspace, of_q, outputs...);
        if (options.gradient == nullptr) return;
        with_gradient(options.gradient, [&](const auto* gradient) {
            check_gradient(attention, *gradient, [&](const auto& matrix, const ParameterName& name) {
                if constexpr (DenseMemory<decltype(matrix)>)
                    places.require_parameter_apart(matrix, name, of_q, outputs...);
            });
        });
    };
    if constexpr (sizeof...(keys) == 2) {
        [&](const Output<D>& dk, const Output<D>& dv) {
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

}  // namespace attend::detail
