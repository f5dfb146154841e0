#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "swage/export.h"

namespace swage::nn {

// How scores become shares: softmax over the keys a query sees of
//   cap(scale · q·k) + key_bias,  cap(s) = softcap · tanh(s / softcap) where softcap > 0, else s.
struct SWAGE_API AttentionRule {
  double scale = 1.0;
  int64_t window = 0;    // keys a token sees, itself included; 0: all before it
  double softcap = 0.0;  // Gemma 2; 0: none
  // [heads, positions], per key position, as ALiBi adds (Press et al. 2022); or undefined.
  at::Tensor key_bias = {};
  bool causal = true;  // false: every token of the sequence sees every other one
};

// Softmax attention over whole sequences that lie end to end.
//   q [tokens, heads, d], k and v [tokens, kv_heads, d and d']; head h reads key head h / (heads /
//   kv_heads)
// -> [tokens, heads · d']. Every sequence is computed alone, so its bytes do not depend on its
// neighbours. Differentiable.
SWAGE_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const std::vector<int64_t>& lengths, const AttentionRule& rule);

// The same between two sets of sequences, without positions: every token of sequence i of q, of
// query_lengths[i] tokens, sees all key_lengths[i] tokens of sequence i of k and v, at least one
// where there are queries. The rule is not causal and has neither window nor key_bias.
SWAGE_API at::Tensor cross_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const std::vector<int64_t>& query_lengths,
                                     const std::vector<int64_t>& key_lengths,
                                     const AttentionRule& rule);

// ALiBi's slopes of `heads` heads, fp32 [heads].
SWAGE_API at::Tensor alibi_slopes(int64_t heads);

}  // namespace swage::nn
