#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/kernels.h"
#include "swage/scheme.h"

namespace swage::quant {

// Scale (rounded to storage) and signed zero point of one range.
template <class T>
struct Level {
  T scale = 1;
  T zero = 0;
};

inline int code_min(int bits) { return -(1 << (bits - 1)); }
inline int code_max(int bits) { return (1 << (bits - 1)) - 1; }

template <class T>
T unrounded_scale(T low, T high, const WeightScheme& scheme) {
  constexpr T kLlmcFloor = T(1e-5);
  const T magnitude = std::max(std::abs(low), std::abs(high));
  if (scheme.format != NumberFormat::kInt) return magnitude / fp8_max(scheme.format);
  const T half = T(1 << (scheme.bits - 1)), levels = 2 * half - 1;
  const bool llmc = scheme.convention == Convention::kLlmc;
  if (scheme.symmetric && scheme.convention == Convention::kFullRange)
    return -(high >= -low ? high : low) / half;
  // A constant group is exact with a power of two for its code.
  if (low == high && !llmc) return magnitude / (half / 2);
  if (!scheme.symmetric) {
    return llmc ? std::max(high - low, kLlmcFloor) / levels
                : (std::max(high, T(0)) - std::min(low, T(0))) / levels;
  }
  if (scheme.convention == Convention::kGptq) return 2 * magnitude / levels;
  return (llmc ? std::max(magnitude, kLlmcFloor) : magnitude) / (half - 1);
}

// The grid of values in [low, high]. The scale is not finite where it leaves the storage dtype.
template <class T>
Level<T> choose_level(T low, T high, const WeightScheme& scheme, c10::ScalarType storage) {
  Level<T> level;
  const T scale = unrounded_scale(low, high, scheme);
  if (scale == 0) return level;
  level.scale = round_to_storage(scale, storage);
  if (level.scale == 0)
    level.scale =
        T(storage == c10::ScalarType::Half ? 6.103515625e-05f : std::numeric_limits<float>::min());
  const bool constant = low == high && scheme.convention != Convention::kLlmc;
  if (scheme.format != NumberFormat::kInt || scheme.symmetric || constant) return level;
  const T least = scheme.convention == Convention::kLlmc ? low : std::min(low, T(0));
  const T levels = T((1 << scheme.bits) - 1);
  const T unsigned_zero = std::min(std::max(-std::nearbyint(least / level.scale), T(0)), levels);
  level.zero = unsigned_zero + T(code_min(scheme.bits));
  return level;
}

}  // namespace swage::quant
