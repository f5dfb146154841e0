#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "swage/nn/attention.h"

namespace swage::nn {

// attention() and cross_attention() for contiguous float or double tensors on the CPU, without
// gradients. A tile is a run of queries of one sequence with all query heads of one key head:
// products are then large enough for the BLAS, keys above the diagonal are mostly skipped and no
// score is stored twice.
at::Tensor attention_cpu(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const std::vector<int64_t>& lengths,
                         const std::vector<int64_t>& key_lengths, const AttentionRule& rule);

}  // namespace swage::nn
