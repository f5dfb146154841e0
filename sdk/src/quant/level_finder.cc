// Ranges of a weight and the levels that cover them.
#include "quant/level_finder.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr int kPercent = 100, kSearchEnd = 80;  // shrink factors 1.00, 0.99 … 0.21

template <class T>
absl::Status not_finite(const T* x, int64_t row, int64_t columns) {
  int64_t column = 0;
  while (std::isfinite(x[row * columns + column])) ++column;
  return absl::InvalidArgumentError(
      absl::StrCat("the weight holds ", std::isnan(x[row * columns + column]) ? "NaN" : "infinity",
                   " at row ", row, ", column ", column, "; only finite weights can be quantized"));
}

// How a range is chosen.
struct Search {
  enum class Kind { kExtremes, kPower, kWeighted } kind = Kind::kExtremes;
  double norm = kSearchNorm;
};

Search search_of(const LevelAccess& codec, const FitRequest& request) {
  Search search;
  const Value keys(codec.scheme().keys);
  const std::string rule = request.range.empty() ? keys.str("range", "minmax") : request.range;
  if (rule == "mse") search.kind = Search::Kind::kPower;
  if (rule == "weighted") search.kind = Search::Kind::kWeighted;
  search.norm = keys.f64("mse_norm", kSearchNorm);
  return search;
}

template <class T>
class LevelFinder {
 public:
  LevelFinder(const LevelAccess& codec, const at::Tensor& weight, const FitRequest& request)
      : codec_(codec),
        request_(request),
        search_(search_of(codec, request)),
        weight_(weight),
        rows_(weight.size(0)),
        columns_(weight.size(1)) {
    const ScalarLayout& layout = codec.layout();
    height_ = layout.rows > 0 ? layout.rows : rows_;
    width_ = layout.columns > 0 ? layout.columns : columns_;
    groups_ = (columns_ + width_ - 1) / width_;
    row_groups_ = (rows_ + height_ - 1) / height_;
    storage_.scales = codec.scale_type(request.scale_dtype);
    decoded_ = codec.decoded_type(storage_.scales);
    least_ = T(codec.table().least());
    greatest_ = T(codec.table().greatest());
    const int start = static_cast<int>(std::lround((1 - codec.search_start()) * kPercent));
    for (int step = start; step < kSearchEnd; ++step)
      if (step != 0) shrinks_.push_back(T(1) - T(step) / T(kPercent));
    if (request.importance.defined())
      importance_ = request.importance.to(weight.options()).contiguous();
  }

