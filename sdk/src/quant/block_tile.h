#pragma once
#include <cstdint>
#include <vector>

#include "quant/block_groups.h"

namespace swage::quant {

// The levels of one block of columns of sixteen rows, as they are stored.
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
  using Lanes = BlockArray<T>;

  // Levels as they are stored, with what least squares over the block need of them.
  struct Choice {
    Lanes outer, outer_min, error;
    std::vector<Lanes> scales, offsets;
    std::vector<BlockSums<T>> sums;
  };

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
  BlockGroups<T> groups_;
  Choice best_, trial_;
};

}  // namespace swage::quant
