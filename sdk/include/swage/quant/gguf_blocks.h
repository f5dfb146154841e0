#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"

// The bytes of GGUF blocks (llama.cpp), which files hold row after row, and the parts that they
// stand for: q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k and mxfp4.
namespace swage::quant {

// Columns in a block, its bytes and ggml's number of the type; columns = 0: no format of GGUF.
struct SWAGE_API GgufFormat {
  int64_t columns = 0, bytes = 0;
  uint32_t type = 0;
};
SWAGE_API GgufFormat gguf_format(std::string_view format);

// uint8 [rows, bytes of a row] from the parts of the format of this name. InvalidArgument: no
// format of GGUF, a part that is missing or of another shape or dtype, a code or scale beyond its
// bits.
SWAGE_API absl::StatusOr<at::Tensor> pack_gguf(const Parts& parts, std::string_view format);
// The same parts from bytes [rows, bytes of a row]. InvalidArgument: rows that are no blocks.
SWAGE_API absl::StatusOr<Parts> unpack_gguf(const at::Tensor& bytes, std::string_view format);

}  // namespace swage::quant
