#pragma once
/// \file
/// The parts of an attention that stand in another object of the program, as boundary.hpp describes them.

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <utility>

#include <attend/attention.hpp>
#include <attend/dispatch/boundary.hpp>
#include <attend/dispatch/foreign_mask.hpp>
#include <attend/dispatch/one_of.hpp>
#include <attend/modifier/alibi.hpp>
#include <attend/modifier/bias.hpp>
#include <attend/modifier/soft_cap.hpp>
#include <attend/normalizer/sink.hpp>

namespace attend::inline ATTEND_ABI::detail {

using ForeignAlibi = Alibi<GivenNumbers>;
template <class T>
using ForeignBias = DenseBias<T, GivenMatrix<T>>;

/// All that are served: the soft cap stands before ALiBi, and both before a bias.
template <class T>
using ForeignModifiers =
    OneOf<Modifiers<>, Modifiers<SoftCap>, Modifiers<ForeignAlibi>, Modifiers<SoftCap, ForeignAlibi>,
          Modifiers<ForeignBias<T>>, Modifiers<SoftCap, ForeignBias<T>>, Modifiers<ForeignAlibi, ForeignBias<T>>,
          Modifiers<SoftCap, ForeignAlibi, ForeignBias<T>>>;

/// Softmax, with a sink where there is one.
struct ForeignSink : SoftmaxFold {
    static constexpr Kind kind = Kind::normalizer;

    SoftmaxWithSink<GivenNumbers> sink;

    explicit ForeignSink(GivenNumbers logits) : sink(std::move(logits)) {}

    static void parameters(auto& self, auto&& visit) { visit("", self.sink); }
    void check(const Shape& shape) const {
        if (any()) sink.check(shape);
    }
    template <class T>
    T factor(const State<T>& row, Index head) const {
        return any() ? sink.factor(row, head) : SoftmaxFold::factor(row, head);
    }
    template <class T>
    T lse(const State<T>& row, Index head) const {
        return any() ? sink.lse(row, head) : SoftmaxFold::lse(row, head);
    }
    template <class T>
    void row_backward(const T& row, const auto& delta, Index head, ForeignSink& gradient) const {
        if (any()) sink.row_backward(row, delta, head, gradient.sink);
    }

private:
    bool any() const { return sink.sink.count > 0; }
};

/// An attention that computes in T of what stands elsewhere.
template <class T>
using ForeignAttention = Attention<ScaledDotScore, ForeignModifiers<T>, ForeignMask, ForeignSink>;

/// `sums`: whether gradients of parameters are wanted, which begin at what they are.
inline GivenNumbers given_numbers(const boundary::Numbers& numbers, bool sums) {
    GivenNumbers given{numbers.values, numbers.count};
    if (sums && numbers.count > 0) given.sums = Eigen::Map<const Eigen::VectorXd>(numbers.gradients, numbers.count);
    return given;
}
template <class T>
GivenMatrix<T> given_matrix(const boundary::Matrix& matrix, bool sums) {
    GivenMatrix<T> given{static_cast<const T*>(matrix.values), matrix.rows, matrix.columns};
    if (sums)
        given.sums =
            Eigen::Map<const RowMatrix<T>>(static_cast<const T*>(matrix.gradients), given.rows(), given.cols());
    return given;
}
template <class T>
ForeignModifiers<T> foreign_modifiers(const boundary::Composition& given, bool sums, const double* cap) {
    ForeignModifiers<T> all;
    const auto choose = [&](auto... parts) { all.chosen = Modifiers<decltype(parts)...>{{std::move(parts)...}}; };
    const auto with_bias = [&](auto... parts) {
        if (given.bias.values == nullptr) return choose(std::move(parts)...);
        choose(std::move(parts)..., ForeignBias<T>{given_matrix<T>(given.bias, sums), given.bias.heads});
    };
    const auto with_alibi = [&](auto... parts) {
        if (given.slopes.count == 0) return with_bias(std::move(parts)...);
        with_bias(std::move(parts)..., ForeignAlibi{given_numbers(given.slopes, sums)});
    };
    given.cap.count == 0 ? with_alibi() : with_alibi(SoftCap{*cap});
    return all;
}
template <class T>
ForeignAttention<T> foreign_attention(const boundary::Composition& given, bool sums, const double* cap) {
    return ForeignAttention<T>(given.scaled ? ScaledDotScore(given.scale) : ScaledDotScore(),
                               foreign_modifiers<T>(given, sums, cap), ForeignMask(given.mask),
                               ForeignSink(given_numbers(given.sink, sums)));
}

/// Gradients back to where they are wanted.
inline void give_back(const GivenNumbers& sums, const boundary::Numbers& to) {
    std::copy_n(sums.sums.data(), to.count, to.gradients);
}
template <class T>
void give_back(const ForeignAttention<T>& gradient, const boundary::Composition& to) {
    const auto of_part = [&]<class Part>(const Part& part) {
        if constexpr (std::is_same_v<Part, SoftCap>) {
            *to.cap.gradients = part.cap;
        } else if constexpr (std::is_same_v<Part, ForeignAlibi>) {
            give_back(part.slope, to.slopes);
        } else {
            std::copy_n(part.values.sums.data(), part.values.sums.size(), static_cast<T*>(to.bias.gradients));
        }
    };
    gradient.modifiers.with(
        [&](const auto& chain) { std::apply([&](const auto&... parts) { (of_part(parts), ...); }, chain.each); });
    give_back(gradient.normalizer.sink.sink, to.sink);
}

}  // namespace attend::detail
