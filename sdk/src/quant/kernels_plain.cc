#include <c10/util/BFloat16.h>
#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Float8_e5m2.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/kernels.h"

namespace swage::quant {
namespace {

template <class Fp8>
std::array<float, 256> table_of() {
  std::array<float, 256> table;
  for (int code = 0; code < 256; ++code) {
    table[code] = static_cast<float>(Fp8(static_cast<uint8_t>(code), Fp8::from_bits()));
  }
  return table;
}

// (q - z) * s in fp32, rounded once; in fp64 where the scales are fp64.
template <class T>
T decoded(T level, T scale, c10::ScalarType storage) {
  if (storage == c10::ScalarType::Double) return level * scale;
  return round_to_storage(static_cast<float>(level) * static_cast<float>(scale), storage);
}

}  // namespace

float round_to_storage(float value, c10::ScalarType storage) {
  switch (storage) {
    case c10::ScalarType::BFloat16:
      return static_cast<float>(c10::BFloat16(value));
    case c10::ScalarType::Half:
      return static_cast<float>(c10::Half(value));
    default:
      return value;
  }
}

double round_to_storage(double value, c10::ScalarType storage) {
  return storage == c10::ScalarType::Double ? value
                                            : round_to_storage(static_cast<float>(value), storage);
}

float fp8_max(NumberFormat format) { return format == NumberFormat::kFp8E4M3 ? 448.f : 57344.f; }

float fp8_value(uint8_t code, NumberFormat format) {
  static const std::array<float, 256> e4m3 = table_of<c10::Float8_e4m3fn>();
  static const std::array<float, 256> e5m2 = table_of<c10::Float8_e5m2>();
  return format == NumberFormat::kFp8E4M3 ? e4m3[code] : e5m2[code];
}

uint8_t fp8_code(float value, NumberFormat format) {
  const float limit = fp8_max(format);
  const float inside = std::min(std::max(value, -limit), limit);
  return format == NumberFormat::kFp8E4M3 ? c10::Float8_e4m3fn(inside).x
                                          : c10::Float8_e5m2(inside).x;
}

namespace plain {

template <class T>
bool row_ranges(const T* x, int64_t columns, int64_t width, T* low, T* high) {
  bool finite = true;
  for (int64_t first = 0; first < columns; first += width) {
    T least = x[first], greatest = x[first];
    for (int64_t c = first; c < std::min(first + width, columns); ++c) {
      finite = finite && std::isfinite(x[c]);
      least = std::min(least, x[c]);
      greatest = std::max(greatest, x[c]);
    }
    *low++ = least;
    *high++ = greatest;
  }
  return finite;
}

template <class T>
void encode_row(const T* x, int64_t columns, const RowGrid<T>& grid, uint8_t* codes) {
  for (int64_t c = 0; c < columns; ++c) {
    const T scaled = x[c] / grid.scales[c / grid.width];
    if (grid.format != NumberFormat::kInt) {
      codes[c] = fp8_code(static_cast<float>(scaled), grid.format);
      continue;
    }
    const T zero = grid.zeros ? grid.zeros[c / grid.width] : T(0);
    const T code = std::min(std::max(std::nearbyint(scaled) + zero, grid.low), grid.high);
    codes[c] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
}

template <class T>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<T>& grid, T* out) {
  for (int64_t c = 0; c < columns; ++c) {
    const T scale = grid.scales[c / grid.width];
    const T zero = grid.zeros ? grid.zeros[c / grid.width] : T(0);
    const T level = grid.format == NumberFormat::kInt ? T(static_cast<int8_t>(codes[c])) - zero
                                                      : T(fp8_value(codes[c], grid.format));
    out[c] = decoded(level, scale, grid.storage);
  }
}

template <class T>
T rounding_cost(const T* x, int64_t columns, const RowGrid<T>& grid) {
  T cost = 0;
  for (int64_t c = 0; c < columns; ++c) {
    RowGrid<T> one = grid;
    one.scales += c / grid.width;
    if (one.zeros) one.zeros += c / grid.width;
    one.width = 1;
    uint8_t code;
    T value;
    plain::encode_row(x + c, 1, one, &code);
    plain::decode_row(&code, 1, one, &value);
    cost += std::pow(std::abs(value - x[c]), T(2.4));
  }
  return cost;
}

template bool row_ranges(const float*, int64_t, int64_t, float*, float*);
template bool row_ranges(const double*, int64_t, int64_t, double*, double*);
template void encode_row(const float*, int64_t, const RowGrid<float>&, uint8_t*);
template void encode_row(const double*, int64_t, const RowGrid<double>&, uint8_t*);
template void decode_row(const uint8_t*, int64_t, const RowGrid<float>&, float*);
template void decode_row(const uint8_t*, int64_t, const RowGrid<double>&, double*);
template float rounding_cost(const float*, int64_t, const RowGrid<float>&);
template double rounding_cost(const double*, int64_t, const RowGrid<double>&);

}  // namespace plain
}  // namespace swage::quant
