#pragma once
/// \file
/// How the keys and queries of a call go through a mixer that takes them in chunks, forward and backward.

#include <algorithm>

#include <attend/core/read_ahead.hpp>
#include <attend/mixer/recurrent_head.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// What a worker holds: the rows of a chunk and their gradients, the mixer's own scratch, a state, and in backward that
/// before every chunk.
template <class C>
class ChunkScratch {
    using Rows = MixerState<C>;

public:
    /// On a null block nothing may be used.
    ChunkScratch(std::byte* block, const auto& mixer, const Shape& shape, Pass pass)
        : state_(mixer.state(shape)), group_(shape.group()), d_q_(shape.d_q), d_k_(shape.d_k), d_v_(shape.d_v) {
        Shape most = shape;
        most.keys = std::min(shape.keys, mixer.chunk_tokens());
        most.queries = std::min(shape.queries, mixer.chunk_tokens());
        const Index keys = most.keys, queries = group_ * most.queries;
        const bool back = pass == Pass::backward;
        Arena arena(block);
        k_ = arena.take<C>(keys * d_k_), v_ = arena.take<C>(keys * d_v_), q_ = arena.take<C>(queries * d_q_);
        out_ = arena.take<C>(queries * d_v_);
        if (back) {
            dk_ = arena.take<C>(keys * d_k_), dv_ = arena.take<C>(keys * d_v_), dq_ = arena.take<C>(queries * d_q_);
        }
        const Index states = back ? 2 + (shape.keys + mixer.chunk_tokens() - 1) / mixer.chunk_tokens() : 1;
        states_ = arena.take<C>(states * state_.rows * state_.columns);
        const std::size_t room = mixer.template chunk_bytes<C>(most, pass);
        room_ = arena.take<std::byte>(static_cast<Index>(room));
        bytes_ = arena.used();
    }
    static std::size_t bytes(const auto& mixer, const Shape& shape, Pass pass) {
        return ChunkScratch(nullptr, mixer, shape, pass).bytes_;
    }

    MixerState<C> state() const { return state_at(0); }
    MixerState<C> gradient() const { return state_at(1); }
    MixerState<C> before(Index chunk) const { return state_at(2 + chunk); }
    std::byte* room() const { return room_; }

    Rows k(Index rows) const { return {k_, rows, d_k_}; }
    Rows v(Index rows) const { return {v_, rows, d_v_}; }
    Rows q(Index rows) const { return {q_, group_ * rows, d_q_}; }
    Rows out(Index rows) const { return {out_, group_ * rows, d_v_}; }
    Rows dk(Index rows) const { return {dk_, rows, d_k_}; }
    Rows dv(Index rows) const { return {dv_, rows, d_v_}; }
    Rows dq(Index rows) const { return {dq_, group_ * rows, d_q_}; }

private:
    MixerState<C> state_at(Index i) const {
        return {states_ + i * state_.rows * state_.columns, state_.rows, state_.columns};
    }

    StateShape state_;
    Index group_, d_q_, d_k_, d_v_;
    C *k_, *v_, *q_, *out_, *dk_ = nullptr, *dv_ = nullptr, *dq_ = nullptr, *states_;
    std::byte* room_;
    std::size_t bytes_ = 0;
};

/// One key/value head of one sequence, chunk by chunk: `chunk_tokens` keys from the first on, cut before each token
/// that must be the first of its chunk, and behind the keys the queries that read the last state.
template <class M, class X>
class ChunkWalk : RecurrentHead<M, X> {
    using C = Compute<X>;
    using Head = RecurrentHead<M, X>;
    using Head::mixer_, Head::k_, Head::v_, Head::queries_, Head::carried_, Head::offset_, Head::group_;
    using Head::problem_, Head::add_rows, Head::for_each_head, Head::key_rows, Head::keys_of, Head::queries;
    static MixerStateIn<C> in(const MixerState<C>& x) { return {x.data(), x.rows(), x.cols()}; }

public:
    using Scratch = ChunkScratch<C>;

    ChunkWalk(const Head& head, const Scratch& scratch) : Head(head), scratch_(scratch) {}

