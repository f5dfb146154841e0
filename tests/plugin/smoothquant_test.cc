#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block_run.h"
#include "plugin_support.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/scalar_grid.h"
#include "tests/kit/fixture.h"
#include "tests/kit/nn_support.h"

namespace swage {
namespace {

using testing_support::BlockRun;
using testing_support::loader;
using testing_support::must;
using testing_support::OneLinearBlock;

Slots batch_of(const at::Tensor& hidden) {
  Slots batch = nn::sequences({hidden.size(0)});
  batch[kHidden] = hidden;
  return batch;
}

// The scales that SmoothQuant folded, by subset.
std::vector<at::Tensor> smooth(Block& block, const at::Tensor& hidden, double alpha,
                               const char* targets = "norms") {
  const auto algorithm =
      must(loader().algorithm("smoothquant", Params({{"alpha", alpha}, {"targets", targets}})));
  BlockRun run(block, {}, batch_of(hidden), algorithm->needs());
  const absl::Status status = algorithm->block_transform(run);
  EXPECT_TRUE(status.ok()) << status;
  return run.folded;
}

// Mean squared error of the outputs of F1 with weights per channel and activations per token.
double quantized_error(const test::Fixture& fixture, const at::Tensor& scale, int bits) {
  const auto rounded = [bits](const at::Tensor& x) {
    Linear linear;
    linear.weight = x;
    Target target;
    target.codec = must(make_codec({"int", {{"bits", bits}, {"granularity", "channel"}}}));
    target.request.scale_dtype = at::kDouble;
    const Result result = must(quant::quantize(linear, target));
    return quant::decode(result.part("codes"),
                         must(target.codec->grid(result.parts(), x.size(0), x.size(1))));
  };
  const at::Tensor y = rounded(fixture.input / scale).mm(rounded(fixture.weight * scale).t());
  return (y - fixture.input.mm(fixture.weight.t())).square().mean().item<double>();
}

TEST(SmoothQuant, ScalesOfManyChannelsDoNotDependOnThreads) {
  at::manual_seed(1);
  const at::Tensor weight = at::randn({3, 70'003}), hidden = at::randn({5, 70'003});
  const int before = at::get_num_threads();
  std::vector<at::Tensor> scales;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    OneLinearBlock block(weight);
    scales.push_back(smooth(block, hidden, 0.7).at(0));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(scales[1], scales[0]));
  EXPECT_TRUE(at::equal(scales[2], scales[0]));
}

TEST(SmoothQuant, ReproducesTheGoldenNumbers) {
  const auto fixture = test::f1();
  OneLinearBlock block(fixture.weight);
  const at::Tensor scale = smooth(block, fixture.input, 0.5).at(0).to(at::kDouble);
  const double first[] = {4.38727112, 3.86026782, 3.53882726, 14.20726776};
  for (int c = 0; c < 4; ++c) EXPECT_NEAR(scale[c].item<double>() / first[c], 1, 3e-7);
  EXPECT_NEAR(scale[11].item<double>() / 12.66702263, 1, 3e-7);
  const at::Tensor naive = at::ones({16}, at::kDouble);
  EXPECT_NEAR(quantized_error(fixture, scale, 8) / 8.504216856e-05, 1, 1e-4);
  EXPECT_NEAR(quantized_error(fixture, naive, 8) / 4.130230849e-04, 1, 1e-8);
  EXPECT_NEAR(quantized_error(fixture, scale, 4) / .02517553, 1, 1e-4);
  EXPECT_NEAR(quantized_error(fixture, naive, 4) / .09561022, 1, 1e-6);
  OneLinearBlock other(fixture.weight);
  const at::Tensor strong = smooth(other, fixture.input, 0.8).at(0).to(at::kDouble);
  EXPECT_NEAR(quantized_error(fixture, strong, 8) / 2.5480886e-04, 1, 1e-4);
}

TEST(SmoothQuant, AlphaDividesTheDifficulty) {
  const auto fixture = test::f1();
  for (const double alpha : {0.0, 0.5, 1.0}) {
    OneLinearBlock block(fixture.weight);
    const at::Tensor scale = smooth(block, fixture.input, alpha).at(0).to(at::kDouble);
    const at::Tensor x = (fixture.input / scale).abs().amax(0);
    const at::Tensor w = block.linear().weight.abs().amax(0);
    if (alpha == 0.0) {
      EXPECT_TRUE(w.allclose(at::ones_like(w), 1e-6));
    }
    if (alpha == 0.5) {
      EXPECT_TRUE(w.allclose(x, 1e-6));
    }
    if (alpha == 1.0) {
      EXPECT_TRUE(x.allclose(at::ones_like(x), 1e-6));
    }
  }
}

TEST(SmoothQuant, KeepsTheFunctionAndTheRowsUnlessAskedForAll) {
  const nn::DecoderDescription d = nn::small_decoder();
  const at::Tensor hidden = at::randn({40, d.hidden_size}, at::kDouble);
  for (const char* targets : {"norms", "all"}) {
    const auto block = nn::make_block(d, nn::random_weights(d), at::kDouble);
    Slots before = batch_of(hidden), after = batch_of(hidden);
    block->forward(before);
    const std::vector<at::Tensor> folded = smooth(*block, hidden, 0.5, targets);
    ASSERT_EQ(folded.size(), 4u);
    EXPECT_TRUE(folded[0].defined() && folded[2].defined());
    EXPECT_EQ(folded[1].defined(), std::string(targets) == "all");
    EXPECT_EQ(folded[3].defined(), std::string(targets) == "all");
    block->forward(after);
    EXPECT_TRUE(after.at(kHidden).allclose(before.at(kHidden), 1e-10, 1e-10));
  }
}

TEST(SmoothQuant, LeavesChannelsThatAreAlwaysZero) {
  auto fixture = test::f1();
  fixture.input.select(1, 5).zero_();
  OneLinearBlock block(fixture.weight);
  EXPECT_EQ(smooth(block, fixture.input, 0.5).at(0)[5].item<double>(), 1);
  EXPECT_TRUE(block.linear().weight.select(1, 5).equal(fixture.weight.select(1, 5)));
}

TEST(SmoothQuant, RefusesActivationsThatAreNotFinite) {
  auto fixture = test::f1();
  fixture.input[7][2] = std::numeric_limits<double>::quiet_NaN();
  OneLinearBlock block(fixture.weight);
  const auto algorithm =
      must(loader().algorithm("smoothquant", Params({{"alpha", 0.5}, {"targets", "norms"}})));
  BlockRun run(block, {}, batch_of(fixture.input), algorithm->needs());
  const absl::Status status = algorithm->block_transform(run);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "mlp.output: the scale of channel 2 is nan, expected a positive finite number");
}

}  // namespace
}  // namespace swage
