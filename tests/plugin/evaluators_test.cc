#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plugin_support.h"

namespace swage {
namespace {

using ::testing::HasSubstr;
using testing_support::loader;
using testing_support::must;

std::shared_ptr<Evaluator> make(const std::string& name) {
  const Params params(Value::Table{{"source", "text.txt"},
                                   {"length", 4},
                                   {"stride", 0},
                                   {"every", 1},
                                   {"windows", 0},
                                   {"special_tokens", false}});
  return must(loader().evaluator(name, params));
}

// Logits whose softmax is the given distribution.
at::Tensor logits_of(const std::vector<float>& probabilities) {
  return at::tensor(probabilities, at::kFloat).view({-1, 2}).log() + 3.0;
}

LogitsView view(const std::vector<int64_t>& targets, const at::Tensor& original,
                const at::Tensor& compressed = {}) {
  LogitsView result;
  result.sequence = 5;
  result.first = 10;
  result.targets = at::tensor(targets, at::kLong);
  result.original = original;
  result.compressed = compressed;
  return result;
}

TEST(PerplexityTest, IsExpOfTheMeanCrossEntropyOverPredictions) {
  const auto evaluator = make("perplexity");
  // Probabilities of the targets: 1/2, 1/4 | 1/8; the last row of the sequence predicts nothing.
  ASSERT_TRUE(evaluator->consume(view({0, 1}, logits_of({0.5f, 0.5f, 0.75f, 0.25f}))).ok());
  ASSERT_TRUE(evaluator->consume(view({1, -1}, logits_of({0.875f, 0.125f, 0.5f, 0.5f}))).ok());
  const Metrics metrics = must(evaluator->report());
  EXPECT_NEAR(metrics.original.at("perplexity"), 4.0, 1e-6);  // (2 · 4 · 8)^(1/3)
  EXPECT_EQ(metrics.original.at("tokens"), 3);
  EXPECT_TRUE(metrics.compressed.empty());
}

TEST(PerplexityTest, MeasuresBothModelsApart) {
  const auto evaluator = make("perplexity");
  ASSERT_TRUE(evaluator->consume(view({0}, logits_of({0.5f, 0.5f}), logits_of({0.1f, 0.9f}))).ok());
  const Metrics metrics = must(evaluator->report());
  EXPECT_NEAR(metrics.original.at("perplexity"), 2.0, 1e-6);
  EXPECT_NEAR(metrics.compressed.at("perplexity"), 10.0, 1e-5);
  EXPECT_EQ(metrics.compressed.at("tokens"), 1);
}

TEST(PerplexityTest, DoesNotDependOnThePieces) {
  const at::Tensor logits = (at::arange(60, at::kFloat).view({30, 2}) * 0.7).sin() * 4;
  const auto whole = make("perplexity"), pieces = make("perplexity");
  const std::vector<int64_t> targets(30, 1);
  ASSERT_TRUE(whole->consume(view(targets, logits)).ok());
  for (int64_t row = 0; row < 30; row += 7) {
    const int64_t end = std::min<int64_t>(30, row + 7);
    ASSERT_TRUE(pieces
                    ->consume(view(std::vector<int64_t>(static_cast<size_t>(end - row), 1),
                                   logits.slice(0, row, end)))
                    .ok());
  }
  EXPECT_EQ(must(whole->report()).original, must(pieces->report()).original);
}

TEST(PerplexityTest, NotFiniteLogitsAreAnErrorWithTheirPlace) {
  const at::Tensor bad =
      at::tensor({0.0f, 1.0f, std::numeric_limits<float>::quiet_NaN(), 0.0f}).view({2, 2});
  const absl::Status original = make("perplexity")->consume(view({0, 1}, bad));
  EXPECT_THAT(
      std::string(original.message()),
      HasSubstr("the original model gives logits that are not finite at sequence 5, token 11"));
  const absl::Status compressed =
      make("perplexity")->consume(view({0, 1}, logits_of({0.5f, 0.5f, 0.5f, 0.5f}), bad));
  EXPECT_THAT(std::string(compressed.message()), HasSubstr("the compressed model gives logits"));
}

TEST(PerplexityTest, WithoutAPredictionThereIsNoFigure) {
  const auto evaluator = make("perplexity");
  ASSERT_TRUE(evaluator->consume(view({-1}, logits_of({0.5f, 0.5f}))).ok());
  EXPECT_THAT(std::string(evaluator->report().status().message()),
              HasSubstr("no token was predicted"));
}

TEST(DivergenceTest, GivesMeanPercentilesAndAgreement) {
  const auto evaluator = make("divergence");
  const double one = std::log(2.0 / std::sqrt(3.0));  // (1/2, 1/2) against (3/4, 1/4)
  const at::Tensor half = logits_of({0.5f, 0.5f}), tilted = logits_of({0.75f, 0.25f});
  ASSERT_TRUE(
      evaluator->consume(view({0, -1}, at::cat({half, half}), at::cat({half, tilted}))).ok());
  ASSERT_TRUE(
      evaluator->consume(view({-1, 0}, at::cat({half, half}), at::cat({half, tilted.flip(1)})))
          .ok());
  const Metrics metrics = must(evaluator->report());
  EXPECT_TRUE(metrics.original.empty());
  EXPECT_NEAR(metrics.compressed.at("kl_mean"), one / 2, 1e-6);
  EXPECT_NEAR(metrics.compressed.at("kl_p50"), 0.0, 1e-7);
  EXPECT_NEAR(metrics.compressed.at("kl_p99"), one, 1e-6);
  EXPECT_EQ(metrics.compressed.at("top1_agreement"), 0.75);
}

TEST(DivergenceTest, RefusesARunThatCompressedNothingAndLogitsThatAreNotFinite) {
  const at::Tensor half = logits_of({0.5f, 0.5f});
  EXPECT_THAT(std::string(make("divergence")->consume(view({0}, half)).message()),
              HasSubstr("nothing was compressed"));
  const at::Tensor bad = half / 0.0;
  EXPECT_THAT(std::string(make("divergence")->consume(view({0}, half, bad)).message()),
              HasSubstr("not finite at sequence 5, token 10"));
  EXPECT_THAT(std::string(make("divergence")->report().status().message()),
              HasSubstr("no position was compared"));
}

}  // namespace
}  // namespace swage
