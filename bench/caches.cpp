// One query of each of 32 heads over the caches of 8 key/value heads: a step of a service, but for its projections.
// `peak_fraction` is the share of the speed at which memory of the cache's size is only read; `times_float` how many
// times as long it takes as a contiguous cache of floats, and `times_contiguous` as a contiguous one of its own type.

#include <attend/attend.hpp>

#include <memory>
#include <string>

#include <measure.hpp>
#include <peak.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

namespace attend::bench {
namespace {

constexpr Index query_heads = 32, kv_heads = 8, d = 128;

struct Tokens {
    RowMatrix<float> q, k, v;

    explicit Tokens(Index keys) {
        Random random(1);
        q = test::random_matrix<float>(random, 1, query_heads * d, 1.7);
        k = test::random_matrix<float>(random, keys, kv_heads * d, 1.7);
        v = test::random_matrix<float>(random, keys, kv_heads * d);
    }
};

template <class Stored>
struct Contiguous {
    KvCache<float, Stored> cache;
    explicit Contiguous(Index keys) : cache({.heads = kv_heads, .d_k = d, .capacity = keys}) {}
};
template <class Stored>
struct Ring {
    RingCache<float, Stored> cache;
    explicit Ring(Index keys) : cache({.heads = kv_heads, .d_k = d, .keys = keys}) {}
};
template <class Stored>
struct Paged {
    PagePool<float, Stored> pool;
    PagedCache<float, Stored> cache;
    explicit Paged(Index keys) : pool({.heads = kv_heads, .d_k = d, .pages = (keys + 127) / 128}), cache(pool, {}) {}
};

/// A cache that holds the keys of one call, beside one of floats and a contiguous one of its type.
template <template <class> class Store, class Stored>
struct Call {
    Tokens x;
    Store<Stored> store;
    Contiguous<Stored> contiguous;
    Contiguous<float> floats;
    RowMatrix<float> out{1, query_heads* d};
    Workspace workspace;
    int threads;

    Call(Index keys, int threads_) : x(keys), store(keys), contiguous(keys), floats(keys), threads(threads_) {
        store.cache.append(x.k, x.v), contiguous.cache.append(x.k, x.v), floats.cache.append(x.k, x.v);
    }
    void over(const auto& cache) {
        scaled_dot_product(heads(x.q, query_heads), cache, heads(out, query_heads),
                           {.workspace = &workspace, .executor = openmp(threads)});
    }
    void run() { over(store.cache); }
    /// Whether the cache gives what the keys and values give that it holds.
    bool agrees() {
        run();
        const RowMatrix<float> over_cache = out;
        RowMatrix<float> k = x.k, v = x.v, right(1, query_heads * d);
        std::vector<float> room(static_cast<std::size_t>(x.k.rows() * d));
        for (Index h = 0; h < kv_heads; ++h) {
            const auto take = [&](RowMatrix<float>& to, const RowBlock<float>& rows) {
                for (Index j = 0; j < rows.rows; ++j)
                    to.row(j).segment(h * d, d) = Eigen::Map<const Eigen::RowVectorXf>(rows.row(j), d);
            };
            take(k, store.cache.key_rows(0, h, 0, x.k.rows(), room.data()));
            take(v, store.cache.value_rows(0, h, 0, x.k.rows(), room.data()));
        }
        scaled_dot_product(heads(x.q, query_heads), heads(k, kv_heads), heads(v, kv_heads), heads(right, query_heads));
        return test::distance(over_cache, right) <= 1e-5;
    }
};

/// What `make` makes for that name, once for the several times that a benchmark is called; what was made for another is
/// gone then: the large ones hold a gigabyte.
struct Made {
    std::string name;
    std::shared_ptr<void> it;
} made;
template <class Type, class Make>
std::shared_ptr<Type> made_for(const std::string& name, Make&& make) {
    if (made.name != name) made.it.reset(), made = {name, make()};
    return std::static_pointer_cast<Type>(made.it);
}

template <template <class> class Store, class Stored>
void add(const std::string& store, const std::string& type, Index keys, int threads) {
    const std::string name =
        "cache/" + store + "_" + type + "/h32_kv8_q1_k" + std::to_string(keys) + "_d128/t" + std::to_string(threads);
    add_benchmark(name, [=](benchmark::State& state) {
        using ThisCall = Call<Store, Stored>;
        std::shared_ptr<ThisCall> call =
            made_for<ThisCall>(name, [&] { return std::make_shared<ThisCall>(keys, threads); });
        if (!call->agrees()) return state.SkipWithError("wrong: a cache gives another output than what it holds");
        const double seconds = timed(state, [&] { call->run(); });
        const auto numbers = static_cast<std::size_t>(2 * keys * kv_heads * d);
        const std::size_t bytes = numbers * sizeof(Stored) / static_cast<std::size_t>(numbers_in<Stored>);
        state.counters["peak_fraction"] = static_cast<double>(bytes) / seconds / bytes_per_second(bytes, threads);
        name_bandwidth<Stored>(state);
        if (type != "f32") {
            state.counters["times_float"] =
                times_as_long([&] { call->run(); }, [&] { call->over(call->floats.cache); });
        }
        if (store != "contiguous") {
            state.counters["times_contiguous"] =
                times_as_long([&] { call->run(); }, [&] { call->over(call->contiguous.cache); });
        }
    });
}
template <template <class> class Store>
void add_types(const std::string& store, Index keys, int threads) {
    add<Store, float>(store, "f32", keys, threads);
    add<Store, Eigen::bfloat16>(store, "bf16", keys, threads);
    add<Store, Eigen::half>(store, "f16", keys, threads);
    add<Store, std::int8_t>(store, "i8", keys, threads);
    add<Store, Float8E4M3>(store, "e4m3", keys, threads);
    add<Store, Float8E5M2>(store, "e5m2", keys, threads);
    add<Store, Int4>(store, "i4", keys, threads);
}

const bool added = [] {
    for (const Index keys : {512, 4096, 32768}) {
        add_types<Contiguous>("contiguous", keys, 1);
        add_types<Ring>("ring", keys, 1);
        add_types<Paged>("paged", keys, 1);
    }
    add_types<Contiguous>("contiguous", 4096, 2);
    add_types<Paged>("paged", 4096, 2);
    return true;
}();

}  // namespace
}  // namespace attend::bench
