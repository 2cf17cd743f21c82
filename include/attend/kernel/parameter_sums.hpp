#pragma once
/// \file
/// Where the threads of a backward call add up the gradients of parameters, which all its tasks share.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <attend/core/executor.hpp>
#include <attend/core/parameters.hpp>
#include <attend/core/workspace.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Into how many groups the tasks of a call are put: a group's tasks add to one sum, one after the other, and at the
/// end the sums are added in order. By the call's shape and the size of the parameters alone, so that the bits are the
/// same for any number of threads: so many that clearing and adding a sum is little beside what is added to it.
template <class A>
Index parameter_groups(const A& gradient, const Shape& shape, Index width) {
    constexpr double most = 64, work_of_group = 1 << 14, work_of_parameter = 64;
    double parameters = 0;
    const auto count = [&](const ParameterName&, const auto& matrix) {
        parameters += static_cast<double>(matrix.size());
    };
    walk_parameters(gradient, {}, count);
    const auto rows = [&](Index heads, Index n) {
        return static_cast<double>(shape.sequences) * static_cast<double>(heads) * static_cast<double>(n);
    };
    const double queries = rows(shape.heads, shape.queries), keys = rows(shape.kv_heads, shape.keys),
                 maps = queries * static_cast<double>(shape.d_q) + keys * static_cast<double>(shape.d_k),
                 work = (queries * static_cast<double>(shape.keys) + maps) * static_cast<double>(width);
    return static_cast<Index>(std::clamp(work / (work_of_group + work_of_parameter * parameters), 1.0, most));
}

/// Values for parameters of one shape: as many as calls have asked for at once.
template <class A>
class SumsOfShape {
public:
    explicit SumsOfShape(const A& gradient) {
        const auto note = [&](const ParameterName&, const auto& matrix) {
            extents_.emplace_back(matrix.rows(), matrix.cols());
        };
        walk_parameters(gradient, {}, note);
    }
    bool fits(const A& gradient) const {
        std::size_t i = 0;
        bool same = true;
        const auto compare = [&](const ParameterName&, const auto& matrix) {
            same = same && i < extents_.size() && extents_[i] == std::pair<Index, Index>(matrix.rows(), matrix.cols());
            ++i;
        };
        walk_parameters(gradient, {}, compare);
        return same && i == extents_.size();
    }
    std::unique_ptr<A>* at_least(std::size_t count, const A& gradient) {
        while (sums_.size() < count) sums_.push_back(std::make_unique<A>(gradient));
        return sums_.data();
    }

private:
    std::vector<std::pair<Index, Index>> extents_;
    std::vector<std::unique_ptr<A>> sums_;
};
/// Those of attentions of one type: of several layers, say.
template <class A>
class KeptSums {
public:
    std::unique_ptr<A>* get(std::size_t count, const A& gradient) {
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
    /// `gradient` may be none: then there is none for any group.
    ParameterSums(A* gradient, Index groups, Workspace* workspace, const ExecutorRef& executor) : gradient_(gradient) {
        if (gradient == nullptr || groups < 2) return;
        others_ = (workspace == nullptr ? own_ : workspace->kept<KeptSums<A>>())
                      .get(static_cast<std::size_t>(groups - 1), *gradient);
        count_ = groups - 1;
        executor.for_each(count_, [this](Index i, Index) {
            const auto clear = [](const ParameterName&, auto& matrix) { matrix.setZero(); };
            walk_parameters(other(i), {}, clear);
        });
    }

    A* of(Index group) { return gradient_ == nullptr || group == 0 ? gradient_ : &other(group - 1); }
    /// Adds all to the first, in order.
    void add_up() {
        for (Index i = 0; i < count_; ++i) add_parameters(other(i), *gradient_);
    }

private:
    A& other(Index i) { return *others_[i]; }

    A* gradient_;
    KeptSums<A> own_;
    std::unique_ptr<A>* others_ = nullptr;
    Index count_ = 0;
};

}  // namespace attend::detail::fused
