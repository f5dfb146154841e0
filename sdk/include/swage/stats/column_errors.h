#pragma once
#include <cstdint>

#include "swage/export.h"

namespace swage::stats {

// How far neighbouring columns of a result are from the floats that it stands for.
struct ColumnErrors {
  double weight = 0, difference = 0;  // sums of squares
  int64_t zeroed = 0;                 // columns that hold floats, and nothing but 0 in the result
};

inline constexpr int64_t kErrorColumns = 256;  // at a time, at most

// Of `width` columns of matrices whose rows lie `stride` apart. A column is summed row by row in
// fp64, then the columns in their order: the same bits on every instruction set.
SWAGE_API ColumnErrors column_errors(const float* floats, const float* result, int64_t rows,
                                     int64_t stride, int64_t width);

namespace plain {
template <class T>
ColumnErrors column_errors(const T* floats, const T* result, int64_t rows, int64_t stride,
                           int64_t width);
extern template SWAGE_API ColumnErrors column_errors(const float*, const float*, int64_t, int64_t,
                                                     int64_t);
extern template SWAGE_API ColumnErrors column_errors(const double*, const double*, int64_t, int64_t,
                                                     int64_t);
}  // namespace plain

}  // namespace swage::stats
