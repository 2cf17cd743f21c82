#pragma once
/// \file
/// The fused backward kernel of one block of queries: tile by tile of keys its weights are formed again from the LSE,
/// and five products (of an additive score, two and its pairs) make the gradients.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attend/kernel/backward_scratch.hpp>
#include <attend/kernel/block_scores.hpp>
#include <attend/kernel/key_gradients.hpp>
#include <attend/kernel/pair_gradients.hpp>

namespace attend::detail::fused {

/// One block of lanes over its keys.
template <class T, class A, class X>
class BlockBackward {
public:
    static constexpr bool maps_keys = requires(const typename A::ScoreFunctor& score, const Slice<const X>& k,
                                               Eigen::Map<RowMatrix<T>>& mapped) { score.map_keys(k, mapped); };
    static constexpr bool whole_rows = RowNormalizer<typename A::NormalizerFunctor>;

    /// With a score that maps keys `scratch` holds their features.
    BlockBackward(const A& attention, const Problem<X>& problem, const Gradients<T, A, X>& gradients,
                  const LaneBlock& block, Index width, const BackwardScratch<T>& scratch,
                  const KeyGradients<T>& key_gradients)
        : attention_(attention),
          problem_(problem),
          gradients_(gradients),
          block_(block),
          width_(width),
          d_v_(problem.shape.d_v),
          scores_(attention, problem, block, width, false, scratch.scores),
          lanes_(scores_.lanes()),
          z_(scratch),
          keys_(key_gradients),
          v_(problem.key_slice(problem.v, block.sequence, block.kv_head)) {}

    /// Adds the gradients of the block's queries, of all its keys and of the parameters.
    void run() {
        load();
        bool first = true;
        const auto accumulate = [&](Index begin, Index keys, Cover cover) {
            add_products(begin, keys, cover, first);
            first = false;
        };
        if constexpr (whole_rows) {
            std::fill(z_.p, z_.p + block_.key_end * lanes_, -infinity);
            std::fill(z_.ds, z_.ds + block_.key_end * lanes_, T(0));
            for_each_tile([&](Index begin, Index keys, Cover cover) { score_tile(begin, keys, cover); });
            normalize_rows();
            for_each_tile([&](Index begin, Index keys, Cover cover) {
                modifiers_backward(begin, keys);
                accumulate(begin, keys, cover);
            });
        } else {
            for_each_tile([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                if constexpr (OnlineNormalizer<N>) {
                    weigh(keys);
                } else {
                    weigh_pairs(begin, keys);
                }
                modifiers_backward(begin, keys);
                accumulate(begin, keys, cover);
            });
        }
        if (!first) add_query_gradients();
    }

private:
    static constexpr Index w = simd::width<T>;
    static constexpr T infinity = std::numeric_limits<T>::infinity(), most = std::numeric_limits<T>::max();
    /// Smaller weights count as 0, since their products with gradients would soon be denormal.
    static constexpr T least = ExpConstants<T>::least_factor;
    static constexpr bool modifies = A::ModifierChain::count > 0;
    using Chain = decltype(A::modifiers.each);
    using Scores = BlockScores<T, A, X>;
    using S = typename A::ScoreFunctor;
    using N = typename A::NormalizerFunctor;

    /// Where a tile of scores stands in `z_`.
    Index tile(Index begin) const { return whole_rows ? begin * lanes_ : 0; }

    template <class F>
    void for_each_tile(F&& f) const {
        for (Index begin = 0; begin < block_.key_end; begin += key_block) {
            const Index keys = std::min(key_block, block_.key_end - begin);
            const Cover cover = scores_.cover_of_tile(begin, keys);
            if (cover != Cover::none) f(begin, keys, cover);
        }
    }

