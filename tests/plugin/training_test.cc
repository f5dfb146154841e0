// Learning through blocks: gradients, what is kept, and the same bytes whatever the threads.
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "block_run.h"
#include "swage/quant/quantizer.h"
#include "swage/train/block_trainer.h"
#include "swage/train/fake_quantize.h"
#include "tests/kit/fixture.h"
#include "tiny_model.h"

namespace swage {
namespace {

using testing_support::must;
using testing_support::OneLinearBlock;
using testing_support::Tiny;

using CodecPointer = std::shared_ptr<const Codec>;

CodecPointer asymmetric(int bits, int64_t group) {
  return must(make_codec({"int", {{"bits", bits}, {"group", group}, {"symmetric", false}}}));
}

// Limits of one linear as sigmoids of logits, which start at 4.
struct Limits {
  Limits(Linear& linear, const CodecPointer& codec)
      : ends(train::group_ends(linear.weight, *codec)),
        low(at::full_like(ends.low, 4).requires_grad_(true)),
        high(at::full_like(ends.low, 4).requires_grad_(true)),
        trained{&linear,
                [this, &linear, codec] {
                  return train::fake_quantize(linear.weight, low.sigmoid() * ends.low,
                                              high.sigmoid() * ends.high, *codec,
                                              linear.weight.scalar_type());
                },
                nullptr} {}
  Limits(const Limits&) = delete;  // the function of `trained` holds this one
  Limits& operator=(const Limits&) = delete;

  train::Ends ends;
  at::Tensor low, high;
  train::TrainedLinear trained;
};

Slots batch_of(const at::Tensor& hidden, std::vector<int64_t> lengths) {
  Slots batch;
  std::vector<at::Tensor> positions;
  for (const int64_t length : lengths) positions.push_back(at::arange(length, at::kLong));
  batch.lengths = std::move(lengths);
  batch.positions = at::cat(positions);
  batch[kHidden] = hidden;
  return batch;
}

// What learning limits of F5 ends with: mean squared errors of one linear's outputs.
train::Fit learn_f5(int bits, int64_t group, int64_t epochs) {
  const auto fixture = test::f5();
  OneLinearBlock block(fixture.weight);
  Limits limits(block.linear(), asymmetric(bits, group));
  train::BlockTrainer trainer(block, {batch_of(fixture.input, {256})}, {limits.trained});
  train::Schedule schedule;
  schedule.epochs = epochs;
  return must(trainer.fit({limits.low, limits.high}, schedule));
}

TEST(BlockTrainer, LearnsTheLimitsOfABenignLayer) {
  // Start, and the error that 400 steps of the original method come to.
  const std::tuple<int, int64_t, double, double> golden[] = {{2, 64, .23909213365, .15161874714},
                                                             {3, 64, .04861235366, .04112542513},
                                                             {4, 64, .01208310550, .01060857407},
                                                             {2, 32, .18766173844, .13840746682}};
  for (const auto& [bits, group, start, reached] : golden) {
    const train::Fit fit = learn_f5(bits, group, 400);
    EXPECT_NEAR(fit.initial / start, 1, 1e-9) << bits << " bits";
    EXPECT_LT(fit.best, reached * 1.03) << bits << " bits";
  }
}

TEST(BlockTrainer, KeepsTheStartWhereLearningMakesItWorse) {
  const auto fixture = test::f1();
  OneLinearBlock block(fixture.weight);
  Limits limits(block.linear(), asymmetric(3, 8));
  train::BlockTrainer trainer(block, {batch_of(fixture.input, {64})}, {limits.trained});
  train::Schedule schedule;
  schedule.epochs = 3;
  schedule.learning_rate = 50;
  const train::Fit fit = must(trainer.fit({limits.low, limits.high}, schedule));
  EXPECT_EQ(fit.best_epoch, 0);
  EXPECT_EQ(fit.best, fit.initial);
  EXPECT_TRUE(limits.low.detach().equal(at::full_like(limits.low, 4)));
  EXPECT_EQ(must(trainer.loss()), fit.best);
  EXPECT_TRUE(block.linear().weight.equal(fixture.weight)) << "the float weight comes back";
}

TEST(BlockTrainer, QuantizesInputsMeanwhile) {
  const auto fixture = test::f5();
  OneLinearBlock block(fixture.weight);
  train::TrainedLinear trained{&block.linear(), [&] { return block.linear().weight; }, {}};
  const std::vector<Slots> inputs = {batch_of(fixture.input, {256})};
  EXPECT_EQ(must(train::BlockTrainer(block, inputs, {trained}).loss()), 0);
  trained.activation = must(make_codec({"int", {{"dynamic", true}, {"granularity", "token"}}}));
  train::BlockTrainer trainer(block, inputs, {trained});
  const at::Tensor x = trained.activation->quantize_input(fixture.input, {});
  const at::Tensor error = (x - fixture.input).matmul(fixture.weight.t());
  EXPECT_NEAR(must(trainer.loss()) / error.square().mean().item<double>(), 1, 1e-9);
  EXPECT_FALSE(block.linear().input_quantizer);
}

TEST(BlockTrainer, RefusesOutputsThatAreNotFinite) {
  auto fixture = test::f5();
  fixture.input[3][4] = std::numeric_limits<double>::infinity();
  OneLinearBlock block(fixture.weight);
  Limits limits(block.linear(), asymmetric(4, 64));
  train::BlockTrainer trainer(block, {batch_of(fixture.input, {256})}, {limits.trained});
  EXPECT_THAT(std::string(trainer.fit({limits.low, limits.high}, {}).status().message()),
              ::testing::HasSubstr("are not finite"));
}

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(testing_support::test_data() / "parity"))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

class FamilyTrainingTest : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int64_t kLength = 12, kCount = 4;

