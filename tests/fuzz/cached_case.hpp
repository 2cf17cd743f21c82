#pragma once
/// \file
/// One case whose keys and values are those of a cache. The oracle's are the numbers that the cache holds then.

#include <fuzz/caches.hpp>
#include <fuzz/run_case.hpp>

namespace fuzz {

/// Takes in the gradients of a cache's rows. Tiles that come at once have rows of their own.
template <class T>
class CachedGradients {
public:
    template <class X>
    explicit CachedGradients(Setup<X>& s) : begin_(s.key_begin), dk_(s.cached_dk), dv_(s.cached_dv) {}
    void add(Index sequence, Index head, Index begin, const attend::RowBlock<T>& dk, const attend::RowBlock<T>& dv) {
        const auto add_to = [&](Placed<T>& to, const attend::RowBlock<T>& rows) {
            for (Index i = 0; i < rows.rows; ++i) {
                for (Index a = 0; a < rows.columns; ++a)
                    to(begin_[oracle::at(sequence)] + begin + i, head, a) += rows.row(i)[a];
            }
        };
        add_to(dk_, dk), add_to(dv_, dv);
    }

private:
    const std::vector<Index>& begin_;
    Placed<T>&dk_, &dv_;
};

/// A case as one of a cache can be: the cache says where queries stand, and its keys are as wide as features.
inline Case cached(Case x) {
    x.offset = 0, x.hidden = x.d_k;
    return x;
}

template <class X, class Make>
oracle::Attention cached_oracle_of(const Case& x) {
    Maker<X> maker(cached(x));
    Make()(maker);
    oracle::Attention attention = maker.oracle();
    attention.score = std::make_shared<oracle::OfFeatures>(attention.score);
    return attention;
}

template <class X, class Held, class Make>
std::string run_cached_case(const Case& given, const Wants& wants, Statistics& statistics) {
    const Case x = cached(given);
    Maker<X> maker(x);
    const auto attention = Make()(maker);
    const oracle::Attention right = cached_oracle_of<X, Make>(x);
    Setup<X> setup(x, wants, right, place_keys<Held>);
    try {
        Held held(x);
        History<Held>(x, held, setup.call).run();
        setup.complain(read_back(held, setup.call));
        setup.expect(right);
        call_forward(attention, setup,
                     [&](auto out, auto& options) { attention(setup.q.input(), held.cache, out, options); });
        // Keys at positions of their own serve forward calls alone.
        if constexpr (requires { held.cache.position(Index(), Index()); }) {
            setup.trains = false;
        } else {
            CachedGradients<typename Held::T> gradients(setup);
            call_backward(attention, setup, [&](auto& options) {
                attention.backward(setup.q.input(), held.cache, setup.out.input(), setup.lse.input(),
                                   setup.dout.input(), setup.dq.view(), gradients, options);
            });
        }
    } catch (const std::exception& error) {
        return std::string("threw: ") + error.what();
    }
    setup.check(statistics);
    return setup.complaint;
}

/// `add_cached<float, Kv<float, std::int8_t>>("dot", {}, [](auto& m) { return m.dot(); });`
template <class X, class Held, class Make>
void add_cached(const char* name, const Wants& wants, Make) {
    compositions().push_back({std::string(name_of<X>()) + " on caches/" + Held::name + " of " +
                                  name_of_stored<typename Held::Stored>() + "/" + name,
                              wants, run_cached_case<X, Held, Make>, cached_oracle_of<X, Make>, place_keys<Held>});
}

inline constexpr Wants of_caches{}, two_widths_of_caches{.two_widths = true};

// Every part of a kernel that reads keys meets a cache: masks, positions, features, rows of scores.
template <class X, class Held>
void add_causal() {
    add_cached<X, Held>("scaled>>alibi of heads>>causal", of_caches, [](auto& m) {
        auto a = m.scaled() >> m.alibi_of_heads();
        return a >> m.mask(m.causal());
    });
}
template <class X, class Held>
void add_window() {
    add_cached<X, Held>("general>>cap>>causal&window>>sink", two_widths_of_caches, [](auto& m) {
        auto a = m.general() >> m.soft_cap();
        auto b = a >> m.mask(m.causal() & m.window());
        return b >> m.sink();
    });
}
template <class X, class Held>
void add_features() {
    add_cached<X, Held>("cosine>>relative bias>>lengths", of_caches, [](auto& m) {
        auto a = m.cosine() >> m.relative_bias(true);
        return a >> m.mask(m.lengths());
    });
}
template <class X, class Held>
void add_additive() {
    add_cached<X, Held>("additive>>prefix", two_widths_of_caches, [](auto& m) {
        auto a = m.additive();
        return a >> m.mask(m.prefix());
    });
}
template <class X, class Held>
void add_rows_of_scores() {
    add_cached<X, Held>("dot>>scale>>entmax15", of_caches, [](auto& m) {
        auto a = m.dot() >> m.scale();
        return a >> m.entmax15();
    });
}
template <class X, class Held>
void add_sigmoid() {
    add_cached<X, Held>("scaled>>two-sided window>>sigmoid", of_caches, [](auto& m) {
        auto a = m.scaled() >> m.mask(m.two_sided_window());
        return a >> m.sigmoid();
    });
}

}  // namespace fuzz
