// Ranges of a weight and the levels that cover them.
#include "quant/level_finder.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "quant/range_search.h"
#include "quant/view.h"
#include "swage/call_site.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr double kSafe = 3e4;  // far below the greatest value of every dtype of decoded ones

template <class T>
class LevelFinder {
 public:
  LevelFinder(const LevelAccess& codec, const at::Tensor& weight, const FitRequest& request)
      : codec_(codec),
        request_(request),
        rule_(codec.scheme(), request),
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
    few_scales_ = !std::isnan(codec.level_below<T>(T(1), storage_).scale);
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
    SWAGE_RETURN_IF_ERROR(check_outer());
    if (levels_.outer.defined()) outer_ = levels_.outer.to(at::kDouble).contiguous();
    levels_.scales = at::empty({row_groups_, groups_}, weight_.options());
    levels_.zeros = at::empty_like(levels_.scales);
    choose_all(x);
    SWAGE_RETURN_IF_ERROR(check_levels());
    return levels_;
  }

 private:
  // What a format of a plugin answers is read by index below.
  absl::Status check_outer() const {
    const int64_t across = codec_.layout().outer_groups;
    if (!levels_.outer.defined()) return absl::OkStatus();  // nothing to read
    const int64_t rows = across < 0 ? 1 : row_groups_;
    const int64_t columns = across < 0 ? 1 : (groups_ + across - 1) / across;
    if (across != 0 && levels_.outer.sizes() == at::IntArrayRef{rows, columns})
      return absl::OkStatus();
    return plugin_fault(absl::StrCat("its outer_scales() are no [", rows, ", ", columns,
                                     "], which its layout says"));
  }
  absl::Status check_levels() const {
    const T* scales = levels_.scales.template const_data_ptr<T>();
    const auto place = [&](int64_t i) {
      return absl::StrCat("row ", i / groups_ * height_, ", group ", i % groups_);
    };
    for (int64_t i = 0; i < levels_.scales.numel(); ++i) {
      const double outer = outer_.defined() ? outer_of(i / groups_, i % groups_) : 1;
      if (std::isfinite(scales[i]) && std::isfinite(outer)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "the scale of ", place(i), " does not fit ",
          codec_.has_scale_dtype()
              ? "the dtype of the scales; set scale_dtype = \"fp32\" or \"bf16\""
              : absl::StrCat("the only dtype of scales that ", codec_.scheme().format, " stores")));
    }
    if (beyond_ == std::numeric_limits<int64_t>::max()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "values under the scale of ", place(beyond_), " lie beyond ", c10::toString(decoded_),
        ", what they decode to; set ",
        Value(codec_.scheme().keys).has("decoded") ? "decoded" : "scale_dtype", " = \"fp32\""));
  }

  static void keep_least(std::atomic<int64_t>* least, int64_t value) {
    int64_t now = least->load();
    while (value < now && !least->compare_exchange_weak(now, value)) {
    }
  }

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
        keep_least(&bad, r);
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

  // What an engine multiplies as one matrix has one scale of the whole: that of its extremes, which
  // no weight searches for itself.
  void share() {
    const ScalarLayout& layout = codec_.layout();
    const bool whole = layout.rows == 0 && layout.columns == 0;
    if (!codec_.shares()) return;
    if (!whole && layout.outer_groups != -1) return;
    for (const at::Tensor& other : request_.fused) {
      shared_low_ = std::min(shared_low_, other.min().template item<T>());
      shared_high_ = std::max(shared_high_, other.max().template item<T>());
    }
    if (!whole || request_.fused.empty()) return;
    ends_shared_ = true;
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
      for (int64_t i = begin * groups_; i < end * groups_; ++i) {
        LevelStorage storage = storage_;
        if (outer_.defined()) storage.outer = outer_of(i / groups_, i % groups_);
        Level<T> level = codec_.level(low[i], high[i], storage);
        // Equal values have the scale that fits them, if scales come as finely as that.
        const bool settled = few_scales_ ? low[i] == 0 && high[i] == 0 : low[i] == high[i];
        if (rule_.kind != SearchRule::Kind::kExtremes && !settled && !ends_shared_)
          level = searched(gather(x, i, &values, &importance), storage, level);
        if (std::max(-low[i], high[i]) > T(kSafe) && std::isfinite(level.scale) &&
            !decodes(level, low[i], high[i]))
          keep_least(&beyond_, i);
        levels_.scales.template mutable_data_ptr<T>()[i] = level.stored;
        levels_.zeros.template mutable_data_ptr<T>()[i] = level.zero;
      }
    });
  }

  // Are the ends of a range still finite when they are decoded?
  bool decodes(const Level<T>& level, T low, T high) const {
    RowGrid<T> grid = grid_of(&level, 2);
    const T ends[] = {low, high};
    uint8_t codes[2];
    T values[2];
    plain::encode_row(ends, 2, grid, codes);
    plain::decode_row(codes, 2, grid, values);
    return std::isfinite(values[0]) && std::isfinite(values[1]);
  }

  // Of one group; its level, if any, outlives it.
  RowGrid<T> grid_of(const Level<T>* level, int64_t width) const {
    RowGrid<T> grid;
    grid.table = &codec_.table();
    grid.width = width;
    grid.storage = decoded_;
    if (level == nullptr) return grid;
    grid.scales = &level->scale;
    if (codec_.layout().zeros) grid.zeros = &level->zero;
    return grid;
  }

  double outer_of(int64_t row, int64_t group) const {
    const int64_t across = codec_.layout().outer_groups;
    const double* outer = outer_.const_data_ptr<double>();
    return across < 0 ? outer[0] : outer[row * outer_.size(1) + group / across];
  }

  // The values under one level, side by side.
  Group<T> gather(const T* x, int64_t index, std::vector<T>* values,
                  std::vector<T>* importance) const {
    const int64_t row = index / groups_ * height_, first = index % groups_ * width_;
    const int64_t rows = std::min(height_, rows_ - row), count = std::min(width_, columns_ - first);
    const T* weights = importance_.defined() && rule_.kind == SearchRule::Kind::kWeighted
                           ? importance_.template const_data_ptr<T>() + first
                           : nullptr;
    const T* from = x + row * columns_ + first;
    Group<T> group{from, weights, count, low_.template const_data_ptr<T>()[index],
                   high_.template const_data_ptr<T>()[index]};
    if (rows == 1) return group;
    values->clear();
    importance->clear();
    for (int64_t r = 0; r < rows; ++r) {
      values->insert(values->end(), from + r * columns_, from + r * columns_ + count);
      if (weights) importance->insert(importance->end(), weights, weights + count);
    }
    group.values = values->data();
    if (weights) group.importance = importance->data();
    group.count = rows * count;
    return group;
  }

  Level<T> searched(const Group<T>& group, const LevelStorage& storage,
                    const Level<T>& extremes) const {
    RangeSearch<T> search(codec_, rule_, storage, group, grid_of(nullptr, group.count));
    return search.best_of(extremes, few_scales_);
  }

  const LevelAccess codec_;
  const FitRequest& request_;
  const SearchRule rule_;
  const at::Tensor weight_;
  const int64_t rows_, columns_;
  int64_t height_ = 1, width_ = 1, groups_ = 1, row_groups_ = 1;
  LevelStorage storage_;
  c10::ScalarType decoded_ = c10::ScalarType::Float;
  bool few_scales_ = false, ends_shared_ = false;
  T shared_low_ = std::numeric_limits<T>::infinity();
  T shared_high_ = -std::numeric_limits<T>::infinity();
  // The first level under which the ends of the range decode to infinity.
  std::atomic<int64_t> beyond_{std::numeric_limits<int64_t>::max()};
  at::Tensor low_, high_, importance_, outer_;
  Levels levels_;
};

}  // namespace

template <class T>
absl::Status not_finite(const T* x, int64_t row, int64_t columns) {
  int64_t column = 0;
  while (std::isfinite(x[row * columns + column])) ++column;
  return absl::InvalidArgumentError(
      absl::StrCat("the weight holds ", std::isnan(x[row * columns + column]) ? "NaN" : "infinity",
                   " at row ", row, ", column ", column, "; only finite weights can be quantized"));
}
template absl::Status not_finite(const float*, int64_t, int64_t);
template absl::Status not_finite(const double*, int64_t, int64_t);

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
                   codec.scheme().keys.count("group_tail") > 0
                       ? "; or set group_tail = \"short\" for a shorter last group"
                       : ""));
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
