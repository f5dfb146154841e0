#pragma once
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/codec.h"

namespace swage::compressed_tensors {

// The schemes of one linear, as a config group states them.
struct Quantization {
  std::shared_ptr<const Codec> weight, activation;  // activation: null, its input stays in floats
};

// Which tensors a linear becomes.
enum class Layout {
  kPacked,  // "pack-quantized": integers packed into int32, with a scale per row, group or tensor
  kInt,     // "int-quantized": one int8 a weight
  kFloat,   // "float-quantized": one fp8 a weight
  kNvfp4,   // "nvfp4-pack-quantized": two fp4 a byte, e4m3 scales per 16 under one per tensor
  kMxfp4,   // "mxfp4-pack-quantized": two fp4 a byte, powers of two per 32
  kMxfp8    // "mxfp8-quantized": one fp8 a weight, powers of two per 32
};
const char* format_name(Layout layout);
// The layout that a group's "format" names; InvalidArgument: none does.
absl::StatusOr<Layout> layout_named(const std::string& format);

// The layout that holds these schemes for a linear [out, in]. InvalidArgument: why none does.
absl::StatusOr<Layout> choose_layout(const Quantization& quantization, int64_t out, int64_t in);

}  // namespace swage::compressed_tensors
