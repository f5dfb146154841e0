#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "swage/nn/attention.h"

namespace swage::nn {
namespace {

constexpr int64_t kHeads = 4, kKeyHeads = 2, kDim = 8;

// Softmax of all scores of one sequence, head by head.
at::Tensor written_out(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       double scale) {
  std::vector<at::Tensor> heads;
  for (int64_t h = 0; h < kHeads; ++h) {
    const int64_t key_head = h / (kHeads / kKeyHeads);
    const at::Tensor scores = q.select(1, h).matmul(k.select(1, key_head).t()) * scale;
    heads.push_back(scores.softmax(-1).matmul(v.select(1, key_head)));
  }
  return at::cat(heads, 1);
}

// Sequence i of the queries sees sequence i of the keys and no other, however many both are.
TEST(CrossAttentionTest, EverySequenceSeesItsOwnKeys) {
  const std::vector<int64_t> queries = {3, 0, 130}, keys = {90, 2, 5};
  AttentionRule rule;
  rule.scale = 0.3;
  rule.causal = false;
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor q = at::randn({133, kHeads, kDim}, options);
  const at::Tensor k = at::randn({97, kKeyHeads, kDim}, options);
  const at::Tensor v = at::randn({97, kKeyHeads, kDim}, options);
  const at::Tensor expected = at::cat(
      {written_out(q.narrow(0, 0, 3), k.narrow(0, 0, 90), v.narrow(0, 0, 90), rule.scale),
       written_out(q.narrow(0, 3, 130), k.narrow(0, 92, 5), v.narrow(0, 92, 5), rule.scale)});
  const auto difference = [&](const at::Tensor& found) {
    return (found.detach() - expected).abs().max().item<double>();
  };
  EXPECT_LT(difference(cross_attention(q, k, v, queries, keys, rule)), 1e-12);
  EXPECT_LT(difference(cross_attention(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat),
                                       queries, keys, rule)),
            1e-5);
  // Where a gradient flows, other code serves.
  const at::Tensor learned = q.clone().requires_grad_(true);
  EXPECT_LT(difference(cross_attention(learned, k, v, queries, keys, rule)), 1e-12);
}

}  // namespace
}  // namespace swage::nn
