#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "quant/kernels.h"
#include "quant/level_finder.h"

// The search for the level of one group that rounds its values best.
namespace swage::quant {

// How a range is chosen, by FitRequest::range or else by the scheme's keys.
struct SearchRule {
  enum class Kind { kExtremes, kPower, kWeighted } kind = Kind::kExtremes;
  double norm = kSearchNorm;

  SearchRule(const Scheme& scheme, const FitRequest& request) {
    const Value keys(scheme.keys);
    const std::string name = request.range.empty() ? keys.str("range", "minmax") : request.range;
    if (name == "mse") kind = Kind::kPower;
    if (name == "weighted") kind = Kind::kWeighted;
    norm = keys.f64("mse_norm", kSearchNorm);
  }
};

// Values under one level, side by side.
template <class T>
struct Group {
  const T* values;
  const T* importance;  // null: 1
  int64_t count;
  T low, high;  // the range whose multiples are tried
};

// Does cutting off alone cost more than the best candidate does? Of two values: the least and the
// greatest of the group.
template <class T>
class CutBound {
 public:
  CutBound(const SearchRule& rule, const Group<T>& group, const ScalarTable& table)
      : rule_(rule),
        first_(T(table.least())),
        last_(T(table.greatest())),
        low_(group.low),
        high_(group.high) {
    if (power()) return;
    const auto [least, greatest] = std::minmax_element(group.values, group.values + group.count);
    low_ = *least;
    high_ = *greatest;
    if (group.importance == nullptr) return;
    of_low_ = group.importance[least - group.values];
    of_high_ = group.importance[greatest - group.values];
  }

  // The kernels' sums are approximate.
  void set(T least_cost) {
    most_ = (power() ? std::pow(least_cost, T(1 / rule_.norm)) : least_cost) * T(1.001);
  }

  // Of what lies outside of the grid counts what rounding to storage (bf16 keeps 8 bits) cannot
  // hide.
  bool exceeded(const Level<T>& level) const {
    const T last = (last_ - level.zero) * level.scale;
    const T first = (first_ - level.zero) * level.scale;
    const T slack = (std::abs(first) + std::abs(last)) / 128 + T(1e-7);
    const T above = std::max(high_ - std::max(first, last) - slack, T(0));
    const T below = std::max(std::min(first, last) - low_ - slack, T(0));
    if (power()) return std::max(above, below) > most_;
    return of_low_ * (below * below) > most_ || of_high_ * (above * above) > most_;
  }

 private:
  bool power() const { return rule_.kind == SearchRule::Kind::kPower; }

  const SearchRule& rule_;
  const T first_, last_;  // of the table
  T low_, high_, of_low_ = 1, of_high_ = 1, most_ = std::numeric_limits<T>::infinity();
};

// Shrinks both ends together and keeps the level of least cost; the extremes win where nothing is
// better. Ranges that cut off more than the best one's whole error are passed over: three of four,
// without a change of the result.
template <class T>
class RangeSearch {
 public:
  // `grid` is of one group, without scales and zero points.
  RangeSearch(const LevelAccess& codec, const SearchRule& rule, const LevelStorage& storage,
              const Group<T>& group, const RowGrid<T>& grid)
      : codec_(codec),
        rule_(rule),
        storage_(storage),
        group_(group),
        grid_(grid),
        bound_(rule, group, codec.table()) {
    grid_.scales = &level_.scale;
    if (codec.layout().zeros) grid_.zeros = &level_.zero;
  }
  RangeSearch(const RangeSearch&) = delete;
  RangeSearch& operator=(const RangeSearch&) = delete;

  Level<T> best_of(const Level<T>& extremes, bool few_scales) {
    best_ = extremes;
    take(extremes);
    if (few_scales) {
      walk(extremes);
    } else {
      shrink();
    }
    return best_;
  }

 private:
  static constexpr double kStep = 0.01, kEnd = 0.205;  // factors 1.00, 0.99 … 0.21
  static constexpr int kMost = 512;                    // of them, from 5 times the range

  Level<T> level_at(T factor) const {
    return codec_.level(factor * group_.low, factor * group_.high, storage_);
  }

  T cost() const {
    return rule_.kind == SearchRule::Kind::kWeighted
               ? weighted_cost<T>(group_.values, group_.importance, group_.count, grid_)
               : power_cost<T>(group_.values, group_.count, grid_, T(rule_.norm));
  }

  void take(const Level<T>& candidate) {
    level_ = candidate;
    const T found = cost();
    if (!(found < least_)) return;
    least_ = found;
    best_ = candidate;
    bound_.set(least_);
  }

  // Tries multiples of the range. All levels come before the first cost: no branch here waits for
  // one.
  void shrink() {
    Level<T> levels[kMost];
    int count = 0;
    T last_scale = std::numeric_limits<T>::quiet_NaN(), last_zero = last_scale;
    const int start = static_cast<int>(std::lround((1 - codec_.search_start()) / kStep));
    for (int step = start; 1 - step * kStep > kEnd && count < kMost; ++step) {
      if (step == 0) continue;
      const Level<T> candidate = level_at(T(1) - T(step) / T(100));
      if (candidate.scale == last_scale && candidate.zero == last_zero) continue;
      last_scale = candidate.scale;
      last_zero = candidate.zero;
      if (std::isfinite(candidate.scale)) levels[count++] = candidate;
    }
    for (int i = 0; i < count; ++i) {
      if (!bound_.exceeded(levels[i])) take(levels[i]);
    }
  }

  // Tries every stored scale between the same ends, the widest range first.
  void walk(const Level<T>& extremes) {
    Level<T> candidate = level_at(T(codec_.search_start()));
    if (!std::isfinite(candidate.scale)) candidate = extremes;
    const T last = level_at(T(kEnd)).scale;
    T before = std::numeric_limits<T>::infinity();
    for (; candidate.scale > 0 && candidate.scale >= last && candidate.scale < before;
         candidate = codec_.level_below(candidate.stored, storage_)) {
      before = candidate.scale;
      if (candidate.scale == extremes.scale) continue;
      if (bound_.exceeded(candidate)) break;
      take(candidate);
    }
  }

  const LevelAccess& codec_;
  const SearchRule& rule_;
  const LevelStorage& storage_;
  const Group<T>& group_;
  RowGrid<T> grid_;
  CutBound<T> bound_;
  Level<T> level_, best_;
  T least_ = std::numeric_limits<T>::infinity();
};

}  // namespace swage::quant
