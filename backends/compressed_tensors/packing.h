#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// Integer codes as compressed-tensors packs them: every row is one little-endian bit string of
// int32 words, `bits` bits a code, without gaps; code q is stored as q + 2^(bits-1).
namespace swage::compressed_tensors {

// Words that `count` codes take.
int64_t packed_words(int64_t count, int bits);

// int8 [rows, columns], q in [-2^(bits-1), 2^(bits-1)-1] and bits 2 to 8, to int32
// [rows, packed_words(columns, bits)]. Bits behind the last code are zero.
at::Tensor pack(const at::Tensor& codes, int bits);
// int32 [rows, packed_words(columns, bits)] to int8 [rows, columns].
at::Tensor unpack(const at::Tensor& words, int bits, int64_t columns);

// Bit by bit: what the two above are compared with.
at::Tensor pack_reference(const at::Tensor& codes, int bits);
at::Tensor unpack_reference(const at::Tensor& words, int bits, int64_t columns);

}  // namespace swage::compressed_tensors
