#pragma once
#include <cstdint>

namespace swage::quant {

// Σ a · b in fp64, in eight partial sums: always the same order.
template <class T>
double inner_product(const T* a, const T* b, int64_t count) {
  double part[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) {
      part[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (; i < count; ++i) part[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  double sum = 0;
  for (const double value : part) sum += value;
  return sum;
}

}  // namespace swage::quant