  absl::StatusOr<Levels> find() {
    const T* x = weight_.template const_data_ptr<T>();
    const int64_t bad_row = take_ranges(x);
    if (bad_row < rows_) return not_finite(x, bad_row, columns_);
    merge_rows();
    share();
    levels_.outer = outer_scales();
    if (levels_.outer.defined()) outer_ = levels_.outer.to(at::kDouble).contiguous();
    levels_.scales = at::empty({row_groups_, groups_}, weight_.options());
    levels_.zeros = at::empty_like(levels_.scales);
    choose_all(x);
    const T* scales = levels_.scales.template const_data_ptr<T>();
    for (int64_t i = 0; i < levels_.scales.numel(); ++i) {
      if (!std::isfinite(scales[i])) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the scale of row ", i / groups_ * height_, ", group ", i % groups_,
            " does not fit the dtype of the scales; set scale_dtype = \"fp32\" or \"bf16\""));
      }
    }
    return levels_;
  }

 private:
  // The first row with a value that is not finite, or the number of rows.
  int64_t take_ranges(const T* x) {
    low_ = at::empty({rows_, groups_}, weight_.options());
    high_ = at::empty_like(low_);
    T* low = low_.template mutable_data_ptr<T>();
    T* high = high_.template mutable_data_ptr<T>();
    std::atomic<int64_t> bad{rows_};
    at::parallel_for(0, rows_, rows_per_task(columns_), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        if (row_ranges<T>(x + r * columns_, columns_, width_, low + r * groups_,
                          high + r * groups_))
          continue;
        int64_t first = bad.load();
        while (r < first && !bad.compare_exchange_weak(first, r)) {
        }
      }
    });
    return bad.load();
  }

  // Rows that share a level have one range.
  void merge_rows() {
    if (height_ == 1) return;
    std::vector<at::Tensor> low, high;
    for (int64_t r = 0; r < rows_; r += height_) {
      const int64_t count = std::min(height_, rows_ - r);
      low.push_back(low_.narrow(0, r, count).amin(0, true));
      high.push_back(high_.narrow(0, r, count).amax(0, true));
    }
    low_ = at::cat(low);
    high_ = at::cat(high);
  }

  // What an engine multiplies as one matrix has one scale of the whole.
  void share() {
    const ScalarLayout& layout = codec_.layout();
    const bool whole = layout.rows == 0 && layout.columns == 0;
    if (Value(codec_.scheme().keys).str("share", "none") != "fused") return;
    if (!whole && layout.outer_groups != -1) return;
    for (const at::Tensor& other : request_.fused) {
      shared_low_ = std::min(shared_low_, other.min().template item<T>());
      shared_high_ = std::max(shared_high_, other.max().template item<T>());
    }
    if (!whole || request_.fused.empty()) return;
    low_.clamp_max_(shared_low_);
    high_.clamp_min_(shared_high_);
  }

  at::Tensor outer_scales() const {
    if (codec_.layout().outer_groups != -1)
      return codec_.outer_scales(low_, high_, request_.scale_dtype);
    return codec_.outer_scales(low_.amin().clamp_max(shared_low_).reshape({1, 1}),
                               high_.amax().clamp_min(shared_high_).reshape({1, 1}),
                               request_.scale_dtype);
  }

  void choose_all(const T* x) {
    const T* low = low_.template const_data_ptr<T>();
    const T* high = high_.template const_data_ptr<T>();
    const int64_t grain = std::max<int64_t>(1, rows_per_task(columns_) / height_);
    at::parallel_for(0, row_groups_, grain, [&](int64_t begin, int64_t end) {
      std::vector<T> values, importance;
      std::vector<Candidate> candidates;
      for (int64_t i = begin * groups_; i < end * groups_; ++i) {
        LevelStorage storage = storage_;
        if (outer_.defined()) storage.outer = outer_of(i / groups_, i % groups_);
        Level<T> level = codec_.level(low[i], high[i], storage);
        if (search_.kind != Search::Kind::kExtremes && low[i] != high[i]) {
          const size_t count = list_candidates(low[i], high[i], storage, &candidates);
          level = searched(gather(x, i, &values, &importance), level, candidates.data(), count);
        }
        levels_.scales.template mutable_data_ptr<T>()[i] = level.stored;
        levels_.zeros.template mutable_data_ptr<T>()[i] = level.zero;
      }
    });
  }

  double outer_of(int64_t row, int64_t group) const {
    const int64_t across = codec_.layout().outer_groups;
    const double* outer = outer_.const_data_ptr<double>();
    return across < 0 ? outer[0] : outer[row * outer_.size(1) + group / across];
  }

  struct Group {
    const T* values;
    const T* importance;  // null: 1
    int64_t count;
  };

  // The values under one level, side by side.
  Group gather(const T* x, int64_t index, std::vector<T>* values,
               std::vector<T>* importance) const {
    const int64_t row = index / groups_ * height_, first = index % groups_ * width_;
    const int64_t rows = std::min(height_, rows_ - row), count = std::min(width_, columns_ - first);
    const T* weights = importance_.defined() && search_.kind == Search::Kind::kWeighted
                           ? importance_.template const_data_ptr<T>() + first
                           : nullptr;
    const T* from = x + row * columns_ + first;
    if (rows == 1) return {from, weights, count};
    values->clear();
    importance->clear();
    for (int64_t r = 0; r < rows; ++r) {
      values->insert(values->end(), from + r * columns_, from + r * columns_ + count);
      if (weights) importance->insert(importance->end(), weights, weights + count);
    }
    return {values->data(), weights ? importance->data() : nullptr, rows * count};
  }

  T cost(const Group& group, const RowGrid<T>& grid) const {
    return search_.kind == Search::Kind::kWeighted
               ? weighted_cost<T>(group.values, group.importance, group.count, grid)
               : power_cost<T>(group.values, group.count, grid, T(search_.norm));
  }

  // A level to try, and a lower bound of the largest error under it.
  struct Candidate {
    Level<T> level;
    T clipping = 0;
  };

  // How far the ends of a range lie outside of the grid, less what rounding to storage can hide
  // (bf16 keeps 8 bits): a lower bound of the largest error, since both ends are elements or, being
  // zero, on the grid.
  T least_clipping(T low, T high, const Level<T>& level) const {
    const T last = (greatest_ - level.zero) * level.scale;
    const T first = (least_ - level.zero) * level.scale;
    const T slack = (std::abs(first) + std::abs(last)) / 128 + T(1e-7);
    return std::max(high - std::max(first, last), std::min(first, last) - low) - slack;
  }

  // The levels of both ends shrunk together, widest first; the number of them. All before the first
  // is tried: no branch here waits for a cost.
  size_t list_candidates(T low, T high, const LevelStorage& storage,
                         std::vector<Candidate>* candidates) const {
    candidates->resize(shrinks_.size());
    size_t count = 0;
    T last_scale = std::numeric_limits<T>::quiet_NaN(), last_zero = last_scale;
    for (const T shrink : shrinks_) {
      const Level<T> level = codec_.level(shrink * low, shrink * high, storage);
      if (level.scale == last_scale && level.zero == last_zero) continue;
      last_scale = level.scale;
      last_zero = level.zero;
      if (std::isfinite(level.scale)) (*candidates)[count++].level = level;
    }
    if (search_.kind == Search::Kind::kPower) {
      for (size_t i = 0; i < count; ++i) {
        Candidate& candidate = (*candidates)[i];
        candidate.clipping = least_clipping(low, high, candidate.level);
      }
    }
    return count;
  }

  // Keeps the range of least cost; the extremes win where nothing is better. Ranges that cut off
  // more than the best one's whole error are passed over: three of four, without a change of the
  // result.
  Level<T> searched(const Group& group, const Level<T>& extremes, const Candidate* candidates,
                    size_t count) const {
    Level<T> best = extremes, level = extremes;
    RowGrid<T> grid;
    grid.table = &codec_.table();
    grid.width = group.count;
    grid.storage = decoded_;
    grid.scales = &level.scale;
    if (codec_.layout().zeros) grid.zeros = &level.zero;
    const bool power = search_.kind == Search::Kind::kPower;
    T most_clipping = std::numeric_limits<T>::infinity(), least = most_clipping;
    const auto take = [&](const Level<T>& candidate) {
      level = candidate;
      const T found = cost(group, grid);
      if (!(found < least)) return;
      least = found;
      best = candidate;
      // The kernel's power is approximate.
      if (power) most_clipping = std::pow(least, T(1 / search_.norm)) * T(1.001);
    };
    take(extremes);
    for (size_t i = 0; i < count; ++i) {
      if (!(candidates[i].clipping > most_clipping)) take(candidates[i].level);
    }
    return best;
  }

  const LevelAccess codec_;
  const FitRequest& request_;
  const Search search_;
  const at::Tensor weight_;
  const int64_t rows_, columns_;
  int64_t height_ = 1, width_ = 1, groups_ = 1, row_groups_ = 1;
  LevelStorage storage_;
  at::ScalarType decoded_ = at::kFloat;
  T least_ = 0, greatest_ = 0;  // of the table
  std::vector<T> shrinks_;
  T shared_low_ = std::numeric_limits<T>::infinity();
  T shared_high_ = -std::numeric_limits<T>::infinity();
  at::Tensor low_, high_, importance_, outer_;
  Levels levels_;
};

}  // namespace

