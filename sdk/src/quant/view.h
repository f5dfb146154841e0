#pragma once
#include <vector>

#include "quant/kernels.h"
#include "swage/quant/scalar_grid.h"

namespace swage::quant {

// Rows of a grid in the type of the arithmetic; holds the converted tensors.
template <class T>
class GridRows {
 public:
  explicit GridRows(const ScalarGrid& grid) : height_(grid.height) {
    scales_ = converted(grid.scale);
    zeros_ = converted(grid.zero);
    offsets_ = converted(grid.offset);
    row_.table = grid.table.get();
    row_.width = grid.width;
    row_.storage = grid.decoded;
  }

  RowGrid<T> row(int64_t index) const {
    const int64_t first = index / height_ * scales_.size(1);
    RowGrid<T> row = row_;
    row.scales = scales_.const_data_ptr<T>() + first;
    if (zeros_.defined()) row.zeros = zeros_.const_data_ptr<T>() + first;
    if (offsets_.defined()) row.offsets = offsets_.const_data_ptr<T>() + first;
    return row;
  }

 private:
  static at::Tensor converted(const at::Tensor& levels) {
    return levels.defined() ? levels.to(c10::CppTypeToScalarType<T>::value).contiguous() : levels;
  }

  at::Tensor scales_, zeros_, offsets_;
  RowGrid<T> row_;
  const int64_t height_;
};

// About 64K elements a task: enough work to pay for a thread, and tiles that do not depend on their
// number.
inline int64_t rows_per_task(int64_t columns) {
  return std::max<int64_t>(1, 65536 / std::max<int64_t>(columns, 1));
}

// fp64 stays, everything else is computed in fp32.
inline at::ScalarType arithmetic_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

// The weight with values outside the limits [out, groups] moved onto them, `width` columns a group;
// the weight itself without limits.
at::Tensor clamp_to_limits(const at::Tensor& weight, int64_t width, const at::Tensor& low,
                           const at::Tensor& high);

}  // namespace swage::quant
