#pragma once
/// \file
/// Linear attention of a chunk of tokens at once, by matrix products, and its gradients.

#include <algorithm>
#include <cmath>
#include <optional>

#include <attend/mixer/chunk_decay.hpp>
#include <attend/mixer/linear_tokens.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// With u_t what token t writes by its key, v_t or by the delta rule β_t (v_t − (e^decay_t S_{t−1})ᵀ k_t), the state is
/// S_t = P_t S + Σ_{j ≤ t} D_tj k_j u_jᵀ for the one before the chunk, S, where P and D are what has decayed since
/// (mixer/chunk_decay.hpp). So outputs are P q S and scores of decayed pairs times u, and the u of the delta rule solve
/// the triangular system u_t = β_t (v_t − P_t k_t S − Σ_{j < t} (k_t D_tj k_j) u_j) (Yang et al. 2024 and 2025): by
/// substitution, 16 tokens at a time.
template <class C>
class LinearChunk {
    using Matrix = ChunkMatrix<C>;
    static constexpr Index block = 16;

public:
    /// `mixer` says what there is of gates. The room is that of `linear_chunk_bytes`; on a null one nothing may be
    /// used.
    template <class M>
    LinearChunk(const M& mixer, const MixerChunk<C>& chunk, Index d, Index d_v, Pass pass, std::byte* room)
        : chunk_(chunk),
          d_(d),
          decays_(decay_columns(mixer, d)),
          delta_(mixer.delta),
          gates_(mixer.gates),
          features_(mixer.features),
          scale_(static_cast<C>(mixer.scale != 0 ? mixer.scale : 1 / std::sqrt(static_cast<double>(d)))) {
        Arena arena(room);
        const Index n = chunk.keys, p = chunk.queries, most = std::max(n, p);
        const bool back = pass == Pass::backward;
        const auto take = [&](Index rows, Index columns, bool needed = true) {
            return Matrix::in(arena, needed ? rows : 0, columns);
        };
        ones_ = arena.take<C>(std::max({simd::padded<C>(d), simd::padded<C>(d_v), simd::padded<C>(n)}));
        beta_ = arena.take<C>(n), dbeta_ = arena.take<C>(n);
        k_ = take(n, d), kt_ = take(d, n), u_ = take(n, d_v), x_ = take(most, d);
        e_ = take(n, d_v, delta_), within_ = take(n, n, delta_);
        q_ = take(p, d), y_ = take(p, d_v), s_ = take(p, n), state_ = take(d, d_v);
        state_t_ = take(d_v, d, back), ut_ = take(d_v, n, back), dstate_ = take(d, d_v, back);
        dstate_t_ = take(d_v, d, back), dk_ = take(n, d, back), du_ = take(n, d_v, back);
        de_ = take(n, d_v, back && delta_), ds_ = take(most, n, back), dx_ = take(most, d, back);
        decay_.emplace(arena, n, d, mixer.decay == Decay::feature, back);
        bytes_ = arena.used();
    }
    std::size_t bytes() const { return bytes_; }

    void forward(MixerState<C>& state, MixerState<C>& out) {
        const bool in_place = state.cols() == state_.lanes;
        if (in_place) {
            state_.data = state.data();
        } else {
            state_.set(state);
        }
        start();
        for (Index h = 0; chunk_.queries > 0 && h < chunk_.heads; ++h) {
            load_queries(h);
            queries_since(x_.some(0, chunk_.queries));
            chunk_product<C>(y_, x_.plain(), d_, state_, nullptr, chunk_.ahead);
            for (Index r = 0; chunk_.keys > 0 && r < chunk_.queries; r += block) {  // none behind the last that is seen
                const Matrix some = y_.some(r, std::min(block, chunk_.queries - r));
                chunk_product(some, s_.some(r, some.rows).plain(), chunk_.seen(r + some.rows - 1), u_, ones_);
            }
            out.middleRows(h * chunk_.queries, chunk_.queries).array() = y_.all().leftCols(out.cols());
        }
        if (chunk_.keys == 0) return;
        decay_state(state_);
        keys_until(x_.some(0, chunk_.keys));
        chunk_product(state_, x_.transposed(), chunk_.keys, u_, ones_, chunk_.ahead);
        if (!in_place) state.array() = state_.all().leftCols(state.cols());
    }

