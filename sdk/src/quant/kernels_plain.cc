#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>

#include "quant/kernels.h"

namespace swage::quant {
namespace {

// level · scale + offset, the product in fp32 and rounded once; in fp64 where values are stored in
// fp64.
template <class T>
T decoded(T level, T scale, const T* offset, c10::ScalarType storage) {
  if (storage == c10::ScalarType::Double) return offset ? level * scale + *offset : level * scale;
  const float product = static_cast<float>(level) * static_cast<float>(scale);
  return round_to_storage(offset ? product + static_cast<float>(*offset) : product, storage);
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
  const ScalarTable& table = *grid.table;
  for (int64_t c = 0; c < columns; ++c) {
    const int64_t group = c / grid.width;
    const T inside = grid.offsets ? x[c] - grid.offsets[group] : x[c];
    const T scaled = inside / grid.scales[group];
    if (table.kind() != ScalarTable::Kind::kIntegers) {
      codes[c] = table.code_of(scaled);
      continue;
    }
    const T zero = grid.zeros ? grid.zeros[group] : T(0);
    const T code = std::min(
        std::max(std::nearbyint(scaled + (zero - std::nearbyint(zero))) + std::nearbyint(zero),
                 T(table.least())),
        T(table.greatest()));
    codes[c] = static_cast<uint8_t>(static_cast<int8_t>(code));
  }
}

template <class T>
void decode_row(const uint8_t* codes, int64_t columns, const RowGrid<T>& grid, T* out) {
  const bool integers = grid.table->kind() == ScalarTable::Kind::kIntegers;
  for (int64_t c = 0; c < columns; ++c) {
    const int64_t group = c / grid.width;
    const T zero = grid.zeros ? grid.zeros[group] : T(0);
    const T level =
        integers ? T(static_cast<int8_t>(codes[c])) - zero : T(grid.table->values()[codes[c]]);
    out[c] = decoded(level, grid.scales[group], grid.offsets ? grid.offsets + group : nullptr,
                     grid.storage);
  }
}

template <class T, class Cost>
T cost_of(const T* x, int64_t columns, const RowGrid<T>& grid, const Cost& cost) {
  T sum = 0;
  for (int64_t c = 0; c < columns; ++c) {
    RowGrid<T> one = grid;
    const int64_t group = c / grid.width;
    one.scales += group;
    if (one.zeros) one.zeros += group;
    if (one.offsets) one.offsets += group;
    one.width = 1;
    uint8_t code;
    T value;
    plain::encode_row(x + c, 1, one, &code);
    plain::decode_row(&code, 1, one, &value);
    sum += cost(value - x[c], c);
  }
  return sum;
}

template <class T>
T power_cost(const T* x, int64_t columns, const RowGrid<T>& grid, T norm) {
  return cost_of(x, columns, grid,
                 [&](T error, int64_t) { return std::pow(std::abs(error), norm); });
}

template <class T>
T weighted_cost(const T* x, const T* importance, int64_t columns, const RowGrid<T>& grid) {
  return cost_of(x, columns, grid, [&](T error, int64_t c) {
    return importance ? importance[c] * (error * error) : error * error;
  });
}

template bool row_ranges(const float*, int64_t, int64_t, float*, float*);
template bool row_ranges(const double*, int64_t, int64_t, double*, double*);
template void encode_row(const float*, int64_t, const RowGrid<float>&, uint8_t*);
template void encode_row(const double*, int64_t, const RowGrid<double>&, uint8_t*);
template void decode_row(const uint8_t*, int64_t, const RowGrid<float>&, float*);
template void decode_row(const uint8_t*, int64_t, const RowGrid<double>&, double*);
template float power_cost(const float*, int64_t, const RowGrid<float>&, float);
template double power_cost(const double*, int64_t, const RowGrid<double>&, double);
template float weighted_cost(const float*, const float*, int64_t, const RowGrid<float>&);
template double weighted_cost(const double*, const double*, int64_t, const RowGrid<double>&);

}  // namespace plain
}  // namespace swage::quant
