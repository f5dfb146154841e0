#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"
#include "swage/linear.h"

namespace swage::nn {

// kRms          x / sqrt(mean(x²) + eps) · w            (Zhang and Sennrich 2019)
// kRmsOffset    x / sqrt(mean(x²) + eps) · (1 + w)      (Gemma: stored as an offset, and stays one)
// kLayerOffset  (x - mean) / sqrt(var + eps) · (1 + w) + b  (Nemotron)
// kLayer        (x - mean) / sqrt(var + eps) · w + b    (Ba et al. 2016; biased variance)
// kLayerScaled  the same without b
// kLayerPlain   the same without w and b
enum class NormKind { kRms, kRmsOffset, kLayer, kLayerOffset, kLayerScaled, kLayerPlain };

constexpr bool subtracts_mean(NormKind kind) {
  return kind != NormKind::kRms && kind != NormKind::kRmsOffset;
}

constexpr bool is_offset(NormKind kind) {
  return kind == NormKind::kRmsOffset || kind == NormKind::kLayerOffset;
}

// A norm over the last dimension. The parameters belong to the block; null where the kind has none.
struct SWAGE_API Norm {
  NormKind kind = NormKind::kRms;
  double eps = 1e-6;
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;
  bool present = false;  // where a family may have none in a place

  // A new tensor of the same shape. Rows are independent. Differentiable.
  at::Tensor apply(const at::Tensor& x) const;
};

}  // namespace swage::nn
