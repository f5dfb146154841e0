#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"
#include "swage/linear.h"

namespace swage::nn {

// kRms        x / sqrt(mean(x²) + eps) · w            (Zhang and Sennrich 2019)
// kRmsOffset  x / sqrt(mean(x²) + eps) · (1 + w)      (Gemma: the weight is stored as an offset and
// stays one) kLayer      (x - mean) / sqrt(var + eps) · w + b    (Ba et al. 2016; biased variance)
enum class NormKind { kRms, kRmsOffset, kLayer };

// A norm over the last dimension. The parameters belong to the block; `bias` is for kLayer and may
// be null.
struct SWAGE_API Norm {
  NormKind kind = NormKind::kRms;
  double eps = 1e-6;
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;

  // A new tensor of the same shape. Rows are independent. Differentiable.
  at::Tensor apply(const at::Tensor& x) const;
};

}  // namespace swage::nn
