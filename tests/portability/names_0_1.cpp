// The public names of release 0.1, as a program of that time uses them: what stands here compiles in every later
// release of the same major version, or the release that breaks it says so. Only compiled.
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <attend/attend.hpp>
#include <attend/interchange/llama_names.hpp>
#include <attend/interchange/safetensors.hpp>
#include <attend/interchange/torch_extra_keys.hpp>
#include <attend/interchange/torch_masks.hpp>
#include <attend/interchange/torch_names.hpp>

namespace names_0_1 {

// Types.
using attend::AdaptiveSpan, attend::AdditiveAttention, attend::AdditiveScore, attend::Alibi, attend::Along,
    attend::Attention, attend::AttentionState, attend::BackwardOptions, attend::BiasView, attend::BlockCall,
    attend::BlockSelection, attend::BlockSparse, attend::Border, attend::CacheAsMemory, attend::Causal,
    attend::ChosenWeights, attend::Chunked, attend::ColumnSums, attend::ColumnVector, attend::CompiledMask,
    attend::Compute, attend::ComputeType, attend::CosineAttention, attend::CosineScore, attend::Cover, attend::Decay,
    attend::DecoderBackwardOptions, attend::DecoderOptions, attend::DefaultSoftmax, attend::DenseBias,
    attend::DenseMask, attend::DenseMaskView, attend::Dilated, attend::Documents, attend::DotProductAttention,
    attend::DotScore, attend::Dropout, attend::Dual, attend::Entmax15, attend::Everything, attend::Fastest,
    attend::FeatureMap, attend::ForwardOptions, attend::GeneralAttention, attend::GeneralScore, attend::GridRadius,
    attend::GridSize, attend::GroupScores, attend::HeadBlocks, attend::History, attend::Insight, attend::KeyGates,
    attend::KeyLanePosition, attend::KeySpan, attend::Kind, attend::KvCache, attend::KvCacheShape, attend::LambdaMask,
    attend::LambdaModifier, attend::LambdaScore, attend::LaneIndex, attend::LaneIndices, attend::LaneMask,
    attend::LaneOperand, attend::LanePosition, attend::LaneScores, attend::Lanes, attend::LargestScore, attend::Lengths,
    attend::LinearAttention, attend::ListedRows, attend::Llama3, attend::LocalCentres, attend::LocalP,
    attend::LocationDecoder, attend::LocationScore, attend::LocationSensitiveAttention, attend::LocationShape,
    attend::LogSoftmax, attend::LogSumExp, attend::MaskAnd, attend::MaskNot, attend::MaskOr, attend::MeanWeights,
    attend::MemoryGradients, attend::MixerChunk, attend::MixerChunkGradients, attend::MixerRow, attend::MixerRowIn,
    attend::MixerState, attend::MixerStateIn, attend::Modifiers, attend::MultiHeadAttention,
    attend::MultiHeadBackwardOptions, attend::MultiHeadCall, attend::MultiHeadChecks, attend::MultiHeadMemory,
    attend::MultiHeadOnCache, attend::MultiHeadOnMemory, attend::MultiHeadOnSource, attend::MultiHeadOptions,
    attend::MultiHeadProjections, attend::MultiHeadRecurrence, attend::MultiHeadShape, attend::MultiHeadSteps,
    attend::MultiHeadTape, attend::MultiHeadWeights, attend::Neighbourhood, attend::OpenMPExecutor, attend::Output,
    attend::OutputGate, attend::PackedProjections, attend::PagePool, attend::PagePoolShape, attend::PagedCache,
    attend::PagedCacheShape, attend::PairPosition, attend::Pairing, attend::Pass, attend::Plain, attend::Position,
    attend::Prefix, attend::PrefixedCache, attend::Prepared, attend::ProductOptions, attend::QueryPositions,
    attend::QueryRows, attend::Random, attend::Recurrent, attend::RecurrentCache, attend::RecurrentCacheShape,
    attend::RelativeBias, attend::RelativeBuckets, attend::RingCache, attend::RingCacheShape, attend::RmsNorm,
    attend::RmsNormAttention, attend::RmsNormScore, attend::Rollout, attend::Rope, attend::RopeLayout, attend::RowBlock,
    attend::RowColumnBias, attend::RowEntropy, attend::RowMatrix, attend::RowOperand, attend::RowPosition,
    attend::RowScores, attend::Safetensors, attend::Scale, attend::ScaledDotProductAttention, attend::ScaledDotScore,
    attend::ScaledRows, attend::ScoreStrides, attend::SeenLaneScores, attend::Sequences, attend::SerialExecutor,
    attend::Shape, attend::SharedPrefix, attend::Sigmoid, attend::SlidingWindow, attend::SoftCap, attend::Softmax,
    attend::SoftmaxFold, attend::SoftmaxState, attend::SoftmaxWithSink, attend::Sparsemax, attend::SplitKeys,
    attend::StateShape, attend::StridedMatrix, attend::StridedView, attend::TensorInfo, attend::TensorNames,
    attend::TensorNotes, attend::TensorPlace, attend::ThreadPoolExecutor, attend::Tile, attend::TopK, attend::TopKeys,
    attend::TorchAddedMask, attend::TorchExtraKeys, attend::TorchExtraKeysShape, attend::TorchKeyPaddingMask,
    attend::Tree, attend::WeightsChoice, attend::WeightsShape, attend::WeightsTile, attend::Workspace, attend::Yarn,
    attend::YarnRamp;

// Objects and functions.
using attend::causal, attend::columnwise, attend::dot_product, attend::entmax15, attend::linear_attention,
    attend::log_softmax, attend::logsumexp, attend::rowwise, attend::scaled_dot_product, attend::serial,
    attend::softmax, attend::sparsemax, attend::version, attend::abs, attend::adaptive_span, attend::alibi,
    attend::alibi_slopes, attend::as_memory, attend::best_blocks, attend::bias, attend::block_sparse,
    attend::chosen_weights, attend::chunked, attend::column_bias, attend::column_sums, attend::compiled, attend::cos,
    attend::cosine, attend::cover_of, attend::coverage_attention, attend::delta_rule, attend::dense_mask,
    attend::dilated, attend::documents, attend::exp, attend::exponentials, attend::fill_xavier,
    attend::gated_delta_rule, attend::gated_linear_attention, attend::grid_positions, attend::heads, attend::join_keys,
    attend::largest_score, attend::lengths, attend::llama_names, attend::load_safetensors, attend::local_p, attend::log,
    attend::madd, attend::mask, attend::max, attend::mean_weights, attend::merge, attend::min, attend::modifier,
    attend::multi_head, attend::neighbourhood, attend::openmp, attend::pow, attend::prefix, attend::query_rows,
    attend::reciprocal, attend::recurrent, attend::relative_bias, attend::rollout, attend::rotate, attend::row_bias,
    attend::row_column_bias, attend::row_entropy, attend::save_safetensors, attend::scale, attend::score,
    attend::select, attend::select_blocks, attend::sequences, attend::sigmoid, attend::sin, attend::sinusoidal,
    attend::sliding_window, attend::soft_cap, attend::softmax_with_sink, attend::split_keys, attend::sqrt,
    attend::strided, attend::sum, attend::t5_bucket, attend::tanh, attend::thread_pool, attend::top_k, attend::top_keys,
    attend::torch_attn_mask, attend::torch_extra_keys, attend::torch_key_padding_mask, attend::torch_names,
    attend::tree, attend::visit_parameters, attend::without, attend::zero_gradient;

// Values of enumerations.
constexpr bool has_values() {
    {
        using attend::Along;
        for ([[maybe_unused]] const auto value : {Along::rows, Along::columns}) {
        }
    }
    {
        using attend::BlockCall;
        for ([[maybe_unused]] const auto value : {BlockCall::self, BlockCall::memory, BlockCall::memories,
                                                  BlockCall::prepared, BlockCall::source, BlockCall::step}) {
        }
    }
    {
        using attend::Border;
        for ([[maybe_unused]] const auto value : {Border::cut, Border::shift}) {
        }
    }
    {
        using attend::Cover;
        for ([[maybe_unused]] const auto value : {Cover::none, Cover::some, Cover::all}) {
        }
    }
    {
        using attend::Decay;
        for ([[maybe_unused]] const auto value : {Decay::none, Decay::head, Decay::feature}) {
        }
    }
    {
        using attend::FeatureMap;
        for ([[maybe_unused]] const auto value : {FeatureMap::plain, FeatureMap::elu, FeatureMap::unit}) {
        }
    }
    {
        using attend::HeadBlocks;
        for ([[maybe_unused]] const auto value : {HeadBlocks::side_by_side, HeadBlocks::below_each_other}) {
        }
    }
    {
        using attend::History;
        for ([[maybe_unused]] const auto value : {History::previous, History::sum}) {
        }
    }
    {
        using attend::KeyGates;
        for ([[maybe_unused]] const auto value : {KeyGates::given, KeyGates::logits}) {
        }
    }
    {
        using attend::Kind;
        for ([[maybe_unused]] const auto value :
             {Kind::score, Kind::modifier, Kind::mask, Kind::normalizer, Kind::engine, Kind::source, Kind::attention}) {
        }
    }
    {
        using attend::OutputGate;
        for ([[maybe_unused]] const auto value : {OutputGate::none, OutputGate::elementwise, OutputGate::headwise}) {
        }
    }
    {
        using attend::Pairing;
        for ([[maybe_unused]] const auto value : {Pairing::dot, Pairing::elementwise}) {
        }
    }
    {
        using attend::Pass;
        for ([[maybe_unused]] const auto value : {Pass::forward, Pass::weights, Pass::insight, Pass::backward}) {
        }
    }
    {
        using attend::RopeLayout;
        for ([[maybe_unused]] const auto value : {RopeLayout::half_split, RopeLayout::interleaved}) {
        }
    }
    {
        using attend::YarnRamp;
        for ([[maybe_unused]] const auto value : {YarnRamp::pairs, YarnRamp::turns}) {
        }
    }
    return true;
}
static_assert(has_values());

// Fields, in their order.
inline void has_fields() {
    static_cast<void>(AdaptiveSpan<double>{.span = {}, .ramp = {}});
    static_cast<void>(Alibi<double>{.slope = {}});
    static_cast<void>(BackwardOptions<ScaledDotProductAttention>{.workspace = {},
                                                                 .executor = serial,
                                                                 .gradient = {},
                                                                 .dlse = {},
                                                                 .dweights = {},
                                                                 .query_offset = {},
                                                                 .query_positions = {},
                                                                 .sequences = {},
                                                                 .key_sequences = {},
                                                                 .dropout = {}});
    static_cast<void>(BlockSelection{.query_block = {}, .key_block = {}, .keep = {}, .causal = {}, .query_offset = {}});
    static_cast<void>(
        BlockSparse{.blocks = {}, .query_block = {}, .key_block = {}, .heads = {}, .sequences = {}, .first = {}});
    static_cast<void>(DecoderBackwardOptions{.workspace = {}, .executor = serial, .dweights = {}});
    static_cast<void>(DecoderOptions<float>{.workspace = {}, .executor = serial, .weights = {}});
    static_cast<void>(DenseBias<float>{.values = {}, .heads = {}});
    static_cast<void>(DenseMask{.keep = {}});
    static_cast<void>(Dropout{.rate = {}, .seed = {}});
    static_cast<void>(ForwardOptions<float>{.workspace = {},
                                            .executor = serial,
                                            .lse = {},
                                            .weights = {},
                                            .weight_rows = {},
                                            .insight = {},
                                            .query_offset = {},
                                            .query_positions = {},
                                            .sequences = {},
                                            .key_sequences = {},
                                            .dropout = {}});
    static_cast<void>(GridRadius{.rows = {}, .columns = {}, .depth = {}});
    static_cast<void>(GridSize{.rows = {}, .columns = {}, .depth = {}});
    static_cast<void>(KeySpan{.begin = {}, .end = {}});
    static_cast<void>(KvCacheShape{.heads = {}, .d_k = {}, .d_v = {}, .capacity = {}, .sequences = {}, .latent = {}});
    static_cast<void>(
        LinearAttention{.causal = {}, .decay = {}, .delta = {}, .gates = {}, .features = {}, .scale = {}});
    static_cast<void>(ListedRows<float>{.list = {}, .rows = {}, .columns = {}});
    static_cast<void>(Llama3{.factor = {}, .original = {}, .low = {}, .high = {}});
    static_cast<void>(LocalP{.centre = {}, .reach = {}, .sequences = {}});
    static_cast<void>(LocationShape{.d_q = {}, .d_k = {}, .hidden = {}, .filters = {}, .radius = {}, .history = {}});
    static_cast<void>(MemoryGradients<float>{.keys = {}, .values = {}});
    static_cast<void>(
        MultiHeadBackwardOptions<MultiHeadAttention<float>>{.workspace = {}, .executor = serial, .gradient = {}});
    static_cast<void>(MultiHeadOptions<float>{.workspace = {},
                                              .executor = serial,
                                              .tape = {},
                                              .weights = {},
                                              .weight_rows = {},
                                              .insight = {},
                                              .query_offset = {},
                                              .sequences = {},
                                              .key_sequences = {},
                                              .dropout = {},
                                              .packed = {}});
    static_cast<void>(MultiHeadShape{.d_model = {},
                                     .heads = {},
                                     .kv_heads = {},
                                     .d_head = {},
                                     .d_key = {},
                                     .d_memory = {},
                                     .d_value_memory = {},
                                     .bias = {},
                                     .rope = {},
                                     .qk_norm = {},
                                     .gate = {}});
    static_cast<void>(PagedCacheShape{.sequences = {}, .capacity = {}});
    static_cast<void>(PagePoolShape{.heads = {}, .d_k = {}, .d_v = {}, .pages = {}, .page_keys = {}});
    static_cast<void>(Position{.query = {}, .key = {}, .row = {}, .head = {}, .kv_head = {}, .sequence = {}});
    static_cast<void>(Prefix{.length = {}});
    static_cast<void>(RecurrentCacheShape{.heads = {}, .state = {}, .sequences = {}});
    static_cast<void>(RelativeBuckets{.buckets = {}, .max_distance = {}, .bidirectional = {}});
    static_cast<void>(RingCacheShape{.heads = {}, .d_k = {}, .d_v = {}, .keys = {}, .sinks = {}, .sequences = {}});
    static_cast<void>(RmsNorm{.epsilon = {}});
    static_cast<void>(Rope{.layout = {}, .width = {}, .base = {}, .frequencies = {}, .magnitude = {}, .positions = {}});
    static_cast<void>(RowBlock<float>{
        .data = {}, .stride = {}, .rows = {}, .columns = {}, .streams = {}, .ahead = {}, .pass = {}, .passes = {}});
    static_cast<void>(RowColumnBias<float>{.a = {}, .b = {}, .sequences = {}});
    static_cast<void>(RowPosition{.query = {}, .row = {}, .head = {}, .kv_head = {}, .sequence = {}});
    static_cast<void>(Scale<double>{.factor = {}});
    static_cast<void>(Shape{.sequences = {},
                            .heads = {},
                            .kv_heads = {},
                            .queries = {},
                            .keys = {},
                            .d_q = {},
                            .d_k = {},
                            .d_v = {},
                            .query_offset = {},
                            .key_rows = {},
                            .own_positions = {}});
    static_cast<void>(Sigmoid<double>{.bias = {}});
    static_cast<void>(SlidingWindow{.left = {}, .right = {}});
    static_cast<void>(SoftCap{.cap = {}});
    static_cast<void>(SplitKeys<float>{.k = {}, .decay = {}, .beta = {}});
    static_cast<void>(StateShape{.rows = {}, .columns = {}});
    static_cast<void>(StridedMatrix<float>{.data = {}, .row_stride = {}, .depth_stride = {}});
    static_cast<void>(StridedView<float>{.data = {},
                                         .sequences = {},
                                         .heads = {},
                                         .rows = {},
                                         .columns = {},
                                         .sequence_stride = {},
                                         .head_stride = {},
                                         .row_stride = {},
                                         .column_stride = {}});
    static_cast<void>(TensorInfo{.type = {}, .shape = {}, .begin = {}, .end = {}});
    static_cast<void>(TensorNames{.prefix = {}, .place = {}, .ignored = {}, .notes = {}});
    static_cast<void>(TensorPlace{.name = {}, .transposed = {}, .rank = {}});
    static_cast<void>(Tile{.query_begin = {},
                           .query_end = {},
                           .key_begin = {},
                           .key_end = {},
                           .row_begin = {},
                           .head = {},
                           .kv_head = {},
                           .sequence = {}});
    static_cast<void>(TopK{.k = {}});
    static_cast<void>(TorchExtraKeysShape{.bias_kv = {}, .zero_attn = {}});
    static_cast<void>(WeightsChoice{.rows = {}, .heads = {}});
    static_cast<void>(WeightsShape{.sequences = {},
                                   .heads = {},
                                   .kv_heads = {},
                                   .rows = {},
                                   .keys = {},
                                   .parts = {},
                                   .call = {},
                                   .extent_of = {}});
    static_cast<void>(Yarn{.factor = {}, .original = {}, .fast = {}, .slow = {}, .ramp = {}});
}

// Typical calls.
inline void calls() {
    const Eigen::MatrixXf q = Eigen::MatrixXf::Random(8, 4), k = q, v = q;
    Workspace workspace;
    Eigen::MatrixXf out = scaled_dot_product(q, k, v), weights, dq, dk, dv;
    Eigen::VectorXf lse(8);
    const auto attention =
        ScaledDotProductAttention(0.5) >> alibi(0.125f) >> soft_cap(30.f) >> (causal & sliding_window(256));
    auto gradient = zero_gradient(attention);
    auto entropy = row_entropy<float>();
    attention(q, k, v, out,
              {.workspace = &workspace,
               .lse = lse,
               .weights = weights,
               .weight_rows = query_rows({3}),
               .insight = {entropy}});
    attention.backward(q, k, v, out, lse, out, dq, dk, dv, {.workspace = &workspace, .gradient = &gradient});
    visit_parameters(gradient, [](std::string_view, auto& matrix) { matrix *= 2; });
    attention(heads(q, 2), heads(k, 2), heads(v, 2), out, {.sequences = sequences({0, 4, 8})});
    const Eigen::MatrixXf by_strides = attention(strided(q.data(), {1, 1, 8, 4}, {32, 32, 1, 8}), k, v);
    static_cast<void>(
        attention.workspace_bytes({.queries = 8, .keys = 8, .d_q = 4, .d_k = 4, .d_v = 4}, 2, Pass::backward));
    auto memory = attention.prepare(k, v);
    memory(q, out, {.workspace = &workspace, .lse = lse});
    memory.backward(q, out, lse, out, dq);
    memory.add_gradients(dk, dv, &gradient);
    AttentionState<float> state = attention.state(q, k, v);
    state.merge(attention.state(q, k, v, {.query_offset = -8}));

    const auto masked = cosine(10) >> modifier([](auto s, auto p) { return s - decltype(s)(p.query - p.key); }) >>
                        (mask([](Position p) { return p.key % 2 == 0; }) | prefix(3) | ~lengths({4})) >> top_k(3);
    static_cast<void>(masked);
    static_cast<void>(score([](auto a, auto b) { return -(a - b) * (a - b); }) >>
                      compiled(causal, {.queries = 8, .keys = 8}) >> softmax_with_sink(0.5));
    static_cast<void>(AdditiveAttention<double>(4, 4, 6, 1) >> scale(2) >> adaptive_span(3, 2) >> sigmoid(-1) >>
                      Fastest{});
    static_cast<void>(GeneralAttention<Eigen::half>(4, 4, 1) >> bias(q) >>
                      relative_bias(q, {.buckets = 8, .max_distance = 20}) >> row_column_bias(q, q) >>
                      local_p(q, 3.0) >> sparsemax);
    static_cast<void>(RmsNormAttention<float>(4, RmsNorm{}, 0.5) >> entmax15);

    MultiHeadTape<float> tape;
    auto block = multi_head<float>({.d_model = 4, .heads = 2, .rope = Rope::linear(2, 4)}, attention, 1);
    auto block_gradient = zero_gradient(block);
    RowMatrix<float> y = block(q), dx;
    block.forward(q, y, {.workspace = &workspace, .tape = &tape});
    block.backward(tape, y, dx, {.workspace = &workspace, .gradient = &block_gradient});
    y = block(q, k);
    y = block(q, k, v);
    const auto packed = block.pack();
    block.forward(q, y, {.packed = &packed});
    KvCache<float> cache({.heads = 2, .d_k = 2, .capacity = 16});
    block.prefill(q, cache, y, {.workspace = &workspace, .tape = &tape});
    block.step(q, cache, y, {.workspace = &workspace, .tape = &tape});
    block.remember(q, cache);
    cache.truncate(2);
    RingCache<float> ring({.heads = 2, .d_k = 2, .keys = 8, .sinks = 1});
    PagePool<float> pool({.heads = 2, .d_k = 2, .pages = 4});
    PagedCache<float> paged(pool, {.sequences = 2});
    paged.fork(0, 1);
    const auto layer =
        multi_head<float>({.d_model = 4, .heads = 2}, gated_delta_rule(Decay::head, KeyGates::logits), 1);
    RecurrentCache<float> states = layer.cache(1);
    layer.step(q, states, y);

    std::stringstream file;
    save_safetensors(file, block, torch_names(block, "attention."));
    load_safetensors(file, block, without("attention.", llama_names("attention.")));
    static_cast<void>(torch_extra_keys<float>(scaled_dot_product, {.bias_kv = 4, .zero_attn = true}));
    weights = softmax(q, columnwise);
}

// Concepts.
static_assert(attend::Score<attend::DotScore> && attend::Modifier<attend::SoftCap> && attend::Mask<attend::Causal>);
static_assert(attend::Normalizer<attend::Sparsemax> && attend::Fold<attend::Softmax> && attend::Functor<attend::TopK>);
static_assert(attend::RowNormalizer<attend::TopK> && attend::PairNormalizer<attend::Sigmoid<double>>);
static_assert(attend::EngineOf<attend::Fastest, float> && attend::OfKind<attend::Causal, attend::Kind::mask>);
static_assert(attend::KeySourceOf<attend::KvCache<float>, float> &&
              attend::Reduction<attend::RowEntropy<float>, float>);
static_assert(attend::Mixer<attend::Recurrent<attend::LinearAttention>, float>);

}  // namespace names_0_1