    void forward(const StridedView<X>& out) const {
        MixerState<C> state = carried_ ? this->present() : scratch_.state();
        if (!carried_) state.setZero();
        const Index keys = this->absorbs();
        for_each_head([&](Index head) { queries(out, head).topRows(first_query(0)).setZero(); });
        const auto take = [&](const MixerChunk<C>& chunk, Index query) {
            MixerState<C> rows = scratch_.out(chunk.queries);
            mixer_.mix_chunk(chunk, state, rows, scratch_.room());
            for_each_block(chunk.queries, [&](Index head, Index row) {
                queries(out, head).middleRows(query, chunk.queries) =
                    rows.middleRows(row, chunk.queries).template cast<X>();
            });
        };
        for (Index begin = 0; begin < keys; begin += tokens()) {
            load_keys(begin, std::min(tokens(), keys - begin));
            read_ahead(begin + tokens(), keys, out);
            for_each_piece(begin, std::min(tokens(), keys - begin), [&](Index key, Index count) {
                const Index query = first_query(key);
                take(chunk_of(begin, key, count, query, first_query(key + count) - query), query);
            });
        }
        for_each_behind([&](Index query, Index count) {
            if (keys > 0) return take(chunk_of(0, 0, 0, query, count), query);
            for_each_head([&](Index head) { queries(out, head).middleRows(query, count).setZero(); });
        });
    }

