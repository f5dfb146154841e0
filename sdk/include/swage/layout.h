#pragma once
// Sizes and offsets of what crosses the border between host and plugin, as one number: the field
// `layout` of the fingerprint. A plugin that was built with other headers than its host, whatever
// version both name, is refused before a line of it runs. Only descriptors and the host's own
// fingerprint include this header, since it includes all others.
#include <cstddef>
#include <cstdint>

#include "swage/algorithm.h"
#include "swage/evaluator.h"
#include "swage/exporter.h"
#include "swage/image/processor.h"
#include "swage/model.h"
#include "swage/nn/attention.h"
#include "swage/nn/tiles.h"
#include "swage/nn/vision.h"
#include "swage/quant/scalar_codec.h"
#include "swage/quant/search.h"
#include "swage/solve/column_sweep.h"
#include "swage/stats/accumulator.h"
#include "swage/text/calibration.h"
#include "swage/train/block_trainer.h"
#include "swage/train/fake_quantize.h"

namespace swage::detail {

// Where the figures below hold; elsewhere the loader alone compares.
#if defined(__x86_64__) && defined(__GLIBCXX__) && _GLIBCXX_USE_CXX11_ABI && \
    !defined(_GLIBCXX_DEBUG)
inline constexpr bool kKnownLayout = true;
#else
inline constexpr bool kKnownLayout = false;
#endif

// FNV-1a over numbers, byte by byte.
class LayoutHash {
 public:
  constexpr void add(uint64_t number) {
    for (int byte = 0; byte < 8; ++byte)
      value_ = (value_ ^ (number >> (8 * byte) & 0xff)) * 0x100000001b3;
  }
  constexpr uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325;
};

#define SWAGE_LAYOUT_CHANGED_ \
  "what crosses the border has changed: raise SWAGE_ABI_MINOR and update layout.h"

// The compiler's message shows both numbers.
template <uint64_t kFound, uint64_t kWritten>
struct SameLayout {
  static_assert(!kKnownLayout || kFound == kWritten, SWAGE_LAYOUT_CHANGED_);
  static constexpr uint64_t kValue = kFound;
};

#define SWAGE_PARENTHESES_ ()
#define SWAGE_EXPAND_(...) SWAGE_EXPAND_3_(SWAGE_EXPAND_3_(SWAGE_EXPAND_3_(__VA_ARGS__)))
#define SWAGE_EXPAND_3_(...) SWAGE_EXPAND_2_(SWAGE_EXPAND_2_(SWAGE_EXPAND_2_(__VA_ARGS__)))
#define SWAGE_EXPAND_2_(...) SWAGE_EXPAND_1_(SWAGE_EXPAND_1_(SWAGE_EXPAND_1_(__VA_ARGS__)))
#define SWAGE_EXPAND_1_(...) SWAGE_EXPAND_0_(SWAGE_EXPAND_0_(SWAGE_EXPAND_0_(__VA_ARGS__)))
#define SWAGE_EXPAND_0_(...) __VA_ARGS__
#define SWAGE_OFFSETS_(type, field, ...) \
  hash.add(offsetof(type, field));       \
  __VA_OPT__(SWAGE_MORE_OFFSETS_ SWAGE_PARENTHESES_(type, __VA_ARGS__))
#define SWAGE_MORE_OFFSETS_() SWAGE_OFFSETS_

// A size, the class that has it, and its public fields.
#define SWAGE_LAYOUT_(size, type, ...)                \
  hash.add(SameLayout<sizeof(type), (size)>::kValue); \
  hash.add(alignof(type));                            \
  __VA_OPT__(SWAGE_EXPAND_(SWAGE_OFFSETS_(type, __VA_ARGS__)))

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
constexpr uint64_t layout() {
  LayoutHash hash;
  SWAGE_LAYOUT_(56, Value);
  SWAGE_LAYOUT_(48, Params);
  SWAGE_LAYOUT_(80, Scheme, format, keys);
  SWAGE_LAYOUT_(88, FitRequest, scale_dtype, clip_low, clip_high, importance, range, fused);
  SWAGE_LAYOUT_(104, Target, codec, request);
  SWAGE_LAYOUT_(16, RoundedBlock, codes, decoded);
  SWAGE_LAYOUT_(120, Codec);
  SWAGE_LAYOUT_(1144, quant::ScalarTable);
  SWAGE_LAYOUT_(64, quant::ScalarGrid, table, scale, zero, offset, width, height, decoded);
  SWAGE_LAYOUT_(12, quant::Level<float>, scale, zero, stored);
  SWAGE_LAYOUT_(24, quant::Level<double>, scale, zero, stored);
  SWAGE_LAYOUT_(16, quant::LevelStorage, scales, outer);
  SWAGE_LAYOUT_(40, quant::ScalarLayout, rows, columns, short_tail, zeros, float_zeros, code_bits,
                outer_groups);
  SWAGE_LAYOUT_(176, quant::ScalarCodec);
  SWAGE_LAYOUT_(24, quant::Limits, low, high, error);
  SWAGE_LAYOUT_(24, quant::LimitSearch, symmetric, step, steps);
  SWAGE_LAYOUT_(88, solve::Factor, r, order, dead, damping, rung, remark, cross, block);
  SWAGE_LAYOUT_(4, solve::SweepOptions, dead);
  SWAGE_LAYOUT_(24, solve::Swept, result, loss);
  SWAGE_LAYOUT_(88, Side, kind, input, parts, left, right);
  SWAGE_LAYOUT_(64, ActivationQuantizer, codec, levels);
  SWAGE_LAYOUT_(16, Result);
  SWAGE_LAYOUT_(48, Parameter, name, value, storage);
  SWAGE_LAYOUT_(256, Linear, name, weight, bias, storage, clip_low, clip_high, mask,
                online_transform, input_quantizer, kept_by);
  SWAGE_LAYOUT_(40, Route, slot, expert);
  SWAGE_LAYOUT_(184, Slots, lengths, positions, experts_seen);
  SWAGE_LAYOUT_(88, FoldTarget, kind, why_none, norm_weight, norm_bias, norm_offset, linear,
                head_dim, row_of_channel);
  SWAGE_LAYOUT_(272, Subset, name, input, route, linears, readers, fold, parts, inspect_module);
  SWAGE_LAYOUT_(72, KeySites, why_none, query, key, query_rows, key_rows, rotary_dim);
  SWAGE_LAYOUT_(80, ResidualSites, why_none, readers, writers);
  SWAGE_LAYOUT_(40, BlockId, tower, index);
  SWAGE_LAYOUT_(232, Block);
  SWAGE_LAYOUT_(16, Needs);
  SWAGE_LAYOUT_(248, SubsetStats, tokens, hessian, absmax, mean_abs, square_sum, minimum, maximum,
                histogram, sample);
  SWAGE_LAYOUT_(8, StepContext);
  SWAGE_LAYOUT_(8, SubsetContext);
  SWAGE_LAYOUT_(8, BlockContext);
  SWAGE_LAYOUT_(8, ModelContext);
  SWAGE_LAYOUT_(8, Algorithm);
  SWAGE_LAYOUT_(40, Tower, name, block_count);
  SWAGE_LAYOUT_(128, ModelShape, towers, hidden_size, vocab_size, context_length, tied_embeddings,
                head, embedding, image_token);
  SWAGE_LAYOUT_(64, EmbeddingSites, why_none, tables, compute);
  SWAGE_LAYOUT_(72, HeadSites, why_none, norm_weight, norm_bias, norm_offset, matrix,
                norm_subtracts_mean);
  SWAGE_LAYOUT_(3, LoadOptions, compute, device);
  SWAGE_LAYOUT_(88, Embedding);
  SWAGE_LAYOUT_(120, Head, matrix_name);
  SWAGE_LAYOUT_(8, ModelAdapter);
  SWAGE_LAYOUT_(8, WeightSource);
  SWAGE_LAYOUT_(48, TokenSet, sequences, inputs);
  SWAGE_LAYOUT_(40, LogitsView, sequence, first, targets, original, compressed);
  SWAGE_LAYOUT_(96, Metrics, original, compressed);
  SWAGE_LAYOUT_(8, EvaluationInput);
  SWAGE_LAYOUT_(8, Evaluator);
  SWAGE_LAYOUT_(120, LinearSummary, name, out, in, kept_by, weight, activation, scale_dtype,
                may_transform_input, may_have_sides, may_have_mask, place);
  SWAGE_LAYOUT_(8, TensorSink);
  SWAGE_LAYOUT_(8, ExportContext);
  SWAGE_LAYOUT_(8, Exporter);
  SWAGE_LAYOUT_(8, InputTransform);
  SWAGE_LAYOUT_(8, image::Processor);
  SWAGE_LAYOUT_(8, text::Tokenizer);
  SWAGE_LAYOUT_(88, text::CalibrationRequest, source, recipe, samples, length, seed);
  SWAGE_LAYOUT_(72, text::WindowRequest, source, length, stride, every, windows, special_tokens);
  SWAGE_LAYOUT_(56, train::TrainedLinear, linear, weight, activation);
  SWAGE_LAYOUT_(24, train::Schedule, epochs, sequences_per_step, learning_rate);
  SWAGE_LAYOUT_(32, train::Fit, initial, best, best_epoch, overflowed);
  SWAGE_LAYOUT_(64, train::BlockTrainer);
  SWAGE_LAYOUT_(16, train::Ends, low, high);
  SWAGE_LAYOUT_(264, stats::Accumulator);
  SWAGE_LAYOUT_(40, nn::Norm, kind, eps, weight, bias, present);
  SWAGE_LAYOUT_(200, nn::RopeDescription, kind, dim, theta, factor, max_position, original_position,
                low_freq_factor, high_freq_factor, beta_fast, beta_slow, truncate, attention_factor,
                mscale, mscale_all_dim, short_factor, long_factor, sections, sections_restart);
  SWAGE_LAYOUT_(16, nn::RopeTable, cos, sin);
  SWAGE_LAYOUT_(200, nn::Rope);
  SWAGE_LAYOUT_(40, nn::AttentionRule, scale, window, softcap, key_bias, causal);
  SWAGE_LAYOUT_(48, nn::LatentAttention, query_rank, latent_rank, nope_dim, rope_dim, value_dim,
                interleaved);
  SWAGE_LAYOUT_(328, nn::Experts, names, count, active, intermediate_size, shared_size, shared_bias,
                score, groups, active_groups, group_score, normalized, scale);
  SWAGE_LAYOUT_(1200, nn::DecoderDescription, names, vocab_size, hidden_size, intermediate_size,
                block_count, context_length, heads, kv_heads, head_dim, form, norm, norm_eps,
                residual_after_norm, residual_scale, output_scale, leaves, qkv_layout, qkv_bias,
                o_bias, head_norm, head_norm_kind, head_norm_eps, rope, rotary_share,
                rope_interleaved, attention_scale, causal, segmented, absent_apart, window,
                attention_softcap, qkv_limit, alibi, activation, gated, fused_gate, mlp_bias,
                latent, experts, tied_embeddings, embedding_width, position_offset, embedding_scale,
                scales_features, head_bias, head_scale, logit_softcap);
  SWAGE_LAYOUT_(1392, nn::DecoderAdapter);
  SWAGE_LAYOUT_(224, nn::PatchDescription, names, channels, height, width, patch_height,
                patch_width, hidden_size, norm, norm_eps);
  SWAGE_LAYOUT_(104, nn::FeatureDescription, layers, drops_class, norm, norm_eps, shuffle, unused);
  SWAGE_LAYOUT_(144, nn::ProjectorDescription, norm, first, second, in, middle, out, bias,
                activation, norm_eps, writes_stream);
  SWAGE_LAYOUT_(80, nn::GridDescription, temporal, merge, window, whole_blocks, merge_norm);
  SWAGE_LAYOUT_(1696, nn::VisionDescription, blocks, patches, features, projector, grid,
                image_token);
  SWAGE_LAYOUT_(1832, nn::VisionAdapter);
  SWAGE_LAYOUT_(304, nn::TileDescription, names, tiles, channels, image_size, patch_size,
                aspect_ratios, hidden_size, norm_eps, layers);
  return hash.value();
}
#pragma GCC diagnostic pop

#undef SWAGE_LAYOUT_
#undef SWAGE_MORE_OFFSETS_
#undef SWAGE_OFFSETS_
#undef SWAGE_EXPAND_0_
#undef SWAGE_EXPAND_1_
#undef SWAGE_EXPAND_2_
#undef SWAGE_EXPAND_3_
#undef SWAGE_EXPAND_
#undef SWAGE_PARENTHESES_

inline constexpr uint64_t kLayout = SameLayout<layout(), 0x44e83104e810a66f>::kValue;

template <size_t kSize>
struct FingerprintText {
  char bytes[kSize];
};
// SWAGE_FINGERPRINT with the digits of `layout`, which stand at its end.
template <size_t kSize>
constexpr FingerprintText<kSize> with_layout(const char (&fingerprint)[kSize]) {
  FingerprintText<kSize> text = {};
  for (size_t i = 0; i < kSize; ++i) text.bytes[i] = fingerprint[i];
  for (int digit = 0; digit < 16; ++digit)
    text.bytes[kSize - 2 - digit] = "0123456789abcdef"[kLayout >> (4 * digit) & 0xf];
  return text;
}

}  // namespace swage::detail
