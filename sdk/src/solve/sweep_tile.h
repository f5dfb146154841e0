#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>

#include "swage/quant/scalar_table.h"

namespace swage::solve {

constexpr int64_t kLanes = 16;     // rows are padded to a multiple of this
constexpr int64_t kTileRows = 64;  // rows of one task

// One block of columns for one tile of rows. Arrays are transposed, [column, row], so that rows are
// vector lanes; neighbouring columns are `stride` apart.
template <class T>
struct SweepTile {
  int64_t rows = 0, stride = 0, columns = 0;
  const T* factor = nullptr;       // [columns, columns]: factor[c * columns + k] = R[k, c]
  const int64_t* group = nullptr;  // [columns]: row of scales and zeros
  const T* scales = nullptr;       // [groups, stride]
  const T* zeros = nullptr;
  const T* offsets = nullptr;     // null: 0
  const uint8_t* keep = nullptr;  // [columns, stride], 0: the weight is masked out; null: none is
  const T* carry = nullptr;       // [columns, stride]: what the columns before the block left, D R
  // [columns, columns]: cross[c * columns + k] = P[k, c], what targets of the block's columns add
  // to those after them; null: nothing. Then `targets` [columns, stride] is written.
  const T* cross = nullptr;
  T* targets = nullptr;
  T* weight = nullptr;       // [columns, stride]; becomes the error D = W - Q
  uint8_t* codes = nullptr;  // [columns, stride]; of a masked weight any
  T* loss = nullptr;         // [stride], += ((w' - q) R_cc)²
  const quant::ScalarTable* table = nullptr;
  c10::ScalarType storage = c10::ScalarType::Float;
};

// The plain version and the vectorised one; both give the same bits.
template <class T>
void sweep_tile_plain(const SweepTile<T>& tile);
void sweep_tile(const SweepTile<float>& tile);
inline void sweep_tile(const SweepTile<double>& tile) { sweep_tile_plain(tile); }

}  // namespace swage::solve
