#pragma once
#include <cstddef>
#include <cstdint>

namespace swage::stats::kernels {

struct RowSum {
  float max = 0;
  double sum = 0;  // Σ exp(x - max); NaN where the row is not finite
};
RowSum exp_sum(const float* x, size_t count);

struct RowComparison {
  double divergence = 0;
  bool same_top = false;
};
RowComparison compare(const float* p, const float* q, size_t count);

}  // namespace swage::stats::kernels
