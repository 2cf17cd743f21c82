#pragma once
/// \file
/// Where the threads of a backward call add up the gradients of parameters, which all its tasks share.

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/core/executor.hpp>
#include <attend/core/parameters_in_step.hpp>
#include <attend/core/view.hpp>
#include <attend/core/workspace.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Where the gradients of an attention's parameters are added, part by part; nowhere, or everywhere.
template <class A>
struct ParameterGradients {
    typename A::ScoreFunctor* score = nullptr;
    typename A::ModifierChain* modifiers = nullptr;
    typename A::NormalizerFunctor* normalizer = nullptr;

    ParameterGradients() = default;
    template <class Value>
    explicit ParameterGradients(Value& value)
        : score(&value.score()), modifiers(&value.modifiers), normalizer(&value.normalizer) {}

    bool wanted() const { return score != nullptr; }
};

/// Of an attention the parts that may have parameters: not the mask, which may be large.
template <class A>
struct ParameterSum {
    typename A::ScoreFunctor own_score;
    typename A::ModifierChain modifiers;
    typename A::NormalizerFunctor normalizer;

    explicit ParameterSum(const A& gradient)
        : own_score(gradient.score()), modifiers(gradient.modifiers), normalizer(gradient.normalizer) {}

    typename A::ScoreFunctor& score() { return own_score; }

    /// Becomes a copy: also what is no parameter, which a part's `backward` may ask.
    void copy(const A& gradient) {
        copy(gradient.score(), own_score), copy(gradient.modifiers, modifiers), copy(gradient.normalizer, normalizer);
    }

private:
    template <class Part>
    static void copy(const Part& from, Part& to) {
        if constexpr (std::is_copy_assignable_v<Part>) {
            to = from;
        } else {  // lambdas are not
            std::destroy_at(&to);
            std::construct_at(&to, from);
        }
    }
};

/// Whether the parts of an attention can be copied, so that there can be several sums.
template <class A>
inline constexpr bool has_copies =
    std::is_copy_constructible_v<typename A::ScoreFunctor> && std::is_copy_constructible_v<typename A::ModifierChain> &&
    std::is_copy_constructible_v<typename A::NormalizerFunctor>;

/// Calls `visit(ParameterName, matrix)` for the parameters of these parts of an attention or of a sum.
template <class Value, class Visit>
void walk_sum(Value& value, const Visit& visit) {
    walk_parameters(value.score(), {}, visit);
    walk_parameters(value.modifiers, {}, visit);
    walk_parameters(value.normalizer, {}, visit);
}

/// Into how many groups the tasks of a call are put: a group's tasks add to one sum, one after the other, and at the
/// end the sums are added in order. By the call's shape and the size of the parameters alone, so that the bits are the
/// same for any number of threads: so many that clearing and adding a sum is little beside what is added to it. 0 where
/// there are no parameters.
template <class A>
Index parameter_groups(const A& gradient, const Shape& shape, Index width) {
    constexpr double most = 64, work_of_group = 1 << 14, work_of_parameter = 64;
    double parameters = 0;
    walk_sum(gradient,
             [&](const ParameterName&, const auto& matrix) { parameters += static_cast<double>(matrix.size()); });
    if (parameters == 0) return 0;
    const auto rows = [&](Index heads, Index n) {
        return static_cast<double>(shape.sequences) * static_cast<double>(heads) * static_cast<double>(n);
    };
    const double queries = rows(shape.heads, shape.queries), keys = rows(shape.kv_heads, shape.keys),
                 maps = queries * static_cast<double>(shape.d_q) + keys * static_cast<double>(shape.d_k),
                 work = (queries * static_cast<double>(shape.keys) + maps) * static_cast<double>(width);
    return static_cast<Index>(std::clamp(work / (work_of_group + work_of_parameter * parameters), 1.0, most));
}

/// Sums for parameters of one shape: as many as calls have asked for at once.
template <class A>
class SumsOfShape {
public:
    using Sum = std::unique_ptr<ParameterSum<A>>;