    /// Puts the block's rows of q and dout, the LSE and δ into place.
    void load() {
        const Index count = block_.count(), q_stride = z_.scores.mapped_stride, dout_stride = keys_.dv_stride;
        std::fill(z_.ones, z_.ones + std::max({lanes_, q_stride, dout_stride}), T(1));
        if (q_stride > width_) std::fill(z_.scores.mapped, z_.scores.mapped + lanes_ * q_stride, T(0));
        if (dout_stride > d_v_) std::fill(z_.dout_rows, z_.dout_rows + lanes_ * dout_stride, T(0));
        scores_.load_queries(true);
        std::fill(z_.lse, z_.lse + lanes_, most);  // e^{s − lse} = 0 for lanes without a query and rows without a key
        std::fill(z_.delta, z_.delta + lanes_, T(0));
        for (Index h = 0; h < block_.heads; ++h) {
            const Index head = block_.head + h, first = h * block_.rows;
            const auto dout = rows_of(gradients_.dout, head);
            StridedBlock<T>(z_.dout_rows + first * dout_stride, block_.rows, d_v_, Eigen::OuterStride<>(dout_stride)) =
                dout.template cast<T>();
            if constexpr (OnlineNormalizer<N>) {
                const auto lse = rows_of(gradients_.lse, head);
                for (Index i = 0; i < block_.rows; ++i) {
                    if (lse(i, 0) == -infinity) continue;
                    z_.lse[first + i] = lse(i, 0);
                    infinite_ = infinite_ || lse(i, 0) == infinity;
                }
            }
        }
        rows_to_lanes(z_.dout_rows, dout_stride, count, d_v_, T(1), z_.dout, lanes_);
        finite_ = all_finite<T>({z_.scores.mapped, q_stride, 1}, count, width_) &&
                  all_finite<T>({z_.dout_rows, dout_stride, 1}, count, d_v_);
        if (!finite_) [[unlikely]] {  // what is not finite is added pair by pair
            keep_finite(z_.scores.mapped, count * q_stride);
            keep_finite(z_.dout_rows, count * dout_stride);
        }
        if constexpr (OnlineNormalizer<N>) {
            if (infinite_) [[unlikely]]
                share_infinite_scores();
            load_delta();
            for (Index h = 0; h < block_.heads; ++h) add_logit_gradients(block_.head + h, h * block_.rows);
        }
    }
    /// δ = Σ_j p_j dp_j, which is Σ_a dout_a out_a. Summed as the products dp are, so that a lone key's dp less δ is 0.
    void load_delta() {
        if constexpr (std::is_same_v<T, X>) {
            for (Index h = 0; h < block_.heads; ++h) {
                const auto out = rows_of(gradients_.out, block_.head + h);
                StridedBlock<T>(z_.out_rows + h * block_.rows * d_v_, block_.rows, d_v_, Eigen::OuterStride<>(d_v_)) =
                    out;
            }
            rows_to_lanes(z_.out_rows, d_v_, block_.count(), d_v_, T(1), z_.out, lanes_);
            for (Index i = 0; i < lanes_; i += w) {
                auto sum = simd::broadcast(T(0));
                for (Index a = 0; a < d_v_; ++a)
                    sum = simd::madd(simd::load(z_.out + a * lanes_ + i), simd::load(z_.dout + a * lanes_ + i), sum);
                simd::store(z_.delta + i, sum);
            }
        } else {  // an output rounded to 16 bits is too rough
            for_each_tile([&](Index begin, Index keys, Cover cover) {
                score_tile(begin, keys, cover);
                for (Index i = 0; i < lanes_; i += w) {
                    auto sum = simd::load(z_.delta + i);
                    for (Index j = 0; j < keys; ++j)
                        sum = simd::add(sum, weigh(j * lanes_ + i, i, simd::broadcast(T(0))));
                    simd::store(z_.delta + i, sum);
                }
            });
        }
        for (Index i = 0; i < lanes_; ++i) {
            if (z_.lse[i] == most && !infinite_) z_.delta[i] = T(0);  // nothing seen
        }
    }
    template <class View>
    auto rows_of(const View& view, Index head) const {
        return problem_.query_slice(view, block_.sequence, head).middleRows(block_.row, block_.rows);
    }
    /// The sink's weight is e^{logit − lse}; its dp is 0, as it has no value.
    void add_logit_gradients([[maybe_unused]] Index head, [[maybe_unused]] Index first) const {
        if constexpr (requires { attention_.normalizer.logit(head); }) {
            if (gradients_.parameters == nullptr) return;
            const double logit = attention_.normalizer.logit(head);
            double dlogit = 0;
            for (Index i = first; i < first + block_.rows; ++i) {
                if (z_.delta[i] != T(0))
                    dlogit -= std::exp(logit - static_cast<double>(z_.lse[i])) * static_cast<double>(z_.delta[i]);
            }
            attention_.normalizer.add_logit_gradient(head, dlogit, gradients_.parameters->normalizer);
        }
    }
    static void keep_finite(T* x, Index size) {
        for (Index i = 0; i < size; ++i) x[i] = std::isfinite(x[i]) ? x[i] : T(0);
    }
    /// Of a row with an infinite LSE the infinite scores share all weight: ∞ − ∞ is NaN, but the largest finite number
    /// less itself is 0.
    void share_infinite_scores() {
        std::fill(z_.share, z_.share + lanes_, T(0));
        for_each_tile([&](Index begin, Index keys, Cover cover) {
            score_tile(begin, keys, cover);
            for (Index j = 0; j < keys; ++j) {
                for (Index i = 0; i < lanes_; ++i) z_.share[i] += z_.p[j * lanes_ + i] >= most ? T(1) : T(0);
            }
        });
        for (Index i = 0; i < lanes_; ++i) {
            const bool shares = z_.lse[i] == infinity;
            z_.share[i] = shares ? T(1) / z_.share[i] : T(1);
            z_.lse[i] = std::min(z_.lse[i], most);
        }
    }

