#pragma once
/// \file
/// Where a backward call brings the gradients of keys and values.

#include <attend/call/problem.hpp>
#include <attend/core/gradient_output.hpp>
#include <attend/core/operand_rows.hpp>
#include <attend/parts/maps.hpp>
#include <attend/parts/parameter_sums.hpp>
#include <attend/source/mapped.hpp>

namespace attend::inline ATTEND_ABI::detail::fused {

/// Where the gradients of a tile of keys go: into those of the operands, by the score's map.
template <class A, class X>
class DenseGradients {
public:
    static constexpr bool maps = KeyFeatures<Compute<X>, A, X>::maps;

    DenseGradients(const A& attention, const Problem<X>& problem, const GradientView<X>& dk, const GradientView<X>& dv)
        : attention_(attention), problem_(problem), dk_(dk), dv_(dv) {}

    template <class T>
    void add(Index sequence, Index head, Index begin, const RowBlock<T>& dfeatures, const RowBlock<T>& dvalues,
             const ParameterGradients<A>& parameters) const {
        const auto rows = [&](const auto& view) {
            return problem_.key_slice(view, sequence, head).middleRows(begin, dvalues.rows);
        };
        with_view(dk_, [&](const auto& dk) {
            auto to = rows(dk);
            if constexpr (maps) {
                map_keys_backward(attention_.score(), rows(problem_.k), matrix(dfeatures), to, parameters.score);
            } else {
                add_rows(dfeatures.data, dfeatures.stride, T(1), to);
            }
        });
        with_view(dv_, [&](const auto& dv) {
            auto to = rows(dv);
            add_rows(dvalues.data, dvalues.stride, T(1), to);
        });
    }

private:
    template <class T>
    static auto matrix(const RowBlock<T>& rows) {
        return Eigen::Map<const RowMatrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>(
            rows.data, rows.rows, rows.columns, Eigen::OuterStride<>(rows.stride));
    }

    const A& attention_;
    const Problem<X>& problem_;
    GradientView<X> dk_, dv_;
};
/// Or to what a user gave for them.
template <class G>
class GivenGradients {
public:
    static constexpr bool maps = false;

    explicit GivenGradients(G& gradients) : gradients_(gradients) {}

    template <class T>
    void add(Index sequence, Index head, Index begin, const RowBlock<T>& dk, const RowBlock<T>& dv, const auto&) const {
        gradients_.add(sequence, head, begin, dk, dv);
    }

private:
    G& gradients_;
};

}  // namespace attend::detail::fused
