#include "quant/block_tile.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace swage::quant {
namespace {

// Starts of the search: a range is cut into as many steps as there are codes, give or take so many
// (Kawrakow's grid in llama.cpp).
constexpr int kStarts = 37;
constexpr double kFirstStart = -0.9, kStartStep = 0.05;
constexpr int kDescents = 3;     // passes from each start
// Outer scales that are begun with, as shares of what the largest scale of a block needs; under each
// so many choices of integers, every one under outer levels that are fitted to the last.
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

}  // namespace

template <class T>
BlockTile<T>::BlockTile(const BlockShape& shape, bool search)
    : shape_(shape),
      search_(search),
      count_(shape.columns() / shape.width),
      x_(static_cast<size_t>(shape.columns() * kBlockRows)),
      groups_(static_cast<size_t>(count_)) {
  for (Choice* choice : {&best_, &trial_}) {
    choice->scales.resize(static_cast<size_t>(count_));
    choice->offsets.resize(static_cast<size_t>(count_));
    choice->sums.resize(static_cast<size_t>(count_));
  }
}

template <class T>
void BlockTile<T>::fit(const T* x, int64_t stride, int64_t rows, const T* importance) {
  importance_ = importance;
  load(x, stride, rows);
  for (int64_t g = 0; g < count_; ++g) take_extremes(g);
  round_extremes();
  if (!search_) return;
  for (int64_t g = 0; g < count_; ++g) search_group(g);
  if (shape_.groups > 0) return round_two_levels();
  for (int64_t g = 0; g < count_; ++g) round_found(g);
}

template <class T>
void BlockTile<T>::load(const T* x, int64_t stride, int64_t rows) {
  if (rows < kBlockRows) std::fill(x_.begin(), x_.end(), T(0));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < shape_.columns(); ++c)
      x_[static_cast<size_t>(c * kBlockRows + r)] = x[r * stride + c];
  }
}

template <class T>
void BlockTile<T>::take_extremes(int64_t g) {
  Group& group = groups_[g];
  const T* x = x_.data() + g * shape_.width * kBlockRows;
  Lanes low, high;
  std::copy(x, x + kBlockRows, low.begin());
  high = low;
  group.weight.fill(0);
  group.first.fill(0);
  for (int64_t c = 0; c < shape_.width; ++c) {
    const T importance = importance_[g * shape_.width + c];
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T value = x[c * kBlockRows + r];
      low[r] = std::min(low[r], value);
      high[r] = std::max(high[r], value);
      group.weight[r] += importance;
      group.first[r] += importance * value;
    }
  }
  for (int64_t r = 0; r < kBlockRows; ++r) {
    if (!shape_.has_offset()) {
      group.low[r] = high[r] > -low[r] ? high[r] : low[r];
      group.high[r] = 0;
      group.scale[r] = group.low[r] / T(shape_.low);
      group.offset[r] = 0;
      continue;
    }
    // Minimums are subtracted and not negative: zero lies in the range.
    group.low[r] = shape_.groups > 0 ? std::min(low[r], T(0)) : low[r];
    group.high[r] = high[r];
    group.scale[r] = (high[r] - group.low[r]) / T(shape_.high);
    group.offset[r] = group.low[r];
  }
}

template <class T>
BlockSums<T> BlockTile<T>::pass(int64_t g, const Lanes& scale, const Lanes& offset) const {
  BlockPass<T> all;
  all.x = x_.data() + g * shape_.width * kBlockRows;
  all.importance = importance_ + g * shape_.width;
  all.width = shape_.width;
  all.low = T(shape_.low);
  all.high = T(shape_.high);
  all.scale = scale.data();
  all.offset = offset.data();
  BlockSums<T> sums;
  block_pass(all, &sums);
  return sums;
}

template <class T>
BlockSums<T> BlockTile<T>::stored_pass(int64_t g, const Lanes& scale, const Lanes& offset,
                                       const Choice& choice) const {
  if (shape_.groups == 0) return pass(g, scale, offset);
  Lanes whole_scale, whole_offset;
  for (int64_t r = 0; r < kBlockRows; ++r) {
    whole_scale[r] = product(choice.outer[r], scale[r]);
    whole_offset[r] = -product(choice.outer_min[r], offset[r]);
  }
  return pass(g, whole_scale, whole_offset);
}

template <class T>
typename BlockTile<T>::Lanes BlockTile<T>::largest_scale() const {
  Lanes largest;
  largest.fill(0);
  for (const Group& group : groups_) {
    for (int64_t r = 0; r < kBlockRows; ++r)
      if (std::abs(group.scale[r]) > std::abs(largest[r])) largest[r] = group.scale[r];
  }
  return largest;
}

