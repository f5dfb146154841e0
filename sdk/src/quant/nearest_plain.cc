#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/nearest.h"

namespace swage::quant::plain {

template <class T>
void nearest_entries(const VectorTable<T>& table, const T* x, int32_t* index, T* cost) {
  for (int64_t p = 0; p < kTilePoints; ++p) {
    T least = std::numeric_limits<T>::infinity();
    index[p] = 0;
    for (int64_t e = 0; e < table.count; ++e) {
      T sum = 0;
      for (int64_t i = 0; i < table.k; ++i) {
        const T difference = x[i * kTilePoints + p] - table.entries[e * table.k + i];
        sum += difference * difference;
      }
      if (!(sum < least)) continue;
      least = sum;
      index[p] = static_cast<int32_t>(e);
    }
    if (cost) cost[p] = least;
  }
}

// ½ |y - v|² of a vector v with the signs of y is ½ |y|² + ½ |a|² - |y| · a, a its pattern. Where
// these signs give an odd sum, one coordinate takes the other sign, the one for which that costs
// least: 2 |y_i| a_i.
template <class T>
void nearest_patterns(const SignedPatterns& patterns, const T* x, int32_t* index) {
  for (int64_t p = 0; p < kTilePoints; ++p) {
    T least = std::numeric_limits<T>::infinity();
    index[p] = 0;
    for (int shift = 0; shift < 2; ++shift) {
      T products[kMostCoordinates][3], norm = 0;
      bool odd = false;
      for (int64_t i = 0; i < kMostCoordinates; ++i) {
        const T y = x[i * kTilePoints + p] + (shift == 0 ? T(-0.25) : T(0.25));
        odd ^= y < 0;
        const T magnitude = std::abs(y);
        norm += magnitude * magnitude;
        for (int digit = 0; digit < 3; ++digit)
          products[i][digit] = magnitude * (T(digit) + T(0.5));
      }
      const T half = norm * T(0.5);
      for (int64_t e = 0; e < patterns.count; ++e) {
        T sum = 0, cheapest = std::numeric_limits<T>::infinity();
        for (int64_t i = 0; i < kMostCoordinates; ++i) {
          const T product = products[i][patterns.digits[e][i]];
          sum += product;
          cheapest = std::min(cheapest, product);
        }
        T cost = (half + T(patterns.half_norm[e])) - sum;
        if (odd != (patterns.odd[e] != 0)) cost += cheapest + cheapest;
        if (!(cost < least)) continue;
        least = cost;
        index[p] = static_cast<int32_t>(2 * e + shift);
      }
    }
  }
}

template void nearest_entries(const VectorTable<float>&, const float*, int32_t*, float*);
template void nearest_entries(const VectorTable<double>&, const double*, int32_t*, double*);
template void nearest_patterns(const SignedPatterns&, const float*, int32_t*);
template void nearest_patterns(const SignedPatterns&, const double*, int32_t*);

}  // namespace swage::quant::plain