    /// From the last chunk to the first. The states before each are kept from a walk forward; those before the pieces
    /// of one that is cut are made again.
    void backward(const RecurrentGradients<X>& gradients, M* gradient) const {
        const Index keys = this->absorbs();
        if (keys == 0) return;
        MixerState<C> state = scratch_.state(), dstate = carried_ ? this->carried_gradient() : scratch_.gradient();
        this->start(state);
        if (!carried_) dstate.setZero();
        MixerState<C> none = scratch_.out(0);
        const auto absorb = [&](Index begin, Index key, Index count, MixerState<C>& to) {
            mixer_.mix_chunk(chunk_of(begin, key, count, 0, 0), to, none, scratch_.room());
        };
        const Index last = (keys - 1) / tokens() * tokens();
        for (Index begin = 0; begin <= last; begin += tokens()) {
            scratch_.before(begin / tokens()) = state;
            if (begin == last && first_query(keys) == queries_) break;  // nobody reads the state behind it
            load_keys(begin, std::min(tokens(), keys - begin));
            ahead_.soon(some_keys(k_, begin + tokens(), keys), some_keys(v_, begin + tokens(), keys));
            for_each_piece(begin, std::min(tokens(), keys - begin),
                           [&](Index key, Index count) { absorb(begin, key, count, state); });
        }
        const auto take = [&](const MixerChunk<C>& chunk, Index key, Index query) {
            add_gradients(chunk, key, query, state, gradients, dstate, gradient);
        };
        for_each_behind([&](Index query, Index count) { take(chunk_of(0, 0, 0, query, count), 0, query); });
        for (Index begin = last; begin >= 0; begin -= tokens()) {
            const Index count = std::min(tokens(), keys - begin);
            load_keys(begin, count);
            read_ahead(begin - tokens(), keys, gradients.dout, gradients.dq);
            ahead_.later(some_keys(key_rows(gradients.dk), begin - tokens(), keys),
                         some_keys(key_rows(gradients.dv), begin - tokens(), keys));
            for (Index end = begin + count; end > begin;) {
                Index key = begin, length = 0;
                state = scratch_.before(begin / tokens());
                for_each_piece(begin, end - begin, [&](Index next, Index n) {
                    if (length > 0) absorb(begin, key, length, state);
                    key = next, length = n;
                });
                const Index query = first_query(key);
                take(chunk_of(begin, key, length, query, first_query(end) - query), key, query);
                end = key;
            }
        }
    }

private:
    Index tokens() const { return mixer_.chunk_tokens(); }
    /// The first query that stands at a key, or behind it: of causal ones.
    Index first_query(Index key) const { return mixer_.causal ? std::clamp<Index>(key - offset_, 0, queries_) : 0; }
    /// Calls `f(query, count)` for those that read the last state: behind all keys, or of a mixer that is not causal.
    template <class F>
    void for_each_behind(const F& f) const {
        for (Index query = first_query(this->absorbs()); query < queries_; query += tokens())
            f(query, std::min(tokens(), queries_ - query));
    }
    void load_keys(Index begin, Index count) const {
        scratch_.k(count) = k_.middleRows(begin, count).template cast<C>();
        scratch_.v(count) = v_.middleRows(begin, count).template cast<C>();
    }
    /// Calls `f(key, count)` for the pieces of keys that are loaded, `begin` and those behind it.
    template <class F>
    void for_each_piece(Index begin, Index count, const F& f) const {
        const auto k = scratch_.k(count), v = scratch_.v(count);
        Index from = 0;
        for (Index j = 1; j <= count; ++j) {
            if (j < count && !mixer_.begins_chunk(MixerRowIn<C>(k.row(j).data(), k.cols()),
                                                  MixerRowIn<C>(v.row(j).data(), v.cols())))
                continue;
            f(begin + from, j - from);
            from = j;
        }
    }
    /// So many keys from one on, of those that are loaded from `begin` on, and queries.
    MixerChunk<C> chunk_of(Index begin, Index key, Index keys, Index query, Index count) const {
        MixerState<C> q = scratch_.q(count);
        for_each_block(count, [&](Index head, Index row) {
            q.middleRows(row, count) = queries(problem_.q, head).middleRows(query, count).template cast<C>();
        });
        const auto k = scratch_.k(keys), v = scratch_.v(keys);
        const Index from = key - begin;
        return {.keys = keys,
                .queries = count,
                .first = keys > 0 && count > 0 ? query + offset_ - key : 0,
                .heads = group_,
                .k = {k.data() + from * k.cols(), keys, k.cols()},
                .v = {v.data() + from * v.cols(), keys, v.cols()},
                .q = in(q),
                .ahead = &ahead_};
    }
    void add_gradients(const MixerChunk<C>& chunk, Index key, Index query, const MixerState<C>& before,
                       const RecurrentGradients<X>& to, MixerState<C>& dstate, M* gradient) const {
        const Index count = chunk.queries;
        MixerState<C> dout = scratch_.out(count);
        for_each_block(count, [&](Index head, Index row) {
            dout.middleRows(row, count) = queries(to.dout, head).middleRows(query, count).template cast<C>();
        });
        MixerChunkGradients<C> d{scratch_.dq(count), scratch_.dk(chunk.keys), scratch_.dv(chunk.keys)};
        d.q.setZero(), d.k.setZero(), d.v.setZero();
        mixer_.mix_chunk_backward(chunk, in(before), in(dout), dstate, d, gradient, scratch_.room());
        for_each_block(
            count, [&](Index head, Index row) { add_rows(d.q.middleRows(row, count), queries(to.dq, head), query); });
        add_rows(d.k, key_rows(to.dk), key), add_rows(d.v, key_rows(to.dv), key);
    }
    /// Calls `f(head, row)` for the heads that read the state, whose rows stand below each other.
    template <class F>
    void for_each_block(Index rows, const F& f) const {
        Index row = 0;
        for_each_head([&](Index head) {
            f(head, row);
            row += rows;
        });
    }
    auto some_keys(const auto& rows, Index begin, Index keys) const {
        const Index from = std::clamp<Index>(begin, 0, keys);
        return rows.middleRows(from, std::clamp<Index>(begin + tokens(), 0, keys) - from);
    }
    /// The next chunk's rows, of its queries also those of these.
    void read_ahead(Index begin, Index keys, const auto&... of_queries) const {
        ahead_.soon(some_keys(k_, begin, keys), some_keys(v_, begin, keys));
        const Index from = first_query(std::clamp<Index>(begin, 0, keys)),
                    count = first_query(std::clamp<Index>(begin + tokens(), 0, keys)) - from;
        for_each_head([&](Index head) {
            ahead_.later(queries(problem_.q, head).middleRows(from, count),
                         queries(of_queries, head).middleRows(from, count)...);
        });
    }

    const Scratch& scratch_;
    mutable ReadAhead ahead_;
};

}  // namespace attend::detail