    /// The final scores of a tile, and the gradients of its weights.
    void score_tile(Index begin, Index keys, Cover cover) {
        T* const s = z_.p + tile(begin);
        scores_.products(keys_of_tile(begin, keys), keys, s);
        if constexpr (modifies) std::copy(s, s + keys * lanes_, z_.raw + tile(begin));
        scores_.finish(begin, keys, cover, s, [](const T*) {});
        const auto v = readable<T>(v_.middleRows(begin, keys), z_.v, Reading::once);
        multiply(v, keys, d_v_, z_.dout, lanes_, z_.ds + tile(begin));
        scores_.drop(begin, keys, z_.ds + tile(begin));
    }
    BroadcastMatrix<T> keys_of_tile(Index begin, Index keys) const {
        if constexpr (maps_keys) {
            return {z_.mapped_keys + begin * width_, width_, 1};
        } else {
            return readable<T>(scores_.keys().middleRows(begin, keys), z_.scores.k, Reading::often);
        }
    }

    /// p = e^{s − lse} and ds = p (dp − δ). A weight of 0 gives nothing, whatever its dp.
    void weigh(Index keys) const {
        for (Index i = 0; i < lanes_; i += w) {
            const auto delta = simd::load(z_.delta + i);
            for (Index j = 0; j < keys; ++j) simd::store(z_.ds + j * lanes_ + i, weigh(j * lanes_ + i, i, delta));
        }
    }
    /// The same of one packet: leaves p and returns ds.
    ATTEND_ALWAYS_INLINE simd::Packet<T> weigh(Index at, Index lane, const simd::Packet<T>& delta) const {
        const auto zero = simd::broadcast(T(0)), lse = simd::load(z_.lse + lane);
        auto p = simd::load(z_.p + at);
        if (infinite_) [[unlikely]] {
            p = exp_of_nonpositive<T>(simd::sub(simd::min(p, simd::broadcast(most)), lse), least);
            p = simd::mul(p, simd::load(z_.share + lane));
        } else {
            p = exp_of_nonpositive<T>(simd::sub(p, lse), least);
        }
        simd::store(z_.p + at, p);
        return simd::select_equal(p, zero, zero, simd::mul(p, simd::sub(simd::load(z_.ds + at), delta)));
    }
    void weigh_pairs(Index begin, Index keys) const {
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
        const auto zero = simd::broadcast(T(0));
        for (Index j = 0; j < keys; ++j) {
            T *const s = z_.p + j * lanes_, *const ds = z_.ds + j * lanes_;
            scores_.for_each_packet(begin + j, [&](Index lane, const Position& p, Index count) {
                const auto scores = simd::load(s + lane, count, -infinity);
                auto weights = attention_.normalizer.weight(Lanes<T>::of(scores), p.head);
                // of lanes behind the queries, and of pairs that are masked
                weights.packet = simd::select_equal(scores, simd::broadcast(-infinity), zero, weights.packet);
                auto dp = Lanes<T>::of(simd::load(ds + lane, count, T(0)));
                dp.packet = simd::select_equal(weights.packet, zero, zero, dp.packet);
                simd::store<T>(s + lane, weights.packet, count);
                simd::store<T>(ds + lane, attention_.normalizer.weight_backward(weights, dp, p.head, gradient).packet,
                               count);
            });
            clear_idle_lanes(s);
            clear_idle_lanes(ds);
        }
    }
    /// Lanes without a query.
    void clear_idle_lanes(T* lanes) const { std::fill(lanes + block_.count(), lanes + lanes_, T(0)); }