  std::unique_ptr<Block> block(at::ScalarType compute) const {
    LoadOptions options;
    options.compute = compute;
    return must(tiny_.adapter->load_block({"language", 0}, *tiny_.weights, options));
  }
  at::Tensor hidden(at::ScalarType compute) const {
    const int64_t width = tiny_.adapter->shape().hidden_size;
    return (at::arange(kLength * kCount * width, at::kDouble) * 0.917)
        .sin()
        .view({-1, width})
        .to(compute);
  }

  const Tiny tiny_{GetParam()};
};

TEST_P(FamilyTrainingTest, GradientsThroughTheBlockAreFiniteDifferences) {
  const auto block = this->block(at::kDouble);
  const at::Tensor x = hidden(at::kDouble), pull = (x * 1.3).cos();
  const auto value = [&] {
    Slots slots = batch_of(x, std::vector<int64_t>(kCount, kLength));
    block->forward(slots);
    return (slots.at(kHidden) * pull).sum();
  };
  for (Linear& linear : block->linears()) linear.weight.requires_grad_(true);
  value().backward();
  const c10::AutoGradMode fixed(false);
  for (Linear& linear : block->linears()) {
    if (!linear.kept_by.empty()) continue;  // a router's choice is a step
    const at::Tensor weight = linear.weight;
    const at::Tensor direction =
        (at::arange(weight.numel(), at::kDouble) * 0.531).sin().view_as(weight);
    const auto moved = [&](double step) {
      linear.weight = weight.detach() + direction * step;
      return value().item<double>();
    };
    constexpr double kStep = 1e-6;
    const double slope = (moved(kStep) - moved(-kStep)) / (2 * kStep);
    linear.weight = weight;
    const at::Tensor gradient = weight.grad();
    const double found = gradient.defined() ? (gradient * direction).sum().item<double>() : 0;
    EXPECT_NEAR(found, slope, 1e-6 * std::max(1.0, std::abs(slope))) << linear.name;
  }
}

TEST_P(FamilyTrainingTest, BytesDoNotDependOnTheMicroBatchOrTheThreads) {
  std::vector<at::Tensor> first;
  for (const auto& [threads, at_once] : {std::pair(1, int64_t{1}), std::pair(2, kCount)}) {
    at::set_num_threads(threads);
    const auto block = this->block(at::kFloat);
    const at::Tensor x = hidden(at::kFloat);
    std::vector<Slots> inputs;
    for (int64_t i = 0; i < kCount; i += at_once) {
      const at::Tensor part = x.narrow(0, i * kLength, at_once * kLength);
      inputs.push_back(batch_of(part, std::vector<int64_t>(at_once, kLength)));
    }
    std::deque<Limits> limits;
    std::vector<train::TrainedLinear> linears;
    std::vector<at::Tensor> parameters;
    for (Linear& linear : block->linears()) {
      if (!linear.kept_by.empty()) continue;
      limits.emplace_back(linear, asymmetric(3, 8));
      linears.push_back(limits.back().trained);
      parameters.push_back(limits.back().low);
      parameters.push_back(limits.back().high);
    }
    train::BlockTrainer trainer(*block, inputs, linears);
    const double start = must(trainer.loss());
    train::Schedule schedule;
    schedule.epochs = 2;
    schedule.sequences_per_step = 2;
    const train::Fit fit = must(trainer.fit(parameters, schedule));
    EXPECT_LT(fit.best, start);
    if (first.empty()) first = parameters;
    for (size_t i = 0; i < parameters.size(); ++i)
      EXPECT_TRUE(parameters[i].equal(first[i])) << i << ", " << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FamilyTrainingTest, ::testing::ValuesIn(families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace swage
