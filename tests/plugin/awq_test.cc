#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block_run.h"
#include "plugin_support.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/search.h"
#include "tests/kit/fixture.h"
#include "tests/kit/nn_support.h"

namespace swage {
namespace {

using testing_support::BlockRun;
using testing_support::loader;
using testing_support::must;
using testing_support::OneLinearBlock;

Target groups_of(int bits, int64_t group, const char* convention, at::ScalarType scale_dtype) {
  Target target;
  target.codec = must(make_codec(
      {"int",
       {{"bits", bits}, {"group", group}, {"symmetric", false}, {"convention", convention}}}));
  target.request.scale_dtype = scale_dtype;
  return target;
}

Target groups_of_eight(int bits, at::ScalarType scale_dtype = at::kDouble) {
  return groups_of(bits, 8, "llmc", scale_dtype);
}

Params options(const char* formula, const char* clip) {
  return Params({{"grid", 20},
                 {"search_tokens", 64},
                 {"formula", formula},
                 {"clip", clip},
                 {"clip_skip", Value::List{}}});
}

Slots batch_of(const at::Tensor& hidden) {
  Slots batch = nn::sequences({hidden.size(0)});
  batch[kHidden] = hidden;
  return batch;
}

struct Ran {
  absl::Status status;
  at::Tensor folded;
};

Ran run(Block& block, const at::Tensor& hidden, const Target& target, const Params& params) {
  const auto algorithm = must(loader().algorithm("awq", params));
  BlockRun run(block, target, batch_of(hidden), algorithm->needs());
  const absl::Status status = algorithm->block_transform(run);
  return {status, run.folded.empty() ? at::Tensor() : run.folded[0]};
}

double mean_error(const test::Fixture& fixture, const Linear& linear, const at::Tensor& scale) {
  const at::Tensor effective = decode(*linear.result()) / scale.to(at::kDouble);
  return fixture.error(effective) / 2 / static_cast<double>(64 * 8);
}

// A module that is compared as a whole needs no Hessian, which would be large here.
TEST(Awq, ScalesOfManyChannelsDoNotDependOnThreads) {
  at::manual_seed(1);
  const at::Tensor weight = at::randn({6, 70'008}), hidden = at::randn({5, 70'008});
  const int before = at::get_num_threads();
  for (const char* formula : {"activations", "duo"}) {
    std::vector<at::Tensor> scales;
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      OneLinearBlock block(weight);
      block.subsets()[0].inspect_module = true;
      const auto algorithm = must(loader().algorithm("awq", options(formula, "off")));
      BlockRun run(block, groups_of_eight(4, at::kFloat), batch_of(hidden), Needs().mean_abs());
      const absl::Status status = algorithm->block_transform(run);
      ASSERT_TRUE(status.ok()) << status;
      scales.push_back(run.folded.at(0));
    }
    EXPECT_TRUE(at::equal(scales[1], scales[0])) << formula;
    EXPECT_TRUE(at::equal(scales[2], scales[0])) << formula;
  }
  at::set_num_threads(before);
}

struct Golden {
  int bits;
  const char* formula;
  double loss;
};

TEST(Awq, FindsTheGoldenScales) {
  const auto fixture = test::f1();
  const Golden table[] = {{3, "activations", .025954672054779103},
                          {3, "duo", .025517342559739642},
                          {4, "activations", .005593329917405359},
                          {4, "duo", .005216209285947735}};
  for (const Golden& golden : table) {
    OneLinearBlock block(fixture.weight);
    const Ran done =
        run(block, fixture.input, groups_of_eight(golden.bits), options(golden.formula, "off"));
    ASSERT_TRUE(done.status.ok()) << done.status;
    EXPECT_NEAR(mean_error(fixture, block.linear(), done.folded) / golden.loss, 1, 1e-4)
        << golden.bits << " " << golden.formula;
  }
}

TEST(Awq, IsNeverWorseThanRoundingAlone) {
  const auto fixture = test::f5();
  for (const char* clip : {"off", "symmetric", "asymmetric"}) {
    for (const int bits : {2, 3, 4}) {
      OneLinearBlock block(fixture.weight);
      const Ran done =
          run(block, fixture.input, groups_of_eight(bits), options("activations", clip));
      ASSERT_TRUE(done.status.ok()) << done.status;
      Linear plain;
      plain.weight = fixture.weight;
      const auto rounded = quant::quantize(plain, groups_of_eight(bits));
      EXPECT_LT(fixture.error(decode(*block.linear().result()) / done.folded),
                fixture.error(decode(*rounded)));
      EXPECT_EQ(block.linear().clip_low.defined(), std::string(clip) != "off");
    }
  }
}

TEST(Awq, DoesNotSeeTheSizeOfTheActivations) {
  const auto fixture = test::f1();
  OneLinearBlock one(fixture.weight), other(fixture.weight);
  const Params params = options("activations", "asymmetric");
  const Ran a = run(one, fixture.input, groups_of_eight(3), params);
  const Ran b = run(other, fixture.input * 1024, groups_of_eight(3), params);
  EXPECT_TRUE(a.folded.allclose(b.folded, 1e-6));
  EXPECT_TRUE(one.linear().result()->part("codes").equal(other.linear().result()->part("codes")));
}

TEST(Awq, EqualChannelsGetEqualScales) {
  const auto fixture = test::f1();
  const at::Tensor even = fixture.input.sign() * 3;
  OneLinearBlock block(fixture.weight);
  const Ran done = run(block, even, groups_of_eight(3), options("activations", "off"));
  EXPECT_TRUE(done.folded.equal(at::ones_like(done.folded)));
  EXPECT_TRUE(block.linear().weight.equal(fixture.weight));
}

TEST(Awq, LeavesChannelsThatAreAlwaysZero) {
  auto fixture = test::f1();
  fixture.input.select(1, 5).zero_();
  for (const char* formula : {"activations", "duo"}) {
    OneLinearBlock block(fixture.weight);
    const Ran done = run(block, fixture.input, groups_of_eight(3), options(formula, "asymmetric"));
    ASSERT_TRUE(done.status.ok()) << done.status;
    EXPECT_EQ(done.folded[5].item<double>(), 1);
    EXPECT_TRUE(done.folded.isfinite().all().item<bool>());
    EXPECT_GT(done.folded[3].item<double>() / done.folded[4].item<double>(), 1.5);
  }
}

TEST(Awq, RefusesActivationsThatAreNotFinite) {
  auto fixture = test::f1();
  fixture.input[7][2] = std::numeric_limits<double>::infinity();
  OneLinearBlock block(fixture.weight);
  const Ran done =
      run(block, fixture.input, groups_of_eight(3), options("activations", "asymmetric"));
  EXPECT_EQ(done.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(done.status.message(), "calibration gives activations that are not finite");
}

TEST(Awq, SaysWhereAScaleHasNoTargetAndStillRounds) {
  const auto fixture = test::f1();
  OneLinearBlock block(fixture.weight);
  block.subsets()[0].fold = {};
  block.subsets()[0].fold.why_none = "gelu between fc1 and fc2";
  const auto algorithm = must(loader().algorithm("awq", options("activations", "asymmetric")));
  BlockRun run(block, groups_of_eight(3), batch_of(fixture.input), algorithm->needs());
  ASSERT_TRUE(algorithm->block_transform(run).ok());
  EXPECT_EQ(run.notes,
            std::vector<std::string>{"mlp.output: not scaled: gelu between fc1 and fc2"});
  EXPECT_TRUE(block.linear().weight.equal(fixture.weight));
  EXPECT_TRUE(block.linear().clip_low.defined() && block.linear().result());
}

// Grouped heads, biases, sub-modules that are compared as a whole.
TEST(Awq, KeepsTheFloatFunctionOfABlock) {
  nn::DecoderDescription d = nn::small_decoder();
  const at::Tensor hidden = at::randn({40, d.hidden_size}, at::kDouble);
  for (const bool gated : {true, false}) {
    d.gated = gated;
    const auto block = nn::make_block(d, nn::random_weights(d), at::kDouble);
    Slots before = batch_of(hidden), after = batch_of(hidden);
    block->forward(before);
    const Target target = groups_of(3, 12, "minmax", at::kFloat);
    const Ran done = run(*block, hidden, target, options("activations", "asymmetric"));
    ASSERT_TRUE(done.status.ok()) << done.status;
    EXPECT_FALSE(done.folded.equal(at::ones_like(done.folded)));
    block->forward(after);
    EXPECT_TRUE(after.at(kHidden).allclose(before.at(kHidden), 1e-10, 1e-10));
    for (const Linear& linear : block->linears()) {
      ASSERT_TRUE(linear.result()) << linear.name;
      const auto expected = quant::quantize(linear, target);
      EXPECT_EQ(digest(*linear.result()), digest(*expected)) << "limits and rows that were divided";
    }
  }
}

}  // namespace
}  // namespace swage
