#pragma once
/// \file
/// A token of linear attention: what of its key are features, what gates.

#include <algorithm>
#include <cmath>

#include <attend/core/simd.hpp>
#include <attend/mixer/mixer.hpp>
#include <attend/softmax/exp.hpp>
#include <attend/softmax/logistic.hpp>

namespace attend::inline ATTEND_ABI {

/// What decays a state: nothing (`none`), one number for each token and `head`, or one for each `feature` of its key
/// too.
enum class Decay { none, head, feature };

/// What stands behind a key: decays as logarithms and β as they are, `given`, as ONNX has them; or `logits` of both, as
/// a layer's projection makes them: decay = log σ(x), β = σ(x). A block's biases begin at 0, so that its states lose
/// half at each token: a bias of 4 in the columns of decays makes them remember some 50.
enum class KeyGates { given, logits };

/// What is made of queries and keys: nothing (`plain`), `elu`(x) + 1 (Katharopoulos et al. 2020), or `unit`, x / √(|x|²
/// + 1e-6).
enum class FeatureMap { plain, elu, unit };

namespace detail {

inline Index decay_columns(const auto& mixer, Index d_q) {
    return mixer.decay == Decay::none ? 0 : mixer.decay == Decay::head ? 1 : d_q;
}

/// to = features of x: rows as arrays, which may be the same.
template <class X, class To>
void to_features(FeatureMap features, const X& x, To&& to) {
    using C = typename X::Scalar;
    if (features == FeatureMap::unit) {
        const C length = std::sqrt(x.square().sum() + C(1e-6));
        to = x / length;
    } else if (features == FeatureMap::elu) {
        to = (x > C(0)).select(x + C(1), x.min(C(0)).exp());
    } else {
        to = x;
    }
}
/// to += the gradient of x, given dy of its features.
template <class X, class Dy, class To>
void features_backward(FeatureMap features, const X& x, const Dy& dy, To&& to) {
    using C = typename X::Scalar;
    if (features == FeatureMap::unit) {
        const C square = x.square().sum() + C(1e-6);
        to += (dy - x * ((x * dy).sum() / square)) / std::sqrt(square);
    } else if (features == FeatureMap::elu) {
        to += dy * (x > C(0)).select(C(1), x.min(C(0)).exp());
    } else {
        to += dy;
    }
}

/// e^decay, of what stands behind keys, in place: whole packets.
template <class C>
void decays_to_factors(KeyGates gates, C* x, Index count) {
    const auto one = simd::broadcast(C(1)), sign = simd::broadcast(gates == KeyGates::given ? C(1) : C(-1));
    for (Index i = 0; i < count; i += simd::width<C>) {
        const auto e = exp_packet<C>(simd::mul(sign, simd::load(x + i)));
        simd::store(x + i, gates == KeyGates::given ? e : simd::div(one, simd::add(one, e)));
    }
}
/// The gradient of what stands there, given that of the decay.
template <class C>
C decay_backward(KeyGates gates, C x, C ddecay) {
    return gates == KeyGates::given ? ddecay : ddecay * logistic(-x);
}
template <class C>
C beta_of(KeyGates gates, C x) {
    return gates == KeyGates::given ? x : logistic(x);
}
template <class C>
C beta_backward(KeyGates gates, C x, C dbeta) {
    return gates == KeyGates::given ? dbeta : dbeta * logistic(x) * logistic(-x);
}

/// Whether all that a token writes by is finite; a decay of −∞ is.
template <class C>
bool is_finite_token(const auto& mixer, const MixerRowIn<C>& k, const MixerRowIn<C>& v) {
    const auto finite = [](const auto& x) { return (x.array() * C(0)).sum() == C(0); };
    if (!finite(v)) return false;
    if (finite(k)) return true;
    const Index last = mixer.delta ? 1 : 0, d = mixer.decay == Decay::none   ? k.size() - last
                                                : mixer.decay == Decay::head ? k.size() - last - 1
                                                                             : (k.size() - last) / 2;
    return finite(k.head(d)) && finite(k.tail(last)) && (k.segment(d, k.size() - last - d).array() < INFINITY).all();
}

}  // namespace detail
}  // namespace attend
