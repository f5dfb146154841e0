#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "swage/codec.h"

// Levels of formats that store a row in blocks (llama.cpp's GGUF types): integer codes under a
// scale a group of columns and, by the shape, an offset.
namespace swage::quant {

// With groups = 0 scales and offsets are fp16 and a value is scale · code + offset. Else scales and
// minimums of the groups are small integers under two fp16 numbers a block of so many groups:
// (outer_scale · scale) · code - outer_min · min.
struct BlockShape {
  int low = 0, high = 15;  // codes; low = 0 goes with offsets or minimums, low < 0 with none
  int64_t width = 32;      // columns of a group
  int64_t groups = 0;      // of a block
  int scale_low = 0, scale_high = 0;  // stored scales
  int min_high = 0;                   // stored minimums; 0: there are none
  int reach = low;  // the code that the value of largest magnitude takes where there are no offsets

  bool has_offset() const { return low == 0; }
  int64_t columns() const { return width * (groups > 0 ? groups : 1); }
};

struct BlockLevels {
  at::Tensor scales;      // [rows, groups of a row]: fp16, or uint8 (int8 where scale_low < 0)
  at::Tensor offsets;     // the same shape: fp16 offsets, or uint8 minimums; or undefined
  at::Tensor outer;       // fp16 [rows, blocks of a row], or undefined
  at::Tensor outer_mins;  // the same
};

// Levels of a weight within the request's limits; its width is a multiple of shape.columns(). By
// `range`: "minmax", a group takes its extremes and all scales are rounded under the block's
// largest; "weighted", the levels of the least Σ importance · error² that alternate least squares
// find from many starts, never worse than those of the extremes; "mse", the same without
// importance. InvalidArgument: values that are not finite, scales that leave fp16; `format` is for
// messages.
absl::StatusOr<BlockLevels> search_blocks(const at::Tensor& weight, const BlockShape& shape,
                                          const std::string& range, const FitRequest& request,
                                          const std::string& format);

}  // namespace swage::quant
