// Ranges of a weight and the grids that cover them.
#include <atomic>

#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr int kMseSteps = 80;  // shrink factors 1.00, 0.99 … 0.21

absl::Status check_groups(const WeightScheme& scheme, int64_t columns) {
  if (scheme.granularity != Granularity::kGroup) return absl::OkStatus();
  if (scheme.group_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("group size ", scheme.group_size, ", expected at least 1"));
  }
  if (columns % scheme.group_size == 0 || scheme.group_tail_short) return absl::OkStatus();
  std::string fitting;
  for (int64_t size = 8; size <= std::min<int64_t>(columns, 1024); ++size) {
    if (columns % size == 0) absl::StrAppend(&fitting, fitting.empty() ? "" : ", ", size);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a group of ", scheme.group_size, " columns does not divide the input width ",
                   columns, "; these do: ", fitting.empty() ? absl::StrCat(columns) : fitting,
                   "; or set group_tail = \"short\" for a shorter last group"));
}

absl::Status check_arguments(const at::Tensor& weight, const WeightScheme& scheme) {
  if (weight.dim() != 2 || weight.numel() == 0) {
    return absl::InvalidArgumentError(
        "a weight to quantize needs two dimensions that are not empty");
  }
  if (scheme.format == NumberFormat::kDense)
    return absl::InvalidArgumentError("a dense scheme has no grid");
  if (scheme.format == NumberFormat::kInt && (scheme.bits < 2 || scheme.bits > 8)) {
    return absl::InvalidArgumentError(absl::StrCat(scheme.bits, " bits, expected 2 to 8"));
  }
  if (scheme.format != NumberFormat::kInt && !scheme.symmetric) {
    return absl::InvalidArgumentError("fp8 has no zero point: symmetric = true is needed");
  }
  return check_groups(scheme, weight.size(1));
}

template <class T>
absl::Status not_finite(const T* x, int64_t row, int64_t columns) {
  int64_t column = 0;
  while (std::isfinite(x[row * columns + column])) ++column;
  return absl::InvalidArgumentError(
      absl::StrCat("the weight holds ", std::isnan(x[row * columns + column]) ? "NaN" : "infinity",
                   " at row ", row, ", column ", column, "; only finite weights can be quantized"));
}

constexpr double kMsePower = 2.4;

// How far the ends of a range lie outside of the grid, less what rounding to storage can hide (bf16
// keeps 8 bits): a lower bound of the largest error, since both ends are elements or, being zero,
// on the grid.
template <class T>
T least_clipping(T low, T high, const Level<T>& level, const RowGrid<T>& grid) {
  const bool integer = grid.format == NumberFormat::kInt;
  const T magnitude = std::abs(level.scale);
  const T reach = integer ? T(0) : T(fp8_max(grid.format)) * magnitude;
  const T last = integer ? (grid.high - level.zero) * level.scale : reach;
  const T first = integer ? (grid.low - level.zero) * level.scale : -reach;
  const T slack = (std::abs(first) + std::abs(last)) / 128 + T(1e-7);
  return std::max(high - std::max(first, last), std::min(first, last) - low) - slack;
}

// Shrinks both ends together and keeps the range with the least Σ|error|^2.4. Ranges that cut off
// more than the best one's whole error are passed over: three of four, without a change of the
// result.
template <class T>
Level<T> search_level(const T* x, int64_t count, T low, T high, const WeightScheme& scheme,
                      at::ScalarType storage) {
  Level<T> best = choose_level(low, high, scheme, storage);
  if (low == high) return best;
  RowGrid<T> grid;
  grid.width = count;
  grid.low = T(code_min(scheme.bits));
  grid.high = T(code_max(scheme.bits));
  grid.format = scheme.format;
  grid.storage = storage;
  T least = std::numeric_limits<T>::infinity(), most_clipping = least;
  for (int step = 0; step < kMseSteps; ++step) {
    const T shrink = T(1) - T(step) / T(100);
    const Level<T> level = choose_level(shrink * low, shrink * high, scheme, storage);
    if (least_clipping(low, high, level, grid) > most_clipping) continue;
    grid.scales = &level.scale;
    grid.zeros = &level.zero;
    const T cost = rounding_cost<T>(x, count, grid);
    if (cost < least) {
      least = cost;
      most_clipping =
          std::pow(least, T(1 / kMsePower)) * T(1.001);  // the kernel's power is approximate
      best = level;
    }
  }
  return best;
}

