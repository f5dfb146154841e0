#pragma once
#include <string>
#include <string_view>

#include "swage/export.h"
#include "swage/io/safetensors_header.h"
#include "swage/value.h"

// Checkpoints published in fp8 (DeepSeek-V3, Qwen3-FP8, per-tensor ones): `X.weight` in e4m3 or
// e5m2 beside a scale that multiplies, one for the tensor, for a row, or for a block of
// `weight_block_size`. They are read as if they were in floats. Needs no LibTorch.
namespace swage::io {

// Does config.json describe such a checkpoint? (quantization_config.quant_method "fp8" or
// "fbgemm_fp8".)
SWAGE_API bool is_fp8(const Value& config);
// config.json of the checkpoint in floats.
SWAGE_API Value without_fp8(const Value& config);
// The dtype of its weights in floats: torch_dtype (or dtype), bf16 where neither is there.
SWAGE_API StoredType float_type(const Value& config);
// The scale of `weight` ("X.weight") among the tensors of a header, "" where there is none.
SWAGE_API std::string fp8_scale_of(const Header& header, std::string_view weight);
// The header in floats: fp8 weights have `type`, their scales and those of their inputs are gone.
// InvalidArgument: an fp8 weight without a scale.
SWAGE_API absl::StatusOr<Header> header_in_floats(const Header& header, StoredType type);
// Does every scale have a shape that weight_block_size, the rows or the tensor as a whole give it?
// InvalidArgument names the first that has not, or says that no tensor is in fp8 at all.
SWAGE_API absl::Status check_fp8_scales(const Header& header, const Value& config);

}  // namespace swage::io