    /// `state` is that before the chunk; dstate comes as the gradient of the state behind it, and leaves as that of it.
    void backward(const MixerStateIn<C>& state, const MixerStateIn<C>& dout, MixerState<C>& dstate,
                  MixerChunkGradients<C>& d) {
        state_.set(state);
        start();
        state_t_.set_transposed(state_), ut_.set_transposed(u_);
        dstate_.set(dstate);
        dk_.all().setZero(), du_.all().setZero();
        if (chunk_.keys > 0) state_backward();
        for (Index h = 0; chunk_.queries > 0 && h < chunk_.heads; ++h) queries_backward(h, dout, d.q);
        if (delta_) delta_backward();
        if (chunk_.keys > 0) keys_backward(d);
        dstate.array() = dstate_.all().leftCols(dstate.cols());
    }

private:
    /// From the operands to what the tokens write.
    void start() {
        const Index n = chunk_.keys;
        std::fill_n(ones_, std::max({k_.lanes, u_.lanes, kt_.lanes}), C(1));
        k_.all().setZero(), u_.set(chunk_.v);
        decay_->factor.all().setZero();
        for (Index j = 0; j < n; ++j) {
            const auto row = chunk_.k.row(j);
            to_features(features_, row.head(d_).array(), k_.row(j).head(d_));
            if (decays_ == 1) decay_->factor.row(j).setConstant(row(d_));
            if (decays_ > 1) decay_->factor.row(j).head(d_) = row.segment(d_, d_).array();
            if (delta_) beta_[j] = beta_of(gates_, row(d_ + decays_));
        }
        decays_to_factors(decays_ == 0 ? KeyGates::given : gates_, decay_->factor.data, n * decay_->factor.lanes);
        decay_->prepare();
        kt_.set_transposed(k_);
        if (delta_ && n > 0) solve();
    }
    /// e = v − P k S − within · u, u = β e; `within_` holds the scores' negatives.
    void solve() {
        const Index n = chunk_.keys;
        decay_->scores(k_, 0, k_, kt_, false, within_);
        within_.all() = -within_.all();
        e_.all() = u_.all();
        x_.some(0, n).all() = -k_.all() * decay_->since.some(1, n).all();
        chunk_product(e_, x_.plain(), d_, state_, ones_, chunk_.ahead);
        for (Index begin = 0; begin < n; begin += block) {
            const Index end = std::min(begin + block, n);
            const Matrix some = e_.some(begin, end - begin);
            chunk_product(some, within_.some(begin, some.rows).plain(), begin, u_, ones_);
            for (Index t = begin; t < end; ++t) {
                for (Index j = begin; j < t; ++j) e_.row(t) += within_(t, j) * u_.row(j);
                u_.row(t) = beta_[t] * e_.row(t);
            }
        }
    }

    void load_queries(Index head) {
        q_.all().setZero();
        for (Index r = 0; r < chunk_.queries; ++r) {
            const auto row = chunk_.q.row(head * chunk_.queries + r);
            to_features(features_, row.array(), q_.row(r).head(d_));
        }
        q_.all() *= scale_;
        if (chunk_.keys > 0) decay_->scores(q_, chunk_.first, k_, kt_, true, s_);
    }
    /// The queries as they meet the state before the chunk, and the keys as they enter that behind it.
    void queries_since(const Matrix& to) const {
        for (Index r = 0; r < chunk_.queries; ++r) to.row(r) = q_.row(r) * decay_->since.row(chunk_.seen(r));
    }
    void keys_until(const Matrix& to) const { to.all() = k_.all() * decay_->until.all(); }
    void decay_state(const Matrix& state) const {
        for (Index c = 0; c < d_; ++c) state.row(c) *= decay_->since(chunk_.keys, c);
    }

