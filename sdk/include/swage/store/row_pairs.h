#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"

// Codes of 4 bits, two's complement, of two neighbouring rows in one byte, the upper row in the low
// half: how ModelOpt and TensorRT-LLM have them.
namespace swage::store {

// int8 [2 n, columns], codes in [-8, 7], to uint8 [n, columns], and back.
SWAGE_API at::Tensor pack_row_pairs(const at::Tensor& codes);
SWAGE_API at::Tensor unpack_row_pairs(const at::Tensor& bytes);

}  // namespace swage::store
