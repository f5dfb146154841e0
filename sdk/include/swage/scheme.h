#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage {

// How numbers are stored. Schemes are plain data: TOML tables `weight` and `activation` become
// these.

enum class NumberFormat { kInt, kFp8E4M3, kFp8E5M2, kDense };  // kDense: floats, nothing quantized
enum class Granularity { kTensor, kChannel, kGroup, kToken };  // what shares one scale
enum class RangeRule { kMinmax, kMse };                        // how a range is chosen
// Integer conventions (algorithms differ in them, see docs/quantization.md):
//   kMinmax     symmetric scale = absmax / (2^(b-1) - 1); asymmetric range includes zero
//   kGptq       symmetric scale = 2 absmax / (2^b - 1);   asymmetric range includes zero
//   kFullRange  symmetric scale = -m / 2^(b-1), m the element of largest magnitude (scale may be
//   negative) kLlmc       as kMinmax, but an asymmetric range need not include zero (the zero point
//   is clamped)
enum class Convention { kMinmax, kGptq, kFullRange, kLlmc };
// Storage dtype of scales. kAuto: the weight's own in the checkpoint, but fp32 where activations
// are quantized too, since engines then multiply by the scale after the product and never round
// code x scale.
enum class ScaleType { kAuto, kCheckpoint, kBf16, kFp16, kFp32 };

// Linear::kept_by of routers and of gates of shared experts: small, and an error changes which
// experts a token takes.
inline constexpr const char* kRouterRule = "a router keeps its precision";

struct SWAGE_API WeightScheme {
  NumberFormat format = NumberFormat::kInt;
  int bits = 4;                                   // 2..8 for kInt, 8 for fp8
  Granularity granularity = Granularity::kGroup;  // kTensor, kChannel or kGroup
  int64_t group_size = 128;                       // columns per scale; meaningful for kGroup only
  bool group_tail_short = false;                  // allow a last group that is shorter
  bool symmetric = true;
  RangeRule range = RangeRule::kMinmax;
  Convention convention = Convention::kMinmax;
  ScaleType scale_type = ScaleType::kAuto;

  // Scales per row of a linear with `in` inputs: 1, or ceil(in / group_size).
  int64_t group_count(int64_t in) const;
  // Columns that share a scale: `in` for channel and tensor, else group_size.
  int64_t group_width(int64_t in) const;
  friend bool operator==(const WeightScheme& a, const WeightScheme& b);
};

struct SWAGE_API ActivationScheme {
  NumberFormat format = NumberFormat::kInt;
  int bits = 8;
  Granularity granularity = Granularity::kToken;  // kToken (dynamic) or kTensor
  bool symmetric = true;
  bool dynamic = true;  // false: one scale from calibration, kTensor only
  friend bool operator==(const ActivationScheme& a, const ActivationScheme& b);
};

// Tables of TOML keys to schemes and back. `base` gives the values of absent keys. Errors name the
// key, its value and what is allowed. Keys: format ("int", "fp8-e4m3", "fp8-e5m2"), bits,
// granularity, group, group_tail ("error", "short"), symmetric, range ("minmax", "mse"), convention
// ("minmax", "gptq", "full-range", "llmc"), scale_dtype ("auto", "checkpoint", "bf16", "fp16",
// "fp32"); activations: format, bits, granularity, symmetric, dynamic. `group = 64` implies
// granularity "group".
SWAGE_API absl::StatusOr<WeightScheme> parse_weight_scheme(const Value& table,
                                                           const WeightScheme& base);
SWAGE_API absl::StatusOr<ActivationScheme> parse_activation_scheme(const Value& table,
                                                                   const ActivationScheme& base);
SWAGE_API Value to_value(const WeightScheme& scheme);
SWAGE_API Value to_value(const ActivationScheme& scheme);
// "w4 g64 symmetric", "a8 per token".
SWAGE_API std::string describe(const WeightScheme& scheme);
SWAGE_API std::string describe(const ActivationScheme& scheme);

}  // namespace swage
