#pragma once
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <vector>

// The searches of llama.cpp (ggml-quants.c, after Kawrakow) for one block of values with weights,
// as it rounds them: what our fits have to match. Every function returns decoded values.
namespace swage::testing_llama {

using Floats = std::vector<float>;

inline float half(float value) { return static_cast<float>(static_cast<c10::Half>(value)); }
inline int nearest(float value) { return static_cast<int>(std::nearbyint(value)); }
inline int bounded(int value, int low, int high) { return std::min(std::max(value, low), high); }

struct Scaled {
  float scale = 0, min = 0;
  std::vector<int> codes;
};

// make_qkx3_quants: scale and minimum of one group, codes 0 … top.
inline Scaled with_minimum(const float* x, const float* w, int n, int top) {
  Scaled best;
  best.codes.resize(n);
  float low = x[0], high = x[0], sum_w = 0, sum_x = 0;
  for (int i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  low = std::min(low, 0.f);
  best.min = -low;
  if (high <= low) return best;
  const auto error = [&](float scale, float min, const std::vector<int>& codes) {
    float sum = 0;
    for (int i = 0; i < n; ++i) {
      const float e = scale * static_cast<float>(codes[i]) + min - x[i];
      sum += w[i] * e * e;
    }
    return sum;
  };
  const auto code = [&](float inverse) {
    std::vector<int> codes(n);
    for (int i = 0; i < n; ++i) codes[i] = bounded(nearest(inverse * (x[i] - low)), 0, top);
    return codes;
  };
  best.scale = (high - low) / static_cast<float>(top);
  best.codes = code(static_cast<float>(top) / (high - low));
  float least = error(best.scale, low, best.codes);
  for (int step = 0; step <= 36; ++step) {
    const std::vector<int> codes =
        code((-0.9f + 0.05f * static_cast<float>(step) + static_cast<float>(top)) / (high - low));
    float sum_l = 0, sum_l2 = 0, sum_xl = 0;
    for (int i = 0; i < n; ++i) {
      const auto l = static_cast<float>(codes[i]);
      sum_l += w[i] * l;
      sum_l2 += w[i] * l * l;
      sum_xl += w[i] * l * x[i];
    }
    const float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (min > 0) {
      min = 0;
      scale = sum_xl / sum_l2;
    }
    const float found = error(scale, min, codes);
    if (!(found < least)) continue;
    least = found;
    best = {scale, -min, codes};
  }
  return best;
}

// make_qx_quants: the scale of one group, codes -top … top - 1.
inline Scaled around_zero(const float* x, const float* w, int n, int top) {
  Scaled best;
  best.codes.resize(n);
  float largest = 0;
  for (int i = 0; i < n; ++i)
    if (std::abs(x[i]) > std::abs(largest)) largest = x[i];
  if (std::abs(largest) < 1e-15f) return best;
  float quality = -1;
  for (const int step : {0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    const float inverse = -(static_cast<float>(top) + 0.1f * static_cast<float>(step)) / largest;
    std::vector<int> codes(n);
    float sum_xl = 0, sum_l2 = 0;
    for (int i = 0; i < n; ++i) {
      codes[i] = bounded(nearest(inverse * x[i]), -top, top - 1);
      sum_xl += w[i] * x[i] * static_cast<float>(codes[i]);
      sum_l2 += w[i] * static_cast<float>(codes[i] * codes[i]);
    }
    if (!(sum_l2 > 0 && sum_xl * sum_xl > quality * sum_l2)) continue;
    best = {sum_xl / sum_l2, 0, codes};
    quality = best.scale * sum_xl;
  }
  return best;
}

// make_qp_quants: integers 0 … top for scales that are not negative; returns their unit.
inline float integers_for(const Floats& x, const Floats& w, int top, std::vector<int>* codes) {
  const int n = static_cast<int>(x.size());
  const float largest = *std::max_element(x.begin(), x.end());
  codes->assign(n, 0);
  if (largest < 1e-15f) return 0;
  const auto code = [&](int i, float inverse) { return std::min(top, nearest(inverse * x[i])); };
  float inverse = static_cast<float>(top) / largest, least = INFINITY;
  for (const int step : {0, -4, -3, -2, -1, 1, 2, 3, 4}) {
    const float trial = (0.1f * static_cast<float>(step) + static_cast<float>(top)) / largest;
    float sum = 0;
    for (int i = 0; i < n; ++i) {
      const float e = x[i] - static_cast<float>(code(i, trial)) / trial;
      sum += w[i] * e * e;
    }
    if (!(sum < least)) continue;
    least = sum;
    inverse = trial;
  }
  float sum_xl = 0, sum_l2 = 0;
  for (int i = 0; i < n; ++i) {
    const int l = (*codes)[i] = code(i, inverse);
    sum_xl += w[i] * x[i] * static_cast<float>(l);
    sum_l2 += w[i] * static_cast<float>(l * l);
  }
  for (int round = 0; round < 5; ++round) {
    bool changed = false;
    for (int i = 0; i < n; ++i) {
      const auto l = static_cast<float>((*codes)[i]);
      float xl = sum_xl - w[i] * x[i] * l, l2 = sum_l2 - w[i] * l * l;
      if (!(xl > 0 && l2 > 0)) continue;
      const int next = std::min(top, nearest(x[i] * l2 / xl));
      if (next == (*codes)[i]) continue;
      xl += w[i] * x[i] * static_cast<float>(next);
      l2 += w[i] * static_cast<float>(next * next);
      if (!(xl * xl * sum_l2 > sum_xl * sum_xl * l2)) continue;
      (*codes)[i] = next;
      sum_xl = xl;
      sum_l2 = l2;
      changed = true;
    }
    if (!changed) break;
  }
  return sum_xl / sum_l2;
}

// Q4_0, Q5_0 (top 8, 16).
inline Floats one_scale(const float* x, const float* w, int n, int top) {
  const Scaled found = around_zero(x, w, n, top);
  Floats out(n);
  for (int i = 0; i < n; ++i) out[i] = half(found.scale) * static_cast<float>(found.codes[i]);
  return out;
}

// IQ4_NL.
inline Floats uneven(const float* x, const float* w, int n) {
  static const float kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};
  const auto value_of = [](float scaled) {
    return *std::min_element(std::begin(kValues), std::end(kValues), [&](float a, float b) {
      return std::abs(a - scaled) < std::abs(b - scaled);
    });
  };
  float largest = 0;
  for (int i = 0; i < n; ++i)
    if (std::abs(x[i]) > std::abs(largest)) largest = x[i];
  float scale = 0, quality = -1;
  for (int step = -8; step <= 7; ++step) {
    const float inverse =
        (step == -8 ? -kValues[0] : kValues[0] + static_cast<float>(step)) / largest;
    float sum_xq = 0, sum_q2 = 0;
    for (int i = 0; i < n; ++i) {
      const float q = value_of(inverse * x[i]);
      sum_xq += w[i] * q * x[i];
      sum_q2 += w[i] * q * q;
    }
    if (!(sum_xq * sum_xq > quality * sum_q2)) continue;
    scale = sum_xq / sum_q2;
    quality = scale * sum_xq;
  }
  Floats out(n);
  for (int i = 0; i < n; ++i) out[i] = half(scale) * value_of(x[i] / half(scale));
  return out;
}

// Q8_0: no search.
inline Floats extremes(const float* x, int n) {
  float most = 0;
  for (int i = 0; i < n; ++i) most = std::max(most, std::abs(x[i]));
  Floats out(n);
  for (int i = 0; i < n; ++i)
    out[i] = half(most / 127) * static_cast<float>(nearest(x[i] * 127 / most));
  return out;
}

// Q4_1, Q5_1 (top 15, 31).
inline Floats scale_and_offset(const float* x, const float* w, int n, int top) {
  const Scaled found = with_minimum(x, w, n, top);
  Floats out(n);
  for (int i = 0; i < n; ++i)
    out[i] = half(found.scale) * static_cast<float>(found.codes[i]) + half(-found.min);
  return out;
}

// Q2_K, Q4_K, Q5_K: 256 values in groups of `width`, codes 0 … top, levels 0 … level_top.
inline Floats super_block(const float* x, const float* w, int width, int top, int level_top) {
  const int groups = 256 / width;
  Floats scales(groups), mins(groups), sums(groups);
  for (int g = 0; g < groups; ++g) {
    const Scaled found = with_minimum(x + g * width, w + g * width, width, top);
    scales[g] = found.scale;
    mins[g] = found.min;
    for (int i = 0; i < width; ++i) sums[g] += w[g * width + i];
  }
  std::vector<int> scale_codes, min_codes;
  const float d = half(integers_for(scales, sums, level_top, &scale_codes));
  const float m = half(integers_for(mins, sums, level_top, &min_codes));
  Floats out(256);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(scale_codes[i / width]);
    const float min = m * static_cast<float>(min_codes[i / width]);
    const int code = scale == 0 ? 0 : bounded(nearest((x[i] + min) / scale), 0, top);
    out[i] = scale * static_cast<float>(code) - min;
  }
  return out;
}

// Q3_K (top 4) and Q6_K (top 32): 256 values in groups of 16.
inline Floats super_block_around_zero(const float* x, const float* w, int top) {
  Floats scales(16), sums(16);
  for (int g = 0; g < 16; ++g) {
    scales[g] = around_zero(x + g * 16, w + g * 16, 16, top).scale;
    for (int i = 0; i < 16; ++i) sums[g] += w[g * 16 + i];
  }
  std::vector<int> codes(16);
  float d;
  if (top == 4) {
    const Scaled found = around_zero(scales.data(), sums.data(), 16, 32);
    d = half(found.scale);
    codes = found.codes;
  } else {
    float largest = 0;
    for (const float scale : scales)
      if (std::abs(scale) > std::abs(largest)) largest = scale;
    const float inverse = -128 / largest;
    d = half(1 / inverse);
    for (int g = 0; g < 16; ++g) codes[g] = std::min(127, nearest(inverse * scales[g]));
  }
  Floats out(256);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(codes[i / 16]);
    const int code = scale == 0 ? 0 : bounded(nearest(x[i] / scale), -top, top - 1);
    out[i] = scale * static_cast<float>(code);
  }
  return out;
}

}  // namespace swage::testing_llama
