#include "quant/block_groups.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace swage::quant {
namespace {

// Starts of the search, as shares of the range: from where it is a quarter wider, or has room for
// all codes but one of the least format, down to half of it.
constexpr int kStarts = 37;
constexpr double kWidest = 1.25, kNarrowest = 0.5, kSpareCodes = 0.9;
constexpr int kDescents = 3;  // passes from each start

}  // namespace

template <class T>
BlockGroups<T>::BlockGroups(const BlockShape& shape)
    : shape_(shape),
      x_(static_cast<size_t>(shape.columns() * kBlockRows)),
      groups_(static_cast<size_t>(shape.columns() / shape.width)) {}

template <class T>
void BlockGroups<T>::load(const T* x, int64_t stride, int64_t rows, const T* importance) {
  importance_ = importance;
  if (rows < kBlockRows) std::fill(x_.begin(), x_.end(), T(0));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < shape_.columns(); ++c)
      x_[static_cast<size_t>(c * kBlockRows + r)] = x[r * stride + c];
  }
  for (int64_t g = 0; g < count(); ++g) take_extremes(g);
}

template <class T>
void BlockGroups<T>::take_extremes(int64_t g) {
  BlockGroup<T>& group = groups_[g];
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
      group.scale[r] = group.low[r] / T(shape_.reach);
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
BlockSums<T> BlockGroups<T>::pass(int64_t g, const Lanes& scale, const Lanes& offset) const {
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

// Least squares for the codes of the last pass, and codes for these, from one start.
template <class T>
void BlockGroups<T>::descend(int64_t g, Lanes scale, Lanes offset) {
  BlockGroup<T>& group = groups_[g];
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
void BlockGroups<T>::search(int64_t g) {
  BlockGroup<T>& group = groups_[g];
  const Lanes low = group.low, high = group.high;
  group.error.fill(std::numeric_limits<T>::infinity());
  descend(g, group.scale, group.offset);
  const T steps = T(shape_.has_offset() ? shape_.high : -shape_.low);
  const T widest = std::max(T(kWidest), steps / (steps - T(kSpareCodes)));
  for (int start = 0; start < kStarts; ++start) {
    const T share = widest - (widest - T(kNarrowest)) * T(start) / T(kStarts - 1);
    Lanes scale, offset;
    if (!shape_.has_offset()) {
      offset.fill(0);
      for (int64_t r = 0; r < kBlockRows; ++r) scale[r] = share * low[r] / T(shape_.low);
      descend(g, scale, offset);
      for (T& one : scale) one = -one;
      descend(g, scale, offset);
      continue;
    }
    // Either end of the range stays where it is.
    for (int64_t r = 0; r < kBlockRows; ++r) {
      const T part = share * (high[r] - low[r]);
      scale[r] = part / steps;
      offset[r] = shape_.groups > 0 ? std::min(high[r] - part, T(0)) : high[r] - part;
    }
    descend(g, scale, low);
    descend(g, scale, offset);
  }
}

template class BlockGroups<float>;
template class BlockGroups<double>;

}  // namespace swage::quant
