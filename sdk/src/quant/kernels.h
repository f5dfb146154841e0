#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "swage/quant/scalar_table.h"

// The loops over one row of a weight. Every function exists twice: `plain` for float and double,
// written to be read, and the vectorised one of kernels.cc for float, which gives the same bits on
// every instruction set.
namespace swage::quant {

// One row of a grid, in the type of the arithmetic. Column c has scales[c / width].
template <class T>
struct RowGrid {
  const ScalarTable* table = nullptr;
  const T* scales = nullptr;
  const T* zeros = nullptr;    // null: 0
  const T* offsets = nullptr;  // null: 0
  int64_t width = 0;
  c10::ScalarType storage = c10::ScalarType::Float;  // decoded values are rounded to it
};

// The nearest value of a storage dtype (fp32, bf16, fp16; fp64 leaves the value as it is).
float round_to_storage(float value, c10::ScalarType storage);
double round_to_storage(double value, c10::ScalarType storage);

constexpr double kSearchNorm = 2.4;  // of the official GPTQ range search

// Tables of any values are vectorised up to this many.
constexpr size_t kVectorValues = 16;
inline bool is_vector(const ScalarTable& table) {
  return table.kind() != ScalarTable::Kind::kValues || table.sorted().size() <= kVectorValues;
}

namespace plain {

// Least and greatest value of every group; false when a value is not finite.
template <class T>
bool row_ranges(const T* x, int64_t columns, int64_t width, T* low, T* high);
template <class T>
void encode_row(const T* x, int64_t columns, const RowGrid<T>& grid, uint8_t* codes);
template <class T>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<T>& grid, T* out);
// Σ |decode(encode(x)) - x|^norm.
template <class T>
T power_cost(const T* x, int64_t columns, const RowGrid<T>& grid, T norm);
// Σ importance · (decode(encode(x)) - x)²; importance may be null: 1.
template <class T>
T weighted_cost(const T* x, const T* importance, int64_t columns, const RowGrid<T>& grid);

}  // namespace plain

// What everything else calls: vectorised for float.
template <class T>
bool row_ranges(const T* x, int64_t columns, int64_t width, T* low, T* high) {
  return plain::row_ranges(x, columns, width, low, high);
}
template <class T>
void encode_row(const T* x, int64_t columns, const RowGrid<T>& grid, uint8_t* codes) {
  plain::encode_row(x, columns, grid, codes);
}
template <class T>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<T>& grid, T* out) {
  plain::decode_row(codes, columns, grid, out);
}
template <class T>
T power_cost(const T* x, int64_t columns, const RowGrid<T>& grid, T norm) {
  return plain::power_cost(x, columns, grid, norm);
}
template <class T>
T weighted_cost(const T* x, const T* importance, int64_t columns, const RowGrid<T>& grid) {
  return plain::weighted_cost(x, importance, columns, grid);
}
template <>
bool row_ranges(const float* x, int64_t columns, int64_t width, float* low, float* high);
template <>
void encode_row(const float* x, int64_t columns, const RowGrid<float>& grid, uint8_t* codes);
template <>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<float>& grid, float* out);
// Fast for kSearchNorm, whose power it takes to a few 1e-4: enough to rank ranges.
template <>
float power_cost(const float* x, int64_t columns, const RowGrid<float>& grid, float norm);
template <>
float weighted_cost(const float* x, const float* importance, int64_t columns,
                    const RowGrid<float>& grid);

}  // namespace swage::quant
