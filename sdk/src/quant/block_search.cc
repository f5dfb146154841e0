// A tile of sixteen rows and one block of columns is fitted at once; every row for itself.
#include "quant/block_search.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "quant/block_tile.h"
#include "quant/kernels.h"
#include "quant/level_finder.h"
#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

// Importances as weights in [0, 1], so that sums of squares stay within fp32.
template <class T>
std::vector<T> weights_of(const at::Tensor& importance, int64_t columns) {
  if (!importance.defined()) return std::vector<T>(static_cast<size_t>(columns), T(1));
  at::Tensor wide = importance.to(at::kCPU, at::kDouble).contiguous();
  const double greatest = wide.max().item<double>();
  if (!(greatest > 0)) return std::vector<T>(static_cast<size_t>(columns), T(1));
  const at::Tensor share = (wide / greatest).to(c10::CppTypeToScalarType<T>::value);
  const T* from = share.template const_data_ptr<T>();
  return {from, from + columns};
}

template <class T>
class BlockSearch {
 public:
  BlockSearch(const at::Tensor& weight, const BlockShape& shape, bool search,
              const at::Tensor& importance)
      : weight_(weight),
        shape_(shape),
        search_(search),
        importance_(weights_of<T>(importance, weight.size(1))),
        rows_(weight.size(0)),
        columns_(weight.size(1)),
        groups_(columns_ / shape.width),
        blocks_(columns_ / shape.columns()) {
    const auto options = weight.options();
    const bool outer = shape.groups > 0;
    const auto small = shape.scale_low < 0 ? at::kChar : at::kByte;
    levels_.scales = at::empty({rows_, groups_}, options.dtype(outer ? small : at::kHalf));
    if (shape.has_offset())
      levels_.offsets = at::empty({rows_, groups_}, options.dtype(outer ? at::kByte : at::kHalf));
    if (outer) levels_.outer = at::empty({rows_, blocks_}, options.dtype(at::kHalf));
    if (outer && shape.has_offset()) levels_.outer_mins = at::empty_like(levels_.outer);
  }

  // The first row whose levels leave fp16, or the number of rows.
  int64_t run() {
    std::atomic<int64_t> bad{rows_};
    const int64_t tiles = (rows_ + kBlockRows - 1) / kBlockRows;
    const int64_t grain = std::max<int64_t>(1, 65536 / (columns_ * kBlockRows));
    at::parallel_for(0, tiles, grain, [&](int64_t begin, int64_t end) {
      BlockTile<T> tile(shape_, search_);
      for (int64_t row = begin * kBlockRows; row < std::min(end * kBlockRows, rows_);
           row += kBlockRows) {
        const int64_t count = std::min(kBlockRows, rows_ - row);
        for (int64_t block = 0; block < blocks_; ++block) {
          const int64_t first = block * shape_.columns();
          tile.fit(weight_.template const_data_ptr<T>() + row * columns_ + first, columns_, count,
                   importance_.data() + first);
          for (int64_t r = 0; r < count; ++r) {
            if (store(tile, row + r, block, r)) continue;
            int64_t least = bad.load();
            while (row + r < least && !bad.compare_exchange_weak(least, row + r)) {
            }
          }
        }
      }
    });
    return bad.load();
  }

  BlockLevels take() { return std::move(levels_); }

 private:
  // False where a level is not finite.
  bool store(const BlockTile<T>& tile, int64_t row, int64_t block, int64_t lane) {
    bool finite = true;
    const auto put = [&](at::Tensor& levels, int64_t index, T value) {
      if (levels.scalar_type() == at::kHalf) {
        const auto half = static_cast<c10::Half>(static_cast<float>(value));
        finite = finite && std::isfinite(static_cast<float>(half));
        levels.mutable_data_ptr<c10::Half>()[index] = half;
      } else if (std::isfinite(value)) {
        static_cast<uint8_t*>(levels.mutable_data_ptr())[index] =
            static_cast<uint8_t>(static_cast<int>(value));
      } else {
        finite = false;
      }
    };
    const int64_t groups = groups_ / blocks_, first = row * groups_ + block * groups;
    for (int64_t g = 0; g < groups; ++g) {
      put(levels_.scales, first + g, tile.scale(g, lane));
      if (levels_.offsets.defined()) put(levels_.offsets, first + g, tile.offset(g, lane));
    }
    if (levels_.outer.defined()) put(levels_.outer, row * blocks_ + block, tile.outer(lane));
    if (levels_.outer_mins.defined())
      put(levels_.outer_mins, row * blocks_ + block, tile.outer_min(lane));
    return finite;
  }

  const at::Tensor weight_;
  const BlockShape shape_;
  const bool search_;
  const std::vector<T> importance_;
  const int64_t rows_, columns_, groups_, blocks_;
  BlockLevels levels_;
};

template <class T>
absl::Status check_finite(const at::Tensor& weight) {
  const int64_t columns = weight.size(1);
  const T* x = weight.template const_data_ptr<T>();
  for (int64_t r = 0; r < weight.size(0); ++r) {
    T low, high;
    if (!row_ranges<T>(x + r * columns, columns, columns, &low, &high))
      return not_finite(x, r, columns);
  }
  return absl::OkStatus();
}

template <class T>
absl::StatusOr<BlockLevels> search_as(const at::Tensor& weight, const BlockShape& shape,
                                      bool search, const at::Tensor& importance,
                                      const std::string& format) {
  SWAGE_RETURN_IF_ERROR(check_finite<T>(weight));
  BlockSearch<T> all(weight, shape, search, importance);
  const int64_t bad = all.run();
  if (bad == weight.size(0)) return all.take();
  return absl::InvalidArgumentError(
      absl::StrCat("a scale of row ", bad, " does not fit fp16, the only dtype of scales that ",
                   format, " stores"));
}

}  // namespace

absl::StatusOr<BlockLevels> search_blocks(const at::Tensor& weight, const BlockShape& shape,
                                          const std::string& range, const FitRequest& request,
                                          const std::string& format) {
  const at::Tensor inside =
      clamp_to_limits(weight, shape.width, request.clip_low, request.clip_high);
  const at::Tensor w = inside.to(at::kCPU, arithmetic_type(weight.scalar_type())).contiguous();
  const at::Tensor importance = range == "weighted" ? request.importance : at::Tensor();
  auto levels = w.scalar_type() == at::kDouble
                    ? search_as<double>(w, shape, range != "minmax", importance, format)
                    : search_as<float>(w, shape, range != "minmax", importance, format);
  if (!levels.ok() || weight.is_cpu()) return levels;
  for (at::Tensor* one : {&levels->scales, &levels->offsets, &levels->outer, &levels->outer_mins})
    if (one->defined()) *one = one->to(weight.device());
  return levels;
}

}  // namespace swage::quant
