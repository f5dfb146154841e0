#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"

// Codes of 4 bits as AutoAWQ's "gemm" checkpoints hold them: transposed, eight neighbouring rows
// of the matrix in one word, row 8k + 0, 2, 4, 6, 1, 3, 5, 7 from the lowest nibble on; code q is
// stored as q + 8.
namespace swage::store {

// int8 [out, columns], q in [-8, 7] and `out` a multiple of 8, to int32 [columns, out / 8]. Zero
// points are packed like codes.
SWAGE_API at::Tensor pack_awq(const at::Tensor& codes);
// int32 [columns, out / 8] to int8 [out, columns].
SWAGE_API at::Tensor unpack_awq(const at::Tensor& words);

}  // namespace swage::store