    /// Whole rows of scores into weights, and of their gradients into those of the scores.
    void normalize_rows() const {
        const Index n = block_.key_end;
        const auto size = static_cast<std::size_t>(n);
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->normalizer;
        for (Index lane = 0; lane < block_.count(); ++lane) {
            for (Index j = 0; j < n; ++j) {
                z_.row[j] = z_.p[j * lanes_ + lane];
                z_.drow[j] = z_.row[j] == -infinity ? T(0) : z_.ds[j * lanes_ + lane];
            }
            const RowPosition where = problem_.row_position(block_.sequence, block_.head + lane / block_.rows,
                                                            block_.row + lane % block_.rows);
            const T lse = attention_.normalizer.normalize(std::span<T>(z_.row, size), where);
            attention_.normalizer.backward(std::span<const T>(z_.row, size), std::span<T>(z_.drow, size), lse, where,
                                           gradient);
            for (Index j = 0; j < n; ++j) {
                z_.p[j * lanes_ + lane] = z_.row[j];
                z_.ds[j * lanes_ + lane] = z_.drow[j];
            }
        }
        for (Index j = 0; j < n; ++j) {
            clear_idle_lanes(z_.p + j * lanes_);
            clear_idle_lanes(z_.ds + j * lanes_);
        }
    }

    /// From the gradients of the final scores to those of the products.
    void modifiers_backward([[maybe_unused]] Index begin, [[maybe_unused]] Index keys) const {
        if constexpr (modifies) {
            auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->modifiers.each;
            for (Index j = 0; j < keys; ++j) {
                const T* const raw = z_.raw + tile(begin) + j * lanes_;
                T* const ds = z_.ds + tile(begin) + j * lanes_;
                scores_.for_each_packet(begin + j, [&](Index lane, const Position& p, Index count) {
                    const auto s = Lanes<T>::of(simd::load(raw + lane, count, T(0)));
                    const auto ds_out = Lanes<T>::of(simd::load(ds + lane, count, T(0)));
                    const auto keep = [&](auto index, const Lanes<T>& d) {
                        simd::store<T>(kept(index) + j * lanes_ + lane, d.packet, count);
                    };
                    const auto ds_in = backward_on_lanes(attention_.modifiers.each, s, Scores::lanes_of(p, count),
                                                         ds_out, gradient, keep);
                    simd::store<T>(ds + lane, ds_in.packet, count);
                });
            }
            if (gradient != nullptr) tile_modifiers_backward(begin, keys, *gradient);
        }
    }

    /// Where the gradients of the scores that tile modifier i made are kept.
    template <std::size_t i>
    T* kept(std::integral_constant<std::size_t, i>) const {
        return z_.kept + static_cast<Index>(tile_modifiers<Chain, T>(i)) * key_block * lanes_;
    }
    void tile_modifiers_backward(Index begin, Index keys, Chain& gradient) const {
        const auto one = [&]<std::size_t i>(std::integral_constant<std::size_t, i> index) {
            if constexpr (TileModifier<std::tuple_element_t<i, Chain>, T>) {
                scores_.for_each_packet(begin, [&](Index lane, const Position& p, Index count) {
                    std::get<i>(attention_.modifiers.each)
                        .backward_on_tile(kept(index) + lane, lanes_, keys, Scores::lanes_of(p, count),
                                          std::get<i>(gradient));
                });
            }
        };
        [&]<std::size_t... i>(std::index_sequence<i...>) {
            (one(std::integral_constant<std::size_t, i>()), ...);
        }(std::make_index_sequence<std::tuple_size_v<Chain>>());
    }