    explicit SumsOfShape(const A& gradient) {
        walk_sum(gradient, [&](const ParameterName&, const auto& matrix) {
            extents_.emplace_back(matrix.rows(), matrix.cols());
        });
    }
    bool fits(const A& gradient) const {
        std::size_t i = 0;
        bool same = true;
        walk_sum(gradient, [&](const ParameterName&, const auto& matrix) {
            same = same && i < extents_.size() && extents_[i] == std::pair<Index, Index>(matrix.rows(), matrix.cols());
            ++i;
        });
        return same && i == extents_.size();
    }
    Sum* at_least(std::size_t count, const A& gradient) {
        while (sums_.size() < count) sums_.push_back(std::make_unique<ParameterSum<A>>(gradient));
        return sums_.data();
    }

private:
    std::vector<std::pair<Index, Index>> extents_;
    std::vector<Sum> sums_;
};
/// Those of attentions of one type: of several layers, say.
template <class A>
class KeptSums {
public:
    auto* get(std::size_t count, const A& gradient) {
        for (SumsOfShape<A>& sums : shapes_) {
            if (sums.fits(gradient)) return sums.at_least(count, gradient);
        }
        if (shapes_.size() == most_shapes) shapes_.erase(shapes_.begin());  // who has so many, may have ever new ones
        return shapes_.emplace_back(gradient).at_least(count, gradient);
    }

private:
    static constexpr std::size_t most_shapes = 16;
    std::vector<SumsOfShape<A>> shapes_;
};

/// A sum for each group of tasks. The first is the caller's own gradient; the others stay in the workspace from call to
/// call.
template <class A>
class ParameterSums {
public:
    ParameterSums(A& gradient, Index groups, Workspace* workspace) : gradient_(gradient), count_(groups - 1) {
        if (count_ == 0) return;
        others_ = (workspace == nullptr ? own_ : workspace->kept<KeptSums<A>>())
                      .get(static_cast<std::size_t>(count_), gradient);
    }

    /// Clears the sums. Returns false where there can be none: a parameter is no part's own, and its copies neither.
    bool start(const ExecutorRef& executor) {
        if (count_ == 0) return true;
        if (has_views(gradient_)) return false;
        others_[0]->copy(gradient_);
        if (share_parameters(others_[0]->own_score, gradient_.score()) ||
            share_parameters(others_[0]->modifiers, gradient_.modifiers) ||
            share_parameters(others_[0]->normalizer, gradient_.normalizer))
            return false;
        executor.for_each(count_, [this](Index i, Index) {
            others_[i]->copy(gradient_);
            walk_sum(*others_[i], [](const ParameterName&, auto& matrix) { matrix.setZero(); });
        });
        return true;
    }

    ParameterGradients<A> of(Index group) {
        return group == 0 ? ParameterGradients<A>(gradient_) : ParameterGradients<A>(*others_[group - 1]);
    }
    /// Adds all to the first, in order.
    void add_up() {
        for (Index i = 0; i < count_; ++i) {
            add_parameters(others_[i]->score(), gradient_.score());
            add_parameters(others_[i]->modifiers, gradient_.modifiers);
            add_parameters(others_[i]->normalizer, gradient_.normalizer);
        }
    }

private:
    /// Whether some parameter is a map or a block.
    static bool has_views(A& gradient) {
        bool found = false;
        walk_sum(gradient, [&](const ParameterName&, const auto& matrix) {
            using Visited = std::remove_cvref_t<decltype(matrix)>;
            found = found || !(OwnsMemory<Visited> || Visited::SizeAtCompileTime == 1);  // a scalar comes as a map
        });
        return found;
    }

    A& gradient_;
    KeptSums<A> own_;
    typename SumsOfShape<A>::Sum* others_ = nullptr;
    Index count_ = 0;
};

}  // namespace attend::detail::fused
