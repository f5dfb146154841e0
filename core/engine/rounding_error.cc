#include "core/engine/rounding_error.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "swage/stats/column_errors.h"
#include "swage/status.h"

namespace swage {
namespace {

using stats::ColumnErrors;

constexpr int64_t kColumns = stats::kErrorColumns;  // summed by one thread

// Most rows hold something in one of their first columns.
template <class T>
void compare_rows(const at::Tensor& floats, const at::Tensor& result, RoundingError* error) {
  const int64_t columns = floats.size(1);
  error->is_zero = true;
  for (int64_t row = 0; row < floats.size(0); ++row) {
    const T* weight = floats.const_data_ptr<T>() + row * columns;
    const T* decoded = result.const_data_ptr<T>() + row * columns;
    const bool left = std::any_of(decoded, decoded + columns, [](T value) { return value != 0; });
    error->is_zero &= !left;
    if (left) continue;
    double largest = 0;
    for (int64_t c = 0; c < columns; ++c)
      largest = std::max(largest, std::fabs(static_cast<double>(weight[c])));
    error->zeroed_rows += largest > 0 ? 1 : 0;
    error->largest_lost = std::max(error->largest_lost, largest);
  }
}

}  // namespace

RoundingError rounding_error(Linear& linear) {
  SWAGE_CHECK(linear.result() != nullptr);
  linear.set_view(View::kCompressed);
  const bool wide = linear.weight.scalar_type() == at::kDouble;
  const auto type = wide ? at::kDouble : at::kFloat;
  const at::Tensor floats = linear.weight.detach().to(at::kCPU, type).contiguous();
  const at::Tensor result = linear.effective_weight().detach().to(at::kCPU, type).contiguous();
  const int64_t columns = floats.size(1);
  const int64_t rows = floats.size(0);
  const auto compare = [&](int64_t first) {
    const int64_t width = std::min(kColumns, columns - first);
    if (wide) {
      return stats::plain::column_errors(floats.const_data_ptr<double>() + first,
                                         result.const_data_ptr<double>() + first, rows, columns,
                                         width);
    }
    return stats::column_errors(floats.const_data_ptr<float>() + first,
                                result.const_data_ptr<float>() + first, rows, columns, width);
  };
  std::vector<ColumnErrors> parts(static_cast<size_t>((columns + kColumns - 1) / kColumns));
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parts[static_cast<size_t>(i)] = compare(i * kColumns);
  });
  ColumnErrors sum;
  for (const ColumnErrors& part : parts) {
    sum.difference += part.difference;
    sum.weight += part.weight;
    sum.zeroed += part.zeroed;
  }
  RoundingError error;
  error.zeroed = sum.zeroed;
  error.was_zero = sum.weight == 0;
  wide ? compare_rows<double>(floats, result, &error) : compare_rows<float>(floats, result, &error);
  if (sum.weight > 0) error.relative = std::sqrt(sum.difference / sum.weight);
  return error;
}

}  // namespace swage
