#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "swage/export.h"

namespace swage::nn {

// Causal softmax attention over whole sequences that lie end to end.
//   q [tokens, heads, d], k and v [tokens, kv_heads, d]; head h reads key head h / (heads /
//   kv_heads) scale   factor on q·k window  keys a token sees, itself included; 0 = all before it
// -> [tokens, heads · d]. Every sequence is computed alone, so its bytes do not depend on its
// neighbours. Differentiable.
SWAGE_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const std::vector<int64_t>& lengths, double scale, int64_t window);

}  // namespace swage::nn