template <class T>
class GridFinder {
 public:
  GridFinder(const at::Tensor& weight, const WeightScheme& scheme, at::ScalarType storage)
      : weight_(weight),
        scheme_(scheme),
        storage_(storage),
        rows_(weight.size(0)),
        columns_(weight.size(1)) {
    const bool tensor = scheme.granularity == Granularity::kTensor;
    groups_ = scheme.group_count(columns_);
    width_ = scheme.group_width(columns_);
    low_ = at::empty({rows_, groups_}, weight.options());
    high_ = at::empty_like(low_);
    scales_ = at::empty({tensor ? 1 : rows_, groups_}, weight.options());
    zeros_ = at::empty_like(scales_);
  }

  absl::StatusOr<Grid> find() {
    const T* x = weight_.template const_data_ptr<T>();
    const int64_t bad_row = take_ranges(x);
    if (bad_row < rows_) return not_finite(x, bad_row, columns_);
    if (scheme_.granularity == Granularity::kTensor) {
      set_level(0, low_.min().template item<T>(), high_.max().template item<T>(), x,
                rows_ * columns_);
    } else {
      choose_all(x);
    }
    const T* scales = scales_.template const_data_ptr<T>();
    for (int64_t i = 0; i < scales_.numel(); ++i) {
      if (!std::isfinite(scales[i])) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the scale of row ", i / groups_, ", group ", i % groups_,
            " does not fit the dtype of the scales; set scale_dtype = \"fp32\" or \"bf16\""));
      }
    }
    Grid grid{scheme_, scales_.to(storage_), {}};
    if (scheme_.format == NumberFormat::kInt && !scheme_.symmetric)
      grid.zeros = zeros_.to(at::kChar);
    return grid;
  }

 private:
  // The first row with a value that is not finite, or the number of rows.
  int64_t take_ranges(const T* x) {
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

  void choose_all(const T* x) {
    const T* low = low_.template const_data_ptr<T>();
    const T* high = high_.template const_data_ptr<T>();
    at::parallel_for(0, rows_, rows_per_task(columns_), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * groups_; i < end * groups_; ++i) {
        const int64_t first = i % groups_ * width_;
        set_level(i, low[i], high[i], x + i / groups_ * columns_ + first,
                  std::min(width_, columns_ - first));
      }
    });
  }

  void set_level(int64_t index, T low, T high, const T* x, int64_t count) {
    const Level<T> level = scheme_.range == RangeRule::kMse
                               ? search_level(x, count, low, high, scheme_, storage_)
                               : choose_level(low, high, scheme_, storage_);
    scales_.template mutable_data_ptr<T>()[index] = level.scale;
    zeros_.template mutable_data_ptr<T>()[index] = level.zero;
  }

  const at::Tensor weight_;
  const WeightScheme& scheme_;
  const at::ScalarType storage_;
  const int64_t rows_, columns_;
  int64_t groups_ = 1, width_ = 1;
  at::Tensor low_, high_, scales_, zeros_;
};

}  // namespace

absl::StatusOr<Grid> find_grid(const at::Tensor& weight, const WeightScheme& scheme,
                               at::ScalarType scale_dtype, const at::Tensor& clip_low,
                               const at::Tensor& clip_high) {
  SWAGE_RETURN_IF_ERROR(check_arguments(weight, scheme));
  const at::Tensor inside = clamp_to_limits(weight, scheme, clip_low, clip_high);
  const at::Tensor w = inside.to(arithmetic_type(weight.scalar_type())).contiguous();
  if (w.scalar_type() == at::kDouble) return GridFinder<double>(w, scheme, scale_dtype).find();
  return GridFinder<float>(w, scheme, scale_dtype).find();
}

}  // namespace swage::quant
