#pragma once
#include <cstdint>

// The inner loop of fits that search a scale and an offset for groups of columns: one group of
// sixteen rows at once, so that rows are the lanes of vectors. As in kernels.h there is a plain
// version and a vectorised one for float, which gives the same bits on every instruction set.
namespace swage::quant {

constexpr int64_t kBlockRows = 16;

template <class T>
using BlockLanes = T[kBlockRows];

// Row r is rounded to code · scale[r] + offset[r] with codes low … high. A scale below the least
// normal number counts as none: all codes are those next to zero.
template <class T>
struct BlockPass {
  const T* x = nullptr;           // [width, kBlockRows]
  const T* importance = nullptr;  // [width]
  int64_t width = 0;
  T low = 0, high = 0;
  const T* scale = nullptr;   // [kBlockRows]
  const T* offset = nullptr;  // [kBlockRows]
};

// What least squares need of the codes q: sums over the columns, weighted by their importance.
template <class T>
struct BlockSums {
  BlockLanes<T> error;    // (q · scale + offset - x)²
  BlockLanes<T> code;     // q
  BlockLanes<T> square;   // q²
  BlockLanes<T> product;  // q x
};

namespace plain {
template <class T>
void block_pass(const BlockPass<T>& pass, BlockSums<T>* sums);
}

template <class T>
void block_pass(const BlockPass<T>& pass, BlockSums<T>* sums) {
  plain::block_pass(pass, sums);
}
template <>
void block_pass(const BlockPass<float>& pass, BlockSums<float>* sums);

}  // namespace swage::quant
