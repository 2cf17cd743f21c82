// A service that answers one prompt many times: 64 sequences of one query each over a prefix that they share and 16
// keys of their own, by `SharedPrefix`. `times_apart` is how many times as long a call for each of them takes on all
// its keys, of which those of the prefix stand in memory once: as they might in a cache that is truncated.

#include <attend/attend.hpp>

#include <memory>
#include <string>

#include <measure.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

namespace attend::bench {
namespace {

constexpr Index sequences = 64, prefix = 4096, suffix = 16, query_heads = 32, d = 128;

template <class A>
struct Service {
    A attention;
    Index kv_heads;
    KvCache<float> prompt{{.heads = kv_heads, .d_k = d, .capacity = prefix}},
        answers{{.heads = kv_heads, .d_k = d, .capacity = suffix, .sequences = sequences}},
        apart{{.heads = kv_heads, .d_k = d, .capacity = prefix + suffix}};
    RowMatrix<float> q, k, v, out{sequences, query_heads* d};
    SharedPrefix<float> shared;
    Workspace workspace;
    int threads;

    Service(const A& attention_, Index kv_heads_, int threads_)
        : attention(attention_), kv_heads(kv_heads_), threads(threads_) {
        Random random(1);
        q = test::random_matrix<float>(random, sequences, query_heads * d, 1.7);
        k = test::random_matrix<float>(random, sequences * suffix, kv_heads * d, 1.7);
        v = test::random_matrix<float>(random, sequences * suffix, kv_heads * d);
        const RowMatrix<float> keys = test::random_matrix<float>(random, prefix, kv_heads * d, 1.7),
                               values = test::random_matrix<float>(random, prefix, kv_heads * d);
        prompt.append(keys, values);
        apart.append(keys, values);
        for (Index s = 0; s < sequences; ++s)
            answers.append(k.middleRows(s * suffix, suffix), v.middleRows(s * suffix, suffix), s);
    }

    void together() {
        shared(attention, heads(q, query_heads), prompt, answers, out,
               {.workspace = &workspace, .executor = openmp(threads)});
    }
    void each_apart() {
        for (Index s = 0; s < sequences; ++s) {
            apart.truncate(prefix);
            apart.append(k.middleRows(s * suffix, suffix), v.middleRows(s * suffix, suffix));
            attention(heads(q.row(s), query_heads), apart, out.row(s),
                      {.workspace = &workspace, .executor = openmp(threads)});
        }
    }
    bool agrees() {
        each_apart();
        const RowMatrix<float> right = out;
        together();
        return test::distance(out, right) <= 1e-5;
    }
};

template <class A>
void add(const std::string& what, const A& attention, Index kv_heads, int threads) {
    add_benchmark("shared_prefix/f32_" + what + "/h32_kv" + std::to_string(kv_heads) +
                      "_q64_prefix4096_suffix16_d128/t" + std::to_string(threads),
                  [=, service = std::shared_ptr<Service<A>>()](benchmark::State& state) mutable {
                      if (service == nullptr) {
                          service = std::make_shared<Service<A>>(attention, kv_heads, threads);
                          if (!service->agrees())
                              return state.SkipWithError("wrong: a shared prefix gives another output");
                      }
                      timed(state, [&] { service->together(); });
                      state.counters["times_apart"] =
                          times_as_long([&] { service->each_apart(); }, [&] { service->together(); });
                  });
}

const bool added = [] {
    add("causal", scaled_dot_product >> causal, 8, 1);
    add("causal", scaled_dot_product >> causal, 32, 1);
    add("alibi_causal", scaled_dot_product >> alibi(alibi_slopes(query_heads)) >> causal, 8, 1);
    add("causal", scaled_dot_product >> causal, 8, 2);
    return true;
}();

}  // namespace
}  // namespace attend::bench