template <class T>
typename BlockTile<T>::Lanes BlockTile<T>::largest_min() const {
  Lanes largest;
  largest.fill(0);
  for (const Group& group : groups_) {
    for (int64_t r = 0; r < kBlockRows; ++r) largest[r] = std::max(largest[r], -group.offset[r]);
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
  for (int64_t g = 0; g < count_; ++g) {
    const Group& group = groups_[g];
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
        best_.scales[g][r] = half_scale(std::max(wanted, T(0)));
        continue;
      }
      const T place = wanted / best_.outer[r];
      best_.scales[g][r] = within(std::nearbyint(place), shape_.scale_low, shape_.scale_high);
      if (best_.scales[g][r] == 0) best_.scales[g][r] = place < 0 ? T(-1) : T(1);
    }
    if (!search_) continue;
    best_.sums[g] = stored_pass(g, best_.scales[g], best_.offsets[g], best_);
    for (int64_t r = 0; r < kBlockRows; ++r) best_.error[r] += best_.sums[g].error[r];
  }
}

// Least squares for the codes of the last pass, and codes for these, from one start.
template <class T>
void BlockTile<T>::descend(int64_t g, Lanes scale, Lanes offset) {
  Group& group = groups_[g];
  for (int round = 0; round < kDescents; ++round) {
    const BlockSums<T> sums = pass(g, scale, offset);
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const bool better = sums.error[r] < group.error[r];
      group.error[r] = better ? sums.error[r] : group.error[r];
      group.scale[r] = better ? scale[r] : group.scale[r];
      group.offset[r] = better ? offset[r] : group.offset[r];
      const T l = sums.code[r], l2 = sums.square[r], xl = sums.product[r];
      const T alone = l2 > 0 ? xl / l2 : scale[r];
      if (!shape_.has_offset()) {
        scale[r] = alone;
        continue;
      }
      const T weight = group.weight[r], first = group.first[r];
      const T determinant = weight * l2 - l * l;
      if (!(determinant > std::numeric_limits<T>::epsilon() * weight * l2)) continue;
      const T both = (weight * xl - first * l) / determinant;
      const T shift = (first * l2 - l * xl) / determinant;
      const bool above = shape_.groups > 0 && shift > 0;
      const T next = above ? alone : both;
      if (!(next > 0)) continue;
      scale[r] = next;
      offset[r] = above ? T(0) : shift;
    }
  }
}

template <class T>
void BlockTile<T>::search_group(int64_t g) {
  Group& group = groups_[g];
  const Lanes low = group.low, high = group.high;
  group.error.fill(std::numeric_limits<T>::infinity());
  descend(g, group.scale, group.offset);
  Lanes scale, offset;
  offset.fill(0);
  for (int start = 0; start < kStarts; ++start) {
    const T shift = T(kFirstStart + kStartStep * start);
    if (shape_.has_offset()) {
      for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = (high[r] - low[r]) / (shape_.high + shift);
      descend(g, scale, low);
      continue;
    }
    for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = low[r] / (shape_.low + shift);
    descend(g, scale, offset);
    for (T& one : scale) one = -one;
    descend(g, scale, offset);
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
  const Group& group = groups_[g];
  Lanes scale, offset;
  for (int64_t r = 0; r < kBlockRows; ++r) offset[r] = half(group.offset[r]);
  BlockSums<T> sums = pass(g, group.scale, offset);
  for (int64_t r = 0; r < kBlockRows; ++r) {
    const T fitted = (sums.product[r] - offset[r] * sums.code[r]) / sums.square[r];
    scale[r] = half_scale(fitted > 0 ? fitted : group.scale[r]);
  }
  take_if_better(g, scale, offset, &best_);
  for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = half_scale(group.scale[r]);
  sums = pass(g, scale, group.offset);
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
  for (int64_t g = 0; g < count_; ++g) {
    const Group& group = groups_[g];
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
    const BlockSums<T> sums = pass(g, wanted, offset);
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T fitted = (sums.product[r] - offset[r] * sums.code[r]) / sums.square[r];
      wanted[r] = fitted > 0 ? fitted : wanted[r];
    }
  }
  for (int step = offsets ? 0 : -1; step <= (offsets ? 1 : 2); ++step) {
    Lanes scale;
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T place = wanted[r] / choice->outer[r];
      scale[r] = within(std::floor(place) + T(step), shape_.scale_low, shape_.scale_high);
      if (scale[r] == 0) scale[r] = place < 0 ? T(-1) : T(1);
    }
    take_if_better(g, scale, min, choice);
  }
}

// x ≈ outer · (scale · q) - outer_min · min by least squares over the block, in fp16.
template <class T>
void BlockTile<T>::fit_outer(Choice* choice) const {
  for (int64_t r = 0; r < kBlockRows; ++r) {
    T aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (int64_t g = 0; g < count_; ++g) {
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
    for (int64_t g = 0; g < count_; ++g) {
      best_.scales[g][r] = choice.scales[g][r];
      best_.offsets[g][r] = choice.offsets[g][r];
    }
  }
}

template class BlockTile<float>;
template class BlockTile<double>;

}  // namespace swage::quant
