#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "quant/block_pass.h"
#include "quant/block_search.h"

namespace swage::quant {

template <class T>
using BlockArray = std::array<T, kBlockRows>;

// One group of columns of sixteen rows: what it holds, and the best scale and offset, not rounded.
template <class T>
struct BlockGroup {
  BlockArray<T> low, high;  // of its values; without offsets low is the one of largest magnitude
  BlockArray<T> weight, first;  // Σ importance, Σ importance · x
  BlockArray<T> scale, offset, error;
};

// The groups of one block. Rows are lanes: each is searched for itself, so what becomes of one does
// not depend on its neighbours.
template <class T>
class BlockGroups {
 public:
  explicit BlockGroups(const BlockShape& shape);

  // `rows` rows that lie `stride` apart; `importance` of the block's columns, in [0, 1]. Scales and
  // offsets are those of the extremes.
  void load(const T* x, int64_t stride, int64_t rows, const T* importance);
  // Scale and offset of the least error of group g.
  void search(int64_t g);
  BlockSums<T> pass(int64_t g, const BlockArray<T>& scale, const BlockArray<T>& offset) const;

  int64_t count() const { return static_cast<int64_t>(groups_.size()); }
  const BlockGroup<T>& operator[](int64_t g) const { return groups_[g]; }

 private:
  using Lanes = BlockArray<T>;
  void take_extremes(int64_t g);
  void descend(int64_t g, Lanes scale, Lanes offset);

  const BlockShape shape_;
  const T* importance_ = nullptr;
  std::vector<T> x_;  // [columns, kBlockRows]
  std::vector<BlockGroup<T>> groups_;
};

}  // namespace swage::quant
