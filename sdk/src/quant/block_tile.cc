#include "quant/block_tile.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace swage::quant {
namespace {

// Outer scales that are begun with, as shares of what the largest scale of a block needs; under
// each so many choices of integers, every one under outer levels that are fitted to the last.
constexpr double kOuterStarts[] = {1, 0.95, 1.05, 1.1};
constexpr int kOuterRounds = 3;
constexpr double kLeastHalf = 0x1p-24;

template <class T>
T half(T value) {
  return static_cast<T>(static_cast<float>(static_cast<c10::Half>(static_cast<float>(value))));
}

// Scales are never zero, so that each value has one nearest code.
template <class T>
T half_scale(T value) {
  const T rounded = half(value);
  return rounded == 0 ? T(kLeastHalf) : rounded;
}

// Products of levels as readers form them: in fp32.
template <class T>
T product(T a, T b) {
  return static_cast<T>(static_cast<float>(a) * static_cast<float>(b));
}

template <class T>
T within(T value, int low, int high) {
  return std::min(std::max(value, T(low)), T(high));
}

// The integer `rounded` as a stored scale: never zero, and below it only where scales have a sign.
template <class T>
T stored_scale(T rounded, T sign, const BlockShape& shape) {
  const T scale = within(rounded, shape.scale_low, shape.scale_high);
  if (scale != 0) return scale;
  return sign < 0 && shape.scale_low < 0 ? T(-1) : T(1);
}

}  // namespace

template <class T>
BlockTile<T>::BlockTile(const BlockShape& shape, bool search)
    : shape_(shape), search_(search), groups_(shape) {
  for (Choice* choice : {&best_, &trial_}) {
    const auto count = static_cast<size_t>(groups_.count());
    choice->scales.resize(count);
    choice->offsets.resize(count);
    choice->sums.resize(count);
  }
}

template <class T>
void BlockTile<T>::fit(const T* x, int64_t stride, int64_t rows, const T* importance) {
  groups_.load(x, stride, rows, importance);
  round_extremes();
  if (!search_) return;
  for (int64_t g = 0; g < groups_.count(); ++g) groups_.search(g);
  if (shape_.groups > 0) return round_two_levels();
  for (int64_t g = 0; g < groups_.count(); ++g) round_found(g);
}

template <class T>
BlockSums<T> BlockTile<T>::stored_pass(int64_t g, const Lanes& scale, const Lanes& offset,
                                       const Choice& choice) const {
  if (shape_.groups == 0) return groups_.pass(g, scale, offset);
  Lanes whole_scale, whole_offset;
  for (int64_t r = 0; r < kBlockRows; ++r) {
    whole_scale[r] = product(choice.outer[r], scale[r]);
    whole_offset[r] = -product(choice.outer_min[r], offset[r]);
  }
  return groups_.pass(g, whole_scale, whole_offset);
}

template <class T>
typename BlockTile<T>::Lanes BlockTile<T>::largest_scale() const {
  Lanes largest;
  largest.fill(0);
  for (int64_t g = 0; g < groups_.count(); ++g) {
    const BlockGroup<T>& group = groups_[g];
    for (int64_t r = 0; r < kBlockRows; ++r)
      if (std::abs(group.scale[r]) > std::abs(largest[r])) largest[r] = group.scale[r];
  }
  return largest;
}

template <class T>
typename BlockTile<T>::Lanes BlockTile<T>::largest_min() const {
  Lanes largest;
  largest.fill(0);
  for (int64_t g = 0; g < groups_.count(); ++g) {
    for (int64_t r = 0; r < kBlockRows; ++r)
      largest[r] = std::max(largest[r], -groups_[g].offset[r]);
  }
  return largest;
}