    void state_backward() {
        const Index n = chunk_.keys;
        const Matrix x = x_.some(0, n), dx = dx_.some(0, n);
        dstate_t_.set_transposed(dstate_);
        keys_until(x);
        chunk_product(du_, x.plain(), d_, dstate_);
        chunk_product<C>(dx, u_.plain(), u_.columns, dstate_t_, nullptr, chunk_.ahead);
        dk_.all() = dx.all() * decay_->until.all();
        for (Index j = 0; j < n; ++j) decay_->add_until(j, x.row(j), dx.row(j));
        for (Index c = 0; c < d_; ++c) dx(0, c) = (state_.row(c) * dstate_.row(c)).sum();
        decay_->add_since(n, decay_->since.row(n), dx.row(0));
        decay_state(dstate_);
    }
    void queries_backward(Index head, const MixerStateIn<C>& dout, MixerState<C>& dq) {
        const Index p = chunk_.queries;
        const Matrix x = x_.some(0, p), dx = dx_.some(0, p), ds = ds_.some(0, p);
        load_queries(head);
        y_.set(dout.middleRows(head * p, p));
        queries_since(x);
        chunk_product<C>(dx, y_.plain(), y_.columns, state_t_, nullptr, chunk_.ahead);
        chunk_product(dstate_, x.transposed(), p, y_, ones_, chunk_.ahead);
        for (Index r = 0; r < p; ++r) {
            decay_->add_since(chunk_.seen(r), x.row(r), dx.row(r));
            dx.row(r) *= decay_->since.row(chunk_.seen(r));
        }
        if (chunk_.keys > 0) {
            chunk_product(du_, s_.transposed(), p, y_, ones_);
            chunk_product(ds, y_.plain(), y_.columns, ut_);
            decay_->scores_backward(ds, s_, q_, chunk_.first, k_, true, dx, dk_, ones_);
        }
        dx.all() *= scale_;
        for (Index r = 0; r < p; ++r)
            features_backward(features_, chunk_.q.row(head * p + r).array(), dx.row(r).head(d_),
                              dq.row(head * p + r).array());
    }
    /// Back through the triangular system, from the last token; then `du_` holds the gradient of v.
    void delta_backward() {
        const Index n = chunk_.keys;
        for (Index begin = (n - 1) / block * block; n > 0 && begin >= 0; begin -= block) {
            const Index end = std::min(begin + block, n);
            const Matrix behind = de_.some(end, n - end);
            if (behind.rows > 0)
                chunk_product(du_.some(begin, end - begin),
                              {within_.data + end * within_.lanes + begin, 1, within_.lanes}, behind.rows, behind,
                              ones_);
            for (Index t = end - 1; t >= begin; --t) {
                for (Index i = t + 1; i < end; ++i) du_.row(t) += within_(i, t) * de_.row(i);
                de_.row(t) = beta_[t] * du_.row(t);
                dbeta_[t] = (du_.row(t) * e_.row(t)).sum();
            }
        }
        if (n == 0) return;
        const Matrix x = x_.some(0, n), dx = dx_.some(0, n), ds = ds_.some(0, n);
        chunk_product(ds, de_.plain(), de_.columns, ut_);
        ds.all() = -ds.all();
        within_.all() = -within_.all();
        x.all() = -k_.all() * decay_->since.some(1, n).all();
        chunk_product(dx, de_.plain(), de_.columns, state_t_);
        chunk_product(dstate_, x.transposed(), n, de_, ones_);
        for (Index j = 0; j < n; ++j) decay_->add_since(j + 1, x.row(j), dx.row(j));
        dk_.all() -= dx.all() * decay_->since.some(1, n).all();
        decay_->scores_backward(ds, within_, k_, 0, k_, false, dk_, dk_, ones_);
    }
    void keys_backward(MixerChunkGradients<C>& d) {
        decay_->finish();
        const Matrix& dv = delta_ ? de_ : du_;
        d.v.array() += dv.all().leftCols(d.v.cols());
        for (Index j = 0; j < chunk_.keys; ++j) {
            const auto row = chunk_.k.row(j);
            auto to = d.k.row(j);
            features_backward(features_, row.head(d_).array(), dk_.row(j).head(d_), to.head(d_).array());
            const auto dlog = decay_->log_gradient.row(j).head(d_);
            if (decays_ == 1) to(d_) += decay_backward(gates_, row(d_), dlog.sum());
            for (Index c = 0; decays_ > 1 && c < decays_; ++c)
                to(d_ + c) += decay_backward(gates_, row(d_ + c), dlog(c));
            if (delta_) to(d_ + decays_) += beta_backward(gates_, row(d_ + decays_), dbeta_[j]);
        }
    }
    const MixerChunk<C>& chunk_;
    Index d_, decays_;
    bool delta_;
    KeyGates gates_;
    FeatureMap features_;
    C scale_;
    C *ones_, *beta_, *dbeta_;
    Matrix k_, kt_, u_, x_, e_, within_, q_, y_, s_, state_, state_t_, ut_, dstate_, dstate_t_, dk_, du_, de_, ds_, dx_;
    std::optional<ChunkDecay<C>> decay_;
    std::size_t bytes_ = 0;
};

/// The scratch memory of chunks of at most so many keys and queries.
template <class C>
std::size_t linear_chunk_bytes(const auto& mixer, const Shape& most, Pass pass) {
    const MixerChunk<C> chunk{.keys = most.keys, .queries = most.queries};
    return LinearChunk<C>(mixer, chunk, most.d_q, most.d_v, pass, nullptr).bytes();
}

}  // namespace attend::detail
