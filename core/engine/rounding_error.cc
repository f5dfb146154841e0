#include "core/engine/rounding_error.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kColumns = 64;  // summed by one thread, in the order of the rows

struct Part {
  double difference = 0, weight = 0;
  int64_t zeroed = 0;
};

template <class T>
Part compare_columns(const at::Tensor& floats, const at::Tensor& result, int64_t first,
                     int64_t width) {
  const int64_t rows = floats.size(0), columns = floats.size(1);
  const T* weight = floats.const_data_ptr<T>() + first;
  const T* decoded = result.const_data_ptr<T>() + first;
  // A sum for each column: they do not wait for each other.
  double weights[kColumns] = {}, differences[kColumns] = {}, results[kColumns] = {};
  for (int64_t row = 0; row < rows; ++row, weight += columns, decoded += columns) {
    for (int64_t c = 0; c < width; ++c) {
      const auto w = static_cast<double>(weight[c]), d = static_cast<double>(decoded[c]);
      weights[c] += w * w;
      differences[c] += (w - d) * (w - d);
      results[c] += d * d;
    }
  }
  Part part;
  for (int64_t c = 0; c < width; ++c) {
    part.weight += weights[c];
    part.difference += differences[c];
    part.zeroed += weights[c] != 0 && results[c] == 0;
  }
  return part;
}

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
  std::vector<Part> parts(static_cast<size_t>((columns + kColumns - 1) / kColumns));
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kColumns, width = std::min(kColumns, columns - first);
      parts[static_cast<size_t>(i)] = wide ? compare_columns<double>(floats, result, first, width)
                                           : compare_columns<float>(floats, result, first, width);
    }
  });
  Part sum;
  for (const Part& part : parts) {
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
