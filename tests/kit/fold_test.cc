#include "swage/transform/fold.h"

#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn_support.h"

namespace swage {
namespace {

using ::testing::HasSubstr;

struct Case {
  nn::NormKind norm;
  bool gated;
  int64_t kv_heads;
};

class Fold : public ::testing::TestWithParam<Case> {
 protected:
  Fold() {
    description_ = nn::small_decoder();
    description_.norm = GetParam().norm;
    description_.gated = GetParam().gated;
    description_.kv_heads = GetParam().kv_heads;
    block_ = nn::make_block(description_, nn::random_weights(description_), at::kDouble);
    hidden_ = at::randn({7, description_.hidden_size}, at::kDouble);
  }

  at::Tensor forward() {
    Slots slots = nn::sequences({3, 4});
    slots[kHidden] = hidden_;
    block_->forward(slots);
    return slots.take(kHidden);
  }

  nn::DecoderDescription description_;
  std::unique_ptr<Block> block_;
  at::Tensor hidden_;
};

TEST_P(Fold, KeepsTheFunctionOfABlock) {
  const at::Tensor before = forward();
  for (Subset& subset : block_->subsets()) {
    if (subset.fold.kind == FoldTarget::Kind::kNone) continue;
    const at::Tensor wild = (2 * at::randn({subset.linears[0]->in()}, at::kDouble)).exp();
    const at::Tensor old = subset.linears[0]->weight.clone();
    const auto folded = transform::fold_scale(subset, transform::tie_channels(subset.fold, wild));
    ASSERT_TRUE(folded.ok()) << folded.status();
    EXPECT_TRUE((old * *folded).allclose(subset.linears[0]->weight, 1e-12));
  }
  const double error = (forward() - before).abs().max().item<double>();
  EXPECT_LT(error / before.abs().max().item<double>(), 1e-10);
}

INSTANTIATE_TEST_SUITE_P(Blocks, Fold,
                         ::testing::Values(Case{nn::NormKind::kRms, true, 2},
                                           Case{nn::NormKind::kRms, true, 6},
                                           Case{nn::NormKind::kRmsOffset, true, 1},
                                           Case{nn::NormKind::kLayer, false, 3}));

// A norm of four channels, one linear to compress and a router that only follows.
struct Small {
  explicit Small(at::ScalarType storage = at::kBFloat16) {
    norm = {"norm", at::tensor({1.0, -0.5, 2.0, 0.0}, at::kFloat), storage};
    linear.name = "q_proj";
    linear.weight = at::ones({2, 4});
    router.name = "router";
    router.weight = at::ones({3, 4});
    subset.name = "attention.input";
    subset.linears = {&linear};
    subset.readers = {&router};
    subset.fold.kind = FoldTarget::Kind::kNorm;
    subset.fold.norm_weight = &norm;
  }
  absl::Status fold(std::vector<float> scale) {
    return transform::fold_scale(subset, at::tensor(scale)).status();
  }
  Parameter norm;
  Linear linear, router;
  Subset subset;
};

TEST(FoldScale, GivesReadersTheQuotientOfOldAndRoundedNewNorm) {
  Small small;
  const auto folded = transform::fold_scale(small.subset, at::tensor({3.f, 3.f, 7.f, 5.f}));
  ASSERT_TRUE(folded.ok()) << folded.status();
  const at::Tensor stored = small.norm.value;
  EXPECT_TRUE(stored.equal(stored.to(at::kBFloat16).to(at::kFloat)));
  EXPECT_NE((*folded)[0].item<float>(), 3.f);
  EXPECT_NEAR((*folded)[0].item<float>(), 3.f, 0.01);
  EXPECT_EQ((*folded)[3].item<float>(), 5.f) << "a channel that is always zero takes any scale";
  EXPECT_TRUE(
      (stored * small.linear.weight[0]).allclose(at::tensor({1.f, -.5f, 2.f, 0.f}), 1e-6, 1e-6));
  EXPECT_TRUE(small.router.weight[0].equal(small.linear.weight[0]));
}

TEST(FoldScale, KeepsChannelsWhoseNormTheStorageDtypeCannotHold) {
  Small small(at::kHalf);
  const auto folded = transform::fold_scale(small.subset, at::tensor({1e9f, 1e-9f, 2.f, 1.f}));
  ASSERT_TRUE(folded.ok()) << folded.status();
  EXPECT_TRUE(folded->equal(at::tensor({1.f, 1.f, 2.f, 1.f})));
  EXPECT_TRUE(small.norm.value.equal(at::tensor({1.f, -.5f, 1.f, 0.f})));
}

TEST(FoldScale, RefusesScalesThatAreNotPositiveNumbers) {
  Small small;
  EXPECT_EQ(small.fold({1, 0, 1, 1}).message(),
            "attention.input: the scale of channel 1 is 0, expected a positive finite number");
  EXPECT_EQ(small.fold({1, 1, NAN, 1}).message(),
            "attention.input: the scale of channel 2 is nan, expected a positive finite number");
  EXPECT_EQ(small.fold({1, 1, 1, INFINITY}).message(),
            "attention.input: the scale of channel 3 is inf, expected a positive finite number");
  const absl::Status status = small.fold({1, 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "attention.input: a scale for each of the 4 input channels is needed, found 2");
  EXPECT_TRUE(small.linear.weight.equal(at::ones({2, 4}))) << "a refusal changes nothing";
}

TEST(FoldScale, SaysWhyThereIsNoTarget) {
  Small small;
  small.subset.fold = {};
  small.subset.fold.why_none = "gelu between fc1 and fc2";
  const absl::Status status = small.fold({1, 1, 1, 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "attention.input: no scale can be folded here: gelu between fc1 and fc2");
}

TEST(FoldScale, RefusesToInvalidateRangeLimits) {
  Small small;
  small.linear.clip_low = at::zeros({2, 1});
  small.linear.clip_high = at::ones({2, 1});
  EXPECT_THAT(std::string(small.fold({1, 1, 1, 1}).message()),
              HasSubstr("q_proj: it has range limits, which do not survive a new scale"));
}

// Two heads of two channels read one head of v.
struct Grouped : Small {
  Grouped() {
    v.name = "v_proj";
    v.weight = at::ones({5, 3});
    v.bias = at::ones({5});
    v.clip_low = -at::ones({5, 1});
    v.clip_high = at::ones({5, 1});
    subset.name = "attention.output";
    subset.fold = {};
    subset.fold.kind = FoldTarget::Kind::kLinearRows;
    subset.fold.linear = &v;
    subset.fold.row_of_channel = at::tensor({3, 4, 3, 4}, at::kLong);
  }
  Linear v;
};

TEST(FoldScale, DividesTheRowsThatFeedTheChannelsAndTheirLimits) {
  Grouped grouped;
  ASSERT_TRUE(grouped.fold({2, 4, 2, 4}).ok());
  const at::Tensor divisors = at::tensor({1.f, 1.f, 1.f, 2.f, 4.f});
  EXPECT_TRUE(grouped.v.bias.equal(divisors.reciprocal()));
  EXPECT_TRUE(grouped.v.clip_high.flatten().equal(divisors.reciprocal()));
  EXPECT_TRUE(grouped.v.clip_low.flatten().equal(-divisors.reciprocal()));
  EXPECT_TRUE(grouped.v.weight.select(1, 0).equal(divisors.reciprocal()));
  EXPECT_TRUE(grouped.linear.weight[0].equal(at::tensor({2.f, 4.f, 2.f, 4.f})));
}

TEST(FoldScale, RefusesScalesThatDifferWithinTiedChannels) {
  Grouped grouped;
  const absl::Status status = grouped.fold({2, 4, 2, 8});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(
      status.message(),
      "attention.output: channel 1 has scale 4, another one that row 4 of v_proj feeds has 8; "
      "channels of one row share a scale (transform::tie_channels)");
  EXPECT_TRUE(grouped.v.weight.equal(at::ones({5, 3}))) << "a refusal changes nothing";
}

TEST(TieChannels, TakesTheGreatestOfTheChannelsOfARow) {
  const Grouped grouped;
  const at::Tensor statistic = at::tensor({1.f, 5.f, 3.f, 4.f});
  EXPECT_TRUE(transform::tie_channels(grouped.subset.fold, statistic)
                  .equal(at::tensor({3.f, 5.f, 3.f, 5.f})));
  const Small small;
  EXPECT_TRUE(transform::tie_channels(small.subset.fold, statistic).equal(statistic));
}

}  // namespace
}  // namespace swage