template <class T>
void BlockTile<T>::round_extremes() {
  const bool two = shape_.groups > 0, offsets = shape_.has_offset();
  const Lanes scale = largest_scale(), min = largest_min();
  const int most = shape_.scale_low < 0 ? shape_.scale_low : shape_.scale_high;
  best_.error.fill(0);
  for (int64_t r = 0; r < kBlockRows; ++r) {
    best_.outer[r] = two ? half_scale(scale[r] / T(most)) : T(1);
    best_.outer_min[r] = two && offsets ? half(min[r] / T(shape_.min_high)) : T(0);
  }
  for (int64_t g = 0; g < groups_.count(); ++g) {
    const BlockGroup<T>& group = groups_[g];
    for (int64_t r = 0; r < kBlockRows; ++r) {
      // What is stored first is what the next level has to make good.
      T& offset = best_.offsets[g][r];
      T low = offset = offsets && !two ? half(group.offset[r]) : T(0);
      if (best_.outer_min[r] > 0) {
        offset = within(std::nearbyint(-group.offset[r] / best_.outer_min[r]), 0, shape_.min_high);
        low = -product(best_.outer_min[r], offset);
      }
      const T wanted = offsets ? (group.high[r] - low) / T(shape_.high) : group.scale[r];
      if (!two) {
        best_.scales[g][r] = half_scale(offsets ? std::max(wanted, T(0)) : wanted);
        continue;
      }
      const T place = wanted / best_.outer[r];
      best_.scales[g][r] = stored_scale(std::nearbyint(place), place, shape_);
    }
    if (!search_) continue;
    best_.sums[g] = stored_pass(g, best_.scales[g], best_.offsets[g], best_);
    for (int64_t r = 0; r < kBlockRows; ++r) best_.error[r] += best_.sums[g].error[r];
  }
}

template <class T>
void BlockTile<T>::take_if_better(int64_t g, const Lanes& scale, const Lanes& offset,
                                  Choice* choice) const {
  const BlockSums<T> sums = stored_pass(g, scale, offset, *choice);
  BlockSums<T>& best = choice->sums[g];
  for (int64_t r = 0; r < kBlockRows; ++r) {
    if (!(sums.error[r] < best.error[r])) continue;
    choice->scales[g][r] = scale[r];
    choice->offsets[g][r] = offset[r];
    best.error[r] = sums.error[r];
    best.code[r] = sums.code[r];
    best.square[r] = sums.square[r];
    best.product[r] = sums.product[r];
  }
}

// Either level is rounded first and the other one fitted to it.
template <class T>
void BlockTile<T>::round_found(int64_t g) {
  const BlockGroup<T>& group = groups_[g];
  Lanes scale = group.scale, offset = group.offset;
  for (T& one : offset) one = half(one);
  for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = half_scale(group.scale[r]);
  take_if_better(g, scale, offset, &best_);
  if (!shape_.has_offset()) return;
  BlockSums<T> sums = groups_.pass(g, group.scale, offset);
  for (int64_t r = 0; r < kBlockRows; ++r) {
    const T fitted = (sums.product[r] - offset[r] * sums.code[r]) / sums.square[r];
    scale[r] = half_scale(fitted > 0 ? fitted : group.scale[r]);
  }
  take_if_better(g, scale, offset, &best_);
  for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = half_scale(group.scale[r]);
  sums = groups_.pass(g, scale, group.offset);
  for (int64_t r = 0; r < kBlockRows; ++r) {
    if (group.weight[r] > 0)
      offset[r] = half((group.first[r] - scale[r] * sums.code[r]) / group.weight[r]);
  }
  take_if_better(g, scale, offset, &best_);
}

template <class T>
void BlockTile<T>::round_two_levels() {
  const Lanes scale = largest_scale(), min = largest_min();
  const int most = shape_.scale_low < 0 ? shape_.scale_low : shape_.scale_high;
  for (const double share : kOuterStarts) {
    for (int64_t r = 0; r < kBlockRows; ++r) {
      trial_.outer[r] = half_scale(T(share) * scale[r] / T(most));
      trial_.outer_min[r] = shape_.has_offset() ? half(min[r] / T(shape_.min_high)) : T(0);
    }
    for (int round = 0; round < kOuterRounds; ++round) {
      if (round > 0) fit_outer(&trial_);
      choose_integers(&trial_);
      keep_better(trial_);
    }
  }
}

