#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "swage/scheme.h"

// The loops over one row of a weight. Every function exists twice: `plain` for float and double,
// written to be read, and the vectorised one of kernels.cc for float, which gives the same bits on
// every instruction set.
namespace swage::quant {

// One row of a grid, in the type of the arithmetic. Column c has scales[c / width].
template <class T>
struct RowGrid {
  const T* scales = nullptr;
  const T* zeros = nullptr;  // null: symmetric
  int64_t width = 0;
  T low = 0, high = 0;  // code range
  NumberFormat format = NumberFormat::kInt;
  c10::ScalarType storage = c10::ScalarType::Float;  // decoded values are rounded to it
};

// The nearest value of a storage dtype (fp32, bf16, fp16; fp64 leaves the value as it is).
float round_to_storage(float value, c10::ScalarType storage);
double round_to_storage(double value, c10::ScalarType storage);
// The decoded value of a fp8 code, and the code of a value (nearest, ties to even, saturating).
float fp8_value(uint8_t code, NumberFormat format);
uint8_t fp8_code(float value, NumberFormat format);
float fp8_max(NumberFormat format);

namespace plain {

// Least and greatest value of every group; false when a value is not finite.
template <class T>
bool row_ranges(const T* x, int64_t columns, int64_t width, T* low, T* high);
template <class T>
void encode_row(const T* x, int64_t columns, const RowGrid<T>& grid, uint8_t* codes);
template <class T>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<T>& grid, T* out);
// Σ |decode(encode(x)) - x|^2.4, the cost of the official GPTQ range search.
template <class T>
T rounding_cost(const T* x, int64_t columns, const RowGrid<T>& grid);

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
T rounding_cost(const T* x, int64_t columns, const RowGrid<T>& grid) {
  return plain::rounding_cost(x, columns, grid);
}
template <>
bool row_ranges(const float* x, int64_t columns, int64_t width, float* low, float* high);
template <>
void encode_row(const float* x, int64_t columns, const RowGrid<float>& grid, uint8_t* codes);
template <>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<float>& grid, float* out);
// The power to about 1e-5: enough to rank ranges.
template <>
float rounding_cost(const float* x, int64_t columns, const RowGrid<float>& grid);

}  // namespace swage::quant
