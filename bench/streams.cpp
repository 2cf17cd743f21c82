// Blocks in service, beside their caches. `stream_step`: the next frame of an endless stream; `times_projections` is
// how many times as long it takes as the block's four projections alone, `worst_us` the longest of 10 000 steps.
// `prefill`: a prompt, of all rows and of the last alone; `times_forward` compares it with the block's call on the same
// rows. `ragged`: sequences of uniformly distributed lengths without padding; `times_faster` than padded ones whose
// lengths a mask says.

#include <attend/attend.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <measure.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>

namespace attend::bench {
namespace {

using Causal = decltype(scaled_dot_product >> causal);
using Block = MultiHeadAttention<float, Causal>;

struct Stream {
    Block block = multi_head<float>({.d_model = 64, .heads = 4}, scaled_dot_product >> causal, 1);
    RingCache<float> ring{{.heads = 4, .d_k = 16, .keys = 64}};
    RowMatrix<float> x, y, projected{1, 64};
    Block::Tape tape;
    Workspace workspace;
    PackedProjections<float> packed = block.pack();
    bool packs;

    explicit Stream(bool packs_) : packs(packs_) {
        Random random(2);
        x = test::random_matrix<float>(random, 1, 64);
        for (int i = 0; i < 200; ++i) step();
    }
    void step() {
        block.step(x, ring, y, {.workspace = &workspace, .tape = &tape, .packed = packs ? &packed : nullptr});
    }
    void projections() {
        const auto project = [&](const auto& weight, const auto& bias, const auto& packed_weight) {
            detail::linear(x, weight, bias, projected, serial, packs ? &packed_weight : nullptr);
            benchmark::ClobberMemory();
        };
        project(block.query_weight, block.query_bias, packed.query());
        project(block.key_weight, block.key_bias, packed.key());
        project(block.value_weight, block.value_bias, packed.value());
        project(block.output_weight, block.output_bias, packed.output());
    }
};

void add_stream(const std::string& what, bool packs) {
    add_benchmark("stream_step/f32_" + what + "/d64_h4_ring64/t1",
                  [=, stream = std::shared_ptr<Stream>()](benchmark::State& state) mutable {
                      if (stream == nullptr) stream = std::make_shared<Stream>(packs);
                      timed(state, [&] { stream->step(); });
                      constexpr int steps = 1000;  // so short that a clock would be in the way
                      const auto many = [](auto&& f) {
                          return [&f] {
                              for (int i = 0; i < steps; ++i) f();
                          };
                      };
                      const auto step = [&] { stream->step(); };
                      const auto projections = [&] { stream->projections(); };
                      state.counters["times_projections"] = times_as_long(many(step), many(projections));
                      double worst = 0;
                      for (int i = 0; i < 10'000; ++i) worst = std::max(worst, seconds_of(step));
                      state.counters["worst_us"] = 1e6 * worst;
                  });
}

struct Prompt {
    static constexpr Index n = 1024;
    Block block = multi_head<float>({.d_model = 512, .heads = 8}, scaled_dot_product >> causal, 1);
    KvCache<float> cache{{.heads = 8, .d_k = 64, .capacity = n}};
    RowMatrix<float> x, y{n, 512}, last{1, 512};
    Block::Tape tape, forward_tape;
    Workspace workspace;

    Prompt() {
        Random random(3);
        x = test::random_matrix<float>(random, n, 512);
    }
    void forward() { block.forward(x, y, {.workspace = &workspace, .tape = &forward_tape}); }
    void step() {
        cache.truncate(0);
        block.step(x, cache, y, {.workspace = &workspace, .tape = &tape});
    }
    void prefill() {
        cache.truncate(0);
        block.prefill(x, cache, last, {.workspace = &workspace, .tape = &tape});
    }
    bool agrees() {
        forward();
        const RowMatrix<float> right = y;
        step(), prefill();
        return test::distance(y, right) <= 1e-5 && test::distance(last, RowMatrix<float>(right.bottomRows(1))) <= 1e-5;
    }
};

template <class Run>
void add_prompt(const std::string& rows, Run run) {
    add_benchmark("prefill/f32_" + rows + "/d512_h8_n1024/t1",
                  [=, prompt = std::shared_ptr<Prompt>()](benchmark::State& state) mutable {
                      if (prompt == nullptr) {
                          prompt = std::make_shared<Prompt>();
                          if (!prompt->agrees()) return state.SkipWithError("wrong: a prompt gives another result");
                      }
                      timed(state, [&] { run(*prompt); });
                      state.counters["times_forward"] =
                          times_as_long([&] { run(*prompt); }, [&] { prompt->forward(); });
                  });
}

struct Ragged {
    static constexpr Index count = 32, longest = 256, query_heads = 8, d = 64;
    std::vector<Index> offsets{0}, lengths_of;
    RowMatrix<float> q, k, v, out, padded_q, padded_k, padded_v, padded_out;
    Workspace workspace;

    Ragged() {
        Random random(4);
        for (Index s = 0; s < count; ++s) {
            lengths_of.push_back(1 + (s * longest) / count + longest / (2 * count));
            offsets.push_back(offsets.back() + lengths_of.back());
        }
        const auto make = [&](RowMatrix<float>& x, RowMatrix<float>& padded) {
            x = test::random_matrix<float>(random, offsets.back(), query_heads * d, 1.7);
            padded.setZero(count * longest, query_heads * d);
            for (std::size_t s = 0; s < lengths_of.size(); ++s) {
                padded.middleRows(static_cast<Index>(s) * longest, lengths_of[s]) =
                    x.middleRows(offsets[s], lengths_of[s]);
            }
        };
        make(q, padded_q), make(k, padded_k), make(v, padded_v);
        out.setZero(q.rows(), q.cols()), padded_out.setZero(padded_q.rows(), padded_q.cols());
    }
    void ragged() {
        scaled_dot_product(heads(q, query_heads), heads(k, query_heads), heads(v, query_heads), heads(out, query_heads),
                           {.workspace = &workspace, .sequences = sequences(offsets)});
    }
    void padded() {
        const auto view = [](auto& x) {
            return strided(x.data(), {count, query_heads, longest, d},
                           {longest * query_heads * d, d, query_heads * d, 1});
        };
        (scaled_dot_product >> lengths(lengths_of))(view(padded_q), view(padded_k), view(padded_v), view(padded_out),
                                                    {.workspace = &workspace});
    }
    bool agrees() {
        ragged(), padded();
        double most = 0;
        for (std::size_t s = 0; s < lengths_of.size(); ++s) {
            const RowMatrix<float> a = out.middleRows(offsets[s], lengths_of[s]),
                                   b = padded_out.middleRows(static_cast<Index>(s) * longest, lengths_of[s]);
            most = std::max(most, test::distance(a, b));
        }
        return most <= 1e-5;
    }
};

const bool added = [] {
    add_stream("plain", false), add_stream("packed", true);
    add_prompt("all_rows", [](Prompt& prompt) { prompt.step(); });
    add_prompt("last_row", [](Prompt& prompt) { prompt.prefill(); });
    add_benchmark(
        "ragged/f32/b32_h8_n256_d64/t1", [batch = std::shared_ptr<Ragged>()](benchmark::State& state) mutable {
            if (batch == nullptr) {
                batch = std::make_shared<Ragged>();
                if (!batch->agrees())
                    return state.SkipWithError("wrong: a ragged batch gives another output than a padded one");
            }
            timed(state, [&] { batch->ragged(); });
            state.counters["times_faster"] = times_as_long([&] { batch->padded(); }, [&] { batch->ragged(); });
        });
    return true;
}();

}  // namespace
}  // namespace attend::bench