    /// dv += p · dout, dk += ds · q and dq += ds · k of a tile.
    void add_products(Index begin, Index keys, Cover cover, bool first) {
        scores_.drop(begin, keys, z_.p + tile(begin));
        bool& touched = keys_.touched[begin / key_block];
        const T* const add = touched ? z_.ones : nullptr;
        touched = true;
        const Index count = block_.count();
        const T *const p = z_.p + tile(begin), *const ds = z_.ds + tile(begin);
        T *const dk = keys_.dk + begin * keys_.dk_stride, *const dv = keys_.dv + begin * keys_.dv_stride;
        multiply<T>({p, lanes_, 1}, keys, count, z_.dout_rows, keys_.dv_stride, dv, {.factor = add});
        const BroadcastMatrix<T> k = keys_of_tile(begin, keys);
        if constexpr (Scores::dot) {
            multiply<T>({ds, lanes_, 1}, keys, count, z_.scores.mapped, keys_.dk_stride, dk, {.factor = add});
            const T* const add_dq = first ? nullptr : z_.ones;
            if (cover == Cover::some && !all_finite(k, keys, width_)) [[unlikely]] {
                add_key_products(k, begin, keys, ds, add_dq);
            } else {
                multiply<T>({k.data, k.depth_stride, k.row_stride}, width_, keys, ds, lanes_, z_.dq,
                            {.factor = add_dq});
            }
        } else {
            if (first) std::fill(z_.dq, z_.dq + width_ * lanes_, T(0));
            if (add == nullptr) std::fill(dk, dk + keys * keys_.dk_stride, T(0));
            auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->score();
            add_pair_gradients(attention_.score(), scores_.pair_tiles(k, keys), keys, ds, z_.dq, dk, keys_.dk_stride,
                               gradient);
        }
        if (!finite_) [[unlikely]]
            add_visible_rows(begin, keys, p, ds, dk, dv);
    }
    /// dq += ds · k with keys that are not finite: those that a query must not see are left out, the others reach it.
    void add_key_products(const BroadcastMatrix<T>& k, Index begin, Index keys, const T* ds, const T* add_dq) const {
        const auto each = [&](auto&& f) {
            for (Index j = 0; j < keys; ++j) {
                for (Index a = 0; a < width_; ++a) f(j, a, k.data[j * k.row_stride + a * k.depth_stride]);
            }
        };
        each([&](Index j, Index a, T value) { z_.k_finite[j * width_ + a] = std::isfinite(value) ? value : T(0); });
        multiply<T>({z_.k_finite, 1, width_}, width_, keys, ds, lanes_, z_.dq, {.factor = add_dq});
        each([&](Index j, Index a, T value) {
            if (std::isfinite(value)) return;
            for (Index lane = 0; lane < block_.count(); ++lane) {
                if (attention_.mask(scores_.position(lane, begin + j)))
                    z_.dq[a * lanes_ + lane] += ds[j * lanes_ + lane] * value;
            }
        });
    }
    /// What is not finite of the queries and of dout, for the keys that these queries see.
    void add_visible_rows(Index begin, Index keys, const T* p, const T* ds, T* dk, T* dv) const {
        const auto add = [&](const T* from, Index columns, const T* factors, T* to, Index stride) {
            for (Index a = 0; a < columns; ++a) {
                for (Index lane = 0; lane < block_.count(); ++lane) {
                    const T value = from[a * lanes_ + lane];
                    if (std::isfinite(value)) continue;
                    for (Index j = 0; j < keys; ++j) {
                        if (attention_.mask(scores_.position(lane, begin + j)))
                            to[j * stride + a] += factors[j * lanes_ + lane] * value;
                    }
                }
            }
        };
        add(z_.dout, d_v_, p, dv, keys_.dv_stride);
        if constexpr (Scores::dot) add(z_.scores.q, width_, ds, dk, keys_.dk_stride);
    }

    /// The gradients of the features into those of the queries.
    void add_query_gradients() const {
        T* const mapped = z_.scores.mapped;
        const Index stride = z_.scores.mapped_stride;
        auto* const gradient = gradients_.parameters == nullptr ? nullptr : &gradients_.parameters->score();
        for (Index h = 0; h < block_.heads; ++h) {
            const Index head = block_.head + h, first = h * block_.rows;
            lanes_to_rows(z_.dq, lanes_, first, z_.ones, block_.rows, width_, mapped, stride, Index(1));
            const StridedBlock<T> dmapped(mapped, block_.rows, width_, Eigen::OuterStride<>(stride));
            auto dq = rows_of(gradients_.dq, head);
            reference::map_queries_backward(attention_.score(), rows_of(problem_.q, head), dmapped, dq, gradient);
        }
    }

    const A& attention_;
    const Problem<X>& problem_;
    const Gradients<T, A, X>& gradients_;
    const LaneBlock& block_;
    Index width_, d_v_;
    Scores scores_;
    Index lanes_;
    const BackwardScratch<T>& z_;
    const KeyGradients<T>& keys_;
    Slice<const X> v_;
    bool infinite_ = false;  ///< some LSE is
    bool finite_ = true;     ///< all features of the queries and all of dout are
};

}  // namespace attend::detail::fused