absl::Status check_groups(const ScalarCodec& codec, int64_t columns) {
  const int64_t width = codec.layout().columns;
  if (codec.layout().short_tail || width == 0 || columns % width == 0) return absl::OkStatus();
  if (!codec.scheme().keys.count("group")) {
    return absl::InvalidArgumentError(
        absl::StrCat(codec.format(), " stores ", width,
                     " columns under one scale, which does not divide the input width ", columns));
  }
  std::string fitting;
  for (int64_t size = 8; size <= std::min<int64_t>(columns, 1024); ++size) {
    if (columns % size == 0) absl::StrAppend(&fitting, fitting.empty() ? "" : ", ", size);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a group of ", width, " columns does not divide the input width ", columns,
                   "; these do: ", fitting.empty() ? absl::StrCat(columns) : fitting,
                   "; or set group_tail = \"short\" for a shorter last group"));
}

absl::StatusOr<Levels> find_levels(const ScalarCodec& codec, const at::Tensor& weight,
                                   const FitRequest& request) {
  const at::Tensor inside = clamp_to_limits(weight, codec.group_width(weight.size(1)),
                                            request.clip_low, request.clip_high);
  // Searches over candidates are branches a group: they run on the host, for any device.
  const at::Tensor w = inside.to(at::kCPU, arithmetic_type(weight.scalar_type())).contiguous();
  const LevelAccess access(codec);
  auto levels = w.scalar_type() == at::kDouble ? LevelFinder<double>(access, w, request).find()
                                               : LevelFinder<float>(access, w, request).find();
  if (!levels.ok() || weight.is_cpu()) return levels;
  for (at::Tensor* one : {&levels->scales, &levels->zeros, &levels->outer})
    if (one->defined()) *one = one->to(weight.device());
  return levels;
}

}  // namespace swage::quant
