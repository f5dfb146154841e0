#include "swage/stats/column_errors.h"

namespace swage::stats::plain {

template <class T>
ColumnErrors column_errors(const T* floats, const T* result, int64_t rows, int64_t stride,
                           int64_t width) {
  ColumnErrors errors;
  for (int64_t c = 0; c < width; ++c) {
    double weight = 0, difference = 0;
    bool left = false;
    for (int64_t row = 0; row < rows; ++row) {
      const auto w = static_cast<double>(floats[row * stride + c]);
      const auto d = static_cast<double>(result[row * stride + c]);
      weight += w * w;
      difference += (w - d) * (w - d);
      left |= d != 0;
    }
    errors.weight += weight;
    errors.difference += difference;
    errors.zeroed += weight != 0 && !left;
  }
  return errors;
}

template ColumnErrors column_errors(const float*, const float*, int64_t, int64_t, int64_t);
template ColumnErrors column_errors(const double*, const double*, int64_t, int64_t, int64_t);

}  // namespace swage::stats::plain
