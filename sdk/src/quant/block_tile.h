#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "quant/block_pass.h"
#include "quant/block_search.h"

namespace swage::quant {

// The levels of one block of columns of sixteen rows. Rows are lanes: each is fitted for itself, so
// what becomes of one does not depend on its neighbours.
template <class T>
class BlockTile {
 public:
  BlockTile(const BlockShape& shape, bool search);

  // `rows` rows that lie `stride` apart; `importance` of the block's columns, in [0, 1].
  void fit(const T* x, int64_t stride, int64_t rows, const T* importance);

  // As they are stored: fp16 numbers, or small integers under the outer ones.
  T scale(int64_t group, int64_t lane) const { return best_.scales[group][lane]; }
  T offset(int64_t group, int64_t lane) const { return best_.offsets[group][lane]; }
  T outer(int64_t lane) const { return best_.outer[lane]; }
  T outer_min(int64_t lane) const { return best_.outer_min[lane]; }

 private:
  using Lanes = std::array<T, kBlockRows>;

  // One group of columns: what it holds, and the best scale and offset before they are rounded.
  struct Group {
    Lanes low, high;  // of its values; low is the one of largest magnitude where there is no offset
    Lanes weight, first;  // Σ importance, Σ importance · x
    Lanes scale, offset, error;
  };
  // Levels as they are stored, with what least squares over the block need of them.
  struct Choice {
    Lanes outer, outer_min, error;
    std::vector<Lanes> scales, offsets;
    std::vector<BlockSums<T>> sums;
  };

  void load(const T* x, int64_t stride, int64_t rows);
  void take_extremes(int64_t g);
  void search_group(int64_t g);
  void descend(int64_t g, Lanes scale, Lanes offset);
  BlockSums<T> pass(int64_t g, const Lanes& scale, const Lanes& offset) const;
  // Under the outer levels of `choice`.
  BlockSums<T> stored_pass(int64_t g, const Lanes& scale, const Lanes& offset,
                           const Choice& choice) const;

  // The extremes rounded to storage.
  void round_extremes();
  // One level: what the search has found, in fp16.
  void round_found(int64_t g);
  // Two levels: outer ones that the largest group needs, integers below them, least squares for the
  // outer ones, and so on.
  void round_two_levels();
  void choose_integers(Choice* choice) const;
  void choose_scales(int64_t g, const Lanes& min, Choice* choice) const;
  void take_if_better(int64_t g, const Lanes& scale, const Lanes& offset, Choice* choice) const;
  void fit_outer(Choice* choice) const;
  void keep_better(const Choice& choice);
  Lanes largest_scale() const;
  Lanes largest_min() const;

  const BlockShape shape_;
  const bool search_;
  const int64_t count_;  // groups
  const T* importance_ = nullptr;
  std::vector<T> x_;  // [columns, kBlockRows]
  std::vector<Group> groups_;
  Choice best_, trial_;
};

}  // namespace swage::quant