template <class T>
void BlockTile<T>::choose_integers(Choice* choice) const {
  choice->error.fill(0);
  for (int64_t g = 0; g < groups_.count(); ++g) {
    const BlockGroup<T>& group = groups_[g];
    choice->sums[g] = {};
    std::fill_n(choice->sums[g].error, kBlockRows, std::numeric_limits<T>::infinity());
    Lanes min;
    min.fill(0);
    for (int step = -1; step <= 1; ++step) {
      if (!shape_.has_offset() && step != 0) continue;
      for (int64_t r = 0; r < kBlockRows; ++r) {
        if (choice->outer_min[r] > 0)
          min[r] = within(std::nearbyint(-group.offset[r] / choice->outer_min[r]) + T(step), 0,
                          shape_.min_high);
      }
      choose_scales(g, min, choice);
    }
    for (int64_t r = 0; r < kBlockRows; ++r) choice->error[r] += choice->sums[g].error[r];
  }
}

// Integers near the scale that is best beside this minimum.
template <class T>
void BlockTile<T>::choose_scales(int64_t g, const Lanes& min, Choice* choice) const {
  const bool offsets = shape_.has_offset();
  Lanes wanted = groups_[g].scale, offset;
  if (offsets) {
    for (int64_t r = 0; r < kBlockRows; ++r) offset[r] = -product(choice->outer_min[r], min[r]);
    const BlockSums<T> sums = groups_.pass(g, wanted, offset);
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T fitted = (sums.product[r] - offset[r] * sums.code[r]) / sums.square[r];
      wanted[r] = fitted > 0 ? fitted : wanted[r];
    }
  }
  for (int step = offsets ? 0 : -1; step <= (offsets ? 1 : 2); ++step) {
    Lanes scale;
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T place = wanted[r] / choice->outer[r];
      scale[r] = stored_scale(std::floor(place) + T(step), place, shape_);
    }
    take_if_better(g, scale, min, choice);
  }
}

// x ≈ outer · (scale · q) - outer_min · min by least squares over the block, in fp16.
template <class T>
void BlockTile<T>::fit_outer(Choice* choice) const {
  for (int64_t r = 0; r < kBlockRows; ++r) {
    T aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (int64_t g = 0; g < groups_.count(); ++g) {
      const BlockSums<T>& sums = choice->sums[g];
      const T scale = choice->scales[g][r], min = choice->offsets[g][r];
      aa += scale * scale * sums.square[r];
      ab += scale * min * sums.code[r];
      bb += min * min * groups_[g].weight[r];
      ax += scale * sums.product[r];
      bx += min * groups_[g].first[r];
    }
    const T determinant = aa * bb - ab * ab;
    T outer = ax / aa, outer_min = choice->outer_min[r];
    if (determinant > std::numeric_limits<T>::epsilon() * aa * bb) {
      outer = (ax * bb - ab * bx) / determinant;
      outer_min = (ab * ax - aa * bx) / determinant;
    } else if (shape_.has_offset() && outer_min != 0) {
      continue;
    }
    if (!std::isfinite(outer) || outer == 0 || !(outer_min >= 0)) continue;
    if (shape_.has_offset() && outer < 0) continue;
    choice->outer[r] = half_scale(outer);
    choice->outer_min[r] = half(outer_min);
  }
}

template <class T>
void BlockTile<T>::keep_better(const Choice& choice) {
  for (int64_t r = 0; r < kBlockRows; ++r) {
    if (!(choice.error[r] < best_.error[r])) continue;
    best_.error[r] = choice.error[r];
    best_.outer[r] = choice.outer[r];
    best_.outer_min[r] = choice.outer_min[r];
    for (int64_t g = 0; g < groups_.count(); ++g) {
      best_.scales[g][r] = choice.scales[g][r];
      best_.offsets[g][r] = choice.offsets[g][r];
    }
  }
}

template class BlockTile<float>;
template class BlockTile<double>;

}  // namespace swage::quant
