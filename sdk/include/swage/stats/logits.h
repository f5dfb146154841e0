#pragma once
#include <ATen/core/Tensor.h>

#include "swage/export.h"

// What evaluators ask of logits [rows, vocab], fp32: softmax in fp32, sums in fp64, one pass over
// memory that is still in the cache. Every row is computed alone. A row that holds NaN or infinity
// gives NaN.
namespace swage::stats {

// log Σ exp(logits) of each row, fp64 [rows]. The log-probability of token t is logits[t] minus it.
SWAGE_API at::Tensor log_sum_exp(const at::Tensor& logits);

struct LogitsComparison {
  at::Tensor divergence;  // fp64 [rows]: KL(p‖q) in nats, p and q the softmax of `original` and
                          // `compressed`
  at::Tensor same_top;    // bool [rows]: the likeliest token (the first one on a tie) is the same
};
SWAGE_API LogitsComparison compare_logits(const at::Tensor& original, const at::Tensor& compressed);

}  // namespace swage::stats
