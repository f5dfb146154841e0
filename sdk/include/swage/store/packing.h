#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "swage/export.h"

// Integer codes as most files pack them: a row is one little-endian bit string, `bits` bits a code,
// without gaps; code q is stored as q + 2^(bits-1). Formats that pack along rows give the
// transposed matrix.
namespace swage::store {

// int32 words that `count` codes take.
SWAGE_API int64_t packed_words(int64_t count, int bits);

// int8 [rows, columns], q in [-2^(bits-1), 2^(bits-1)-1] and bits 2 to 8, to int32
// [rows, packed_words(columns, bits)]. Bits behind the last code are zero.
SWAGE_API at::Tensor pack(const at::Tensor& codes, int bits);
// int32 [rows, packed_words(columns, bits)] to int8 [rows, columns].
SWAGE_API at::Tensor unpack(const at::Tensor& words, int bits, int64_t columns);

// Bit by bit: what the two above are compared with.
SWAGE_API at::Tensor pack_reference(const at::Tensor& codes, int bits);
SWAGE_API at::Tensor unpack_reference(const at::Tensor& words, int bits, int64_t columns);

// Two codes of 4 bits a byte, the first in the low half: uint8 [rows, 2 n] to uint8 [rows, n].
SWAGE_API at::Tensor pack_pairs(const at::Tensor& codes);
SWAGE_API at::Tensor unpack_pairs(const at::Tensor& pairs);

}  // namespace swage::store
