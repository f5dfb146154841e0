#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// HQQ packs a matrix of codes by parts of its rows: the first part takes the highest bits of a
// word, the last one the lowest.
namespace swage::hqq {

// How codes of some bits lie in a word.
struct Packing {
  const char* name;  // HQQ's
  at::ScalarType type;
  int width;      // bits a code takes in a word
  int64_t parts;  // codes a word holds
};
// Of 2, 3, 4, 5, 6 or 8 bits; null: HQQ has none.
const Packing* packing_of(int64_t bits);

// Words that `rows` rows of codes take: [packed_rows, columns].
int64_t packed_rows(int64_t rows, const Packing& packing);
// uint8 [rows, columns] to words; rows that are missing in the last part are zero.
at::Tensor pack_parts(const at::Tensor& codes, const Packing& packing);
at::Tensor unpack_parts(const at::Tensor& words, const Packing& packing, int64_t rows);

}  // namespace swage::hqq
