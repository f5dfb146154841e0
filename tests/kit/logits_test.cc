#include "swage/stats/logits.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>

namespace swage::stats {
namespace {

TEST(LogSumExpTest, HandComputedRows) {
  const at::Tensor logits =
      at::tensor({0.0f, 0.0f, 0.0f, 0.0f, 1.0f, 2.0f, 3.0f, 4.0f}).view({2, 4});
  const at::Tensor result = log_sum_exp(logits);
  EXPECT_EQ(result.scalar_type(), at::kDouble);
  EXPECT_NEAR(result[0].item<double>(), std::log(4.0), 1e-7);
  EXPECT_NEAR(result[1].item<double>(), 4.440189698561196, 1e-6);
}

TEST(LogSumExpTest, AgreesWithFp64ForEveryWidthAndForLargeLogits) {
  for (int64_t vocab : {1, 2, 15, 16, 17, 255, 4099}) {
    const at::Tensor logits = at::randn({3, vocab}, at::kFloat) * 8 + 1000;
    const at::Tensor expected = logits.to(at::kDouble).logsumexp(-1);
    EXPECT_LT((log_sum_exp(logits) - expected).abs().max().item<double>(), 5e-7) << vocab;
  }
}

TEST(LogSumExpTest, ARowThatIsNotFiniteGivesNanWhereverItStands) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    for (int64_t column : {0, 5, 31, 36}) {
      at::Tensor logits = at::randn({2, 37}, at::kFloat);
      logits[1][column] = bad;
      const at::Tensor result = log_sum_exp(logits);
      EXPECT_TRUE(std::isfinite(result[0].item<double>()));
      EXPECT_TRUE(std::isnan(result[1].item<double>())) << bad << " at " << column;
      EXPECT_TRUE(std::isnan(compare_logits(logits, logits).divergence[1].item<double>()));
    }
  }
}

TEST(CompareLogitsTest, HandComputedRow) {
  // p = (1/2, 1/2), q = (3/4, 1/4): KL = 1/2 ln(2/3) + 1/2 ln 2 = ln(2 / sqrt(3)).
  const at::Tensor p = at::tensor({7.0f, 7.0f}).view({1, 2});
  const at::Tensor q = at::tensor({std::log(3.0f), 0.0f}).view({1, 2});
  const LogitsComparison result = compare_logits(p, q);
  EXPECT_NEAR(result.divergence[0].item<double>(), std::log(2.0 / std::sqrt(3.0)), 1e-7);
  EXPECT_TRUE(result.same_top[0].item<bool>()) << "a tie goes to the first token";
  EXPECT_FALSE(compare_logits(p, q.flip(1)).same_top[0].item<bool>());
}

TEST(CompareLogitsTest, EqualRowsAreAtZeroAndAgreesWithFp64) {
  for (int64_t vocab : {2, 17, 1000, 4099}) {
    const at::Tensor p = at::randn({4, vocab}, at::kFloat) * 4,
                     q = p + at::randn({4, vocab}, at::kFloat) * 0.1;
    EXPECT_EQ(compare_logits(p, p).divergence.abs().max().item<double>(), 0.0);
    EXPECT_TRUE(compare_logits(p, p).same_top.all().item<bool>());
    const at::Tensor log_p = at::log_softmax(p.to(at::kDouble), -1),
                     log_q = at::log_softmax(q.to(at::kDouble), -1);
    const at::Tensor expected = (log_p.exp() * (log_p - log_q)).sum(-1);
    const LogitsComparison result = compare_logits(p, q);
    EXPECT_LT((result.divergence - expected).abs().max().item<double>(), 2e-7);
    EXPECT_TRUE(result.same_top.equal(p.argmax(-1) == q.argmax(-1)));
  }
}

TEST(CompareLogitsTest, RowsDoNotDependOnTheirNeighbours) {
  const at::Tensor p = at::randn({20, 333}, at::kFloat), q = at::randn({20, 333}, at::kFloat);
  const at::Tensor whole = compare_logits(p, q).divergence;
  for (int64_t row = 0; row < 20; ++row) {
    const auto part = [&](const at::Tensor& x) { return x.slice(0, row, row + 1); };
    EXPECT_TRUE(compare_logits(part(p), part(q)).divergence.equal(part(whole)));
  }
}

}  // namespace
}  // namespace swage::stats
