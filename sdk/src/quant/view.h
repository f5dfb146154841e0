#pragma once
#include "quant/kernels.h"
#include "quant/range.h"
#include "swage/quant/quantizer.h"

namespace swage::quant {

// Rows of a grid in the type of the arithmetic; holds the converted tensors.
template <class T>
class GridRows {
 public:
  GridRows(const Grid& grid, int64_t columns) {
    const auto type = c10::CppTypeToScalarType<T>::value;
    storage_ = grid.scales.scalar_type();
    scales_ = grid.scales.to(type).contiguous();
    if (grid.zeros.defined()) zeros_ = grid.zeros.to(type).contiguous();
    row_.width = grid.scheme.group_width(columns);
    row_.low = T(code_min(grid.scheme.bits));
    row_.high = T(code_max(grid.scheme.bits));
    row_.format = grid.scheme.format;
    row_.storage = storage_;
    stride_ = grid.scheme.granularity == Granularity::kTensor ? 0 : scales_.size(1);
  }

  RowGrid<T> row(int64_t index) const {
    RowGrid<T> row = row_;
    row.scales = scales_.const_data_ptr<T>() + index * stride_;
    if (zeros_.defined()) row.zeros = zeros_.const_data_ptr<T>() + index * stride_;
    return row;
  }

 private:
  at::Tensor scales_, zeros_;
  at::ScalarType storage_;
  RowGrid<T> row_;
  int64_t stride_ = 0;
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

// The codes as raw bytes: int8 and fp8 tensors have one byte each.
inline at::ScalarType code_type(NumberFormat format) {
  switch (format) {
    case NumberFormat::kFp8E4M3:
      return at::kFloat8_e4m3fn;
    case NumberFormat::kFp8E5M2:
      return at::kFloat8_e5m2;
    default:
      return at::kChar;
  }
}

// The weight with values outside the limits [out, groups] moved onto them; the weight itself
// without limits.
at::Tensor clamp_to_limits(const at::Tensor& weight, const WeightScheme& scheme,
                           const at::Tensor& low, const at::Tensor& high);

}  // namespace swage::quant
