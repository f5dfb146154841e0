// Checkpoints of MLX: names, types and bytes as its readers expect them.
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "one_linear.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char kMlx[] = "mlx";
const std::string kSymmetric = R"({"bits": 4, "group": 64})",
                  kZeros = R"({"bits": 4, "group": 64, "symmetric": false, "scale_dtype": "fp32"})",
                  kAffine = R"({"format": "affine", "bits": 4, "group": 64})",
                  kMxfp4 = R"({"format": "mxfp4"})",
                  kNvfp4 = R"({"format": "nvfp4", "tensor_scale": "none", "decoded": "fp16"})",
                  kMxfp8 = R"({"format": "mxfp8"})";

Result make(const std::string& json, at::ScalarType scales = at::kBFloat16, int64_t out = 12,
            int64_t in = 128) {
  return quantized(kOneLinear, out, in, scheme(json), scales);
}

void expect_round_trip(const Result& linear) {
  OneLinear one(kMlx, linear);
  EXPECT_EQ(digest(one.back()), digest(linear));
  EXPECT_EQ(one.back().codec()->form(), linear.codec()->form());
}

TEST(Mlx, FilesDecodeToWhatWasEncoded) {
  for (const at::ScalarType scales : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64, 128}) {
        const std::string size = absl::StrCat("\"bits\": ", bits, ", \"group\": ", group);
        SCOPED_TRACE(size);
        expect_round_trip(make("{" + size + "}", scales));
        expect_round_trip(make("{" + size + R"(, "convention": "full-range"})", scales));
        expect_round_trip(make(R"({"format": "affine", )" + size + "}", scales));
        if (scales == at::kFloat)
          expect_round_trip(make("{" + size + R"(, "symmetric": false})", scales));
      }
    }
  }
  for (const std::string& json : {kMxfp4, kNvfp4, kMxfp8}) {
    SCOPED_TRACE(json);
    expect_round_trip(make(json, at::kBFloat16, 45, 96));
  }
}

TEST(Mlx, HaveTheNamesTypesAndShapesOfTheFormat) {
  EXPECT_THAT(
      OneLinear(kMlx, make(R"({"bits": 3, "group": 32})")).written(),
      ElementsAre("biases BFloat16 [12, 4]", "scales BFloat16 [12, 4]", "weight UInt32 [12, 12]"));
  EXPECT_THAT(
      OneLinear(kMlx, make(kZeros)).written(),
      ElementsAre("biases Float [12, 2]", "scales Float [12, 2]", "weight UInt32 [12, 16]"));
  EXPECT_THAT(OneLinear(kMlx, make(kMxfp4)).written(),
              ElementsAre("scales Byte [12, 4]", "weight UInt32 [12, 16]"));
  EXPECT_THAT(OneLinear(kMlx, make(kNvfp4)).written(),
              ElementsAre("scales Byte [12, 8]", "weight UInt32 [12, 16]"));
  EXPECT_THAT(OneLinear(kMlx, make(kMxfp8)).written(),
              ElementsAre("scales Byte [12, 4]", "weight UInt32 [12, 32]"));
}

// The first code in the lowest bits of a word.
TEST(Mlx, CodesAreABitStringAlongTheInputs) {
  const auto word = [](const std::string& json, const at::Tensor& codes) {
    Result linear = make(json, at::kBFloat16, 1, 128);
    linear.set_part("codes",
                    codes.repeat({1, 128 / codes.numel()}).to(linear.part("codes").scalar_type()));
    return OneLinear(kMlx, linear).read("weight").view(at::kInt)[0][0].item<int32_t>();
  };
  EXPECT_EQ(word(kSymmetric, at::arange(-8, 0)), 0x76543210);
  EXPECT_EQ(static_cast<uint32_t>(word(R"({"bits": 3, "group": 32})", at::arange(-4, 4))),
            0x88FAC688U);
  EXPECT_EQ(word(R"({"bits": 8, "group": 32})", at::tensor({-128, -127, -126, -125})), 0x03020100);
  EXPECT_EQ(word(kMxfp4, at::tensor({1, 2, 3, 4, 5, 6, 7, 0})), 0x07654321);
  EXPECT_EQ(word(kMxfp8, at::full({4}, 1.5)), 0x3C3C3C3C);
}

TEST(Mlx, BiasesAreMinusZeroPointTimesScale) {
  Result linear = make(kZeros);
  linear.set_part("scales", at::full({12, 2}, 0.25F));
  linear.set_part("zeros", at::full({12, 2}, -3, at::kChar));
  OneLinear one(kMlx, linear);
  EXPECT_TRUE(one.read("biases").eq(-1.25F).all().item<bool>()) << "five steps below zero";
  Result symmetric = make(kSymmetric);
  symmetric.set_part("scales", at::full({12, 2}, 0.75, at::kBFloat16));
  EXPECT_TRUE(OneLinear(kMlx, symmetric).read("biases").eq(-6).all().item<bool>());
  Result great = make(kSymmetric, at::kHalf);
  great.set_part("scales", at::full({12, 2}, 60000, at::kHalf));
  Export run(kMlx, kShards);
  EXPECT_THAT(std::string(run.exporter().encode(great, run.store()).message()),
              HasSubstr("a bias lies beyond Half"));
}

TEST(Mlx, DescribesModulesThatDiffer) {
  Export run(kMlx, kShards);
  const auto named = [](Result linear, const char* name) { return linear.set_name(name); };
  run.add(named(make(kSymmetric), "model.layers.0.mlp.up_proj"));
  run.add(named(make(kSymmetric), "model.layers.1.mlp.up_proj"));
  run.add(named(make(kAffine), "model.layers.1.mlp.gate_proj"));
  run.add(named(make(kMxfp8), "lm_head"));
  run.finish(Value(Value::Table{{"quantization", Value::Table{{"bits", 2}}}}));
  const std::string modes =
      R"("bits":4,"group_size":64,"lm_head":{"bits":8,"group_size":32,"mode":"mxfp8"},)"
      R"("mode":"affine")";
  EXPECT_EQ(to_json(run.config()["quantization"], -1), "{" + modes + "}");
  EXPECT_EQ(to_json(run.config()["quantization_config"], -1),
            "{" + modes +
                R"(,"swage":{"common":{"zero":"none"},"others":{"lm_head":{"decoded":"bf16"},)"
                R"("model.layers.1.mlp.gate_proj":{}}}})");
  for (const char* name : {"model.layers.1.mlp.up_proj", "model.layers.1.mlp.gate_proj", "lm_head"})
    EXPECT_TRUE(run.decode(name).ok()) << name;
  EXPECT_EQ(must(run.decode("model.layers.1.mlp.gate_proj")).codec()->format(), "affine");
}

TEST(Mlx, RefusesWhatMlxDoesNotComputeWith) {
  const auto why = [](const std::string& json) { return refusal(kMlx, make(json)); };
  EXPECT_THAT(why(R"({"bits": 7, "group": 64})"), HasSubstr("MLX has no 7 bits"));
  EXPECT_THAT(why(R"({"bits": 4, "group": 16})"), HasSubstr("MLX has no groups of 16"));
  EXPECT_THAT(why(R"({"granularity": "channel"})"), HasSubstr("use group = 32, 64 or 128"));
  EXPECT_THAT(why(R"({"group": 64, "symmetric": false})"), HasSubstr("use format = \"affine\""));
  EXPECT_THAT(why(R"({"group": 64, "symmetric": false, "zero": "float"})"),
              HasSubstr("whose offsets it stores as they are"));
  EXPECT_THAT(why(R"({"format": "nvfp4"})"), HasSubstr("tensor_scale = \"none\""));
  EXPECT_THAT(why(R"({"format": "mxfp4", "scale_rule": "four-thirds"})"),
              HasSubstr("not thirds of them"));
  EXPECT_THAT(why(R"({"format": "mxfp8", "element": "e5m2"})"), HasSubstr("element = \"e4m3\""));
  EXPECT_THAT(why(R"({"format": "fp8-e4m3"})"), HasSubstr("no place for \"fp8-e4m3\""));
  Result inputs = make(kSymmetric);
  inputs.set_activation(activation(R"({"bits": 8})"));
  EXPECT_THAT(refusal(kMlx, inputs), HasSubstr("leaves inputs in floats"));
  LinearSummary first = summary(make(kSymmetric)), second = summary(make(kAffine)),
                third = summary(make(kMxfp4));
  first.name = "model.layers.0.mlp.experts.0.up_proj";
  second.name = third.name = "model.layers.0.mlp.experts.1.up_proj";
  EXPECT_EQ(refusal(kMlx, {first, second}), "") << "the same to MLX";
  EXPECT_THAT(refusal(kMlx, {first, third}), HasSubstr("stacks the experts of a layer"));
  EXPECT_THAT(refusal(kMlx, {first, kept(second.name, 12, 128)}), HasSubstr("is kept"));
  EXPECT_THAT(remarks(kMlx, {summary(make(kZeros))}), ElementsAre(HasSubstr("compute in fp32")));
  EXPECT_THAT(remarks(kMlx, {first}), IsEmpty());
}

TEST(Mlx, EveryChangedBitIsNoticed) {
  for (const std::string& json : {kSymmetric, kZeros, kAffine, kMxfp4, kNvfp4, kMxfp8}) {
    OneLinear one(kMlx, make(json));
    for (const char* part : {"weight", "scales", "biases"}) {
      if (one.run().store().has(kOneLinear + "." + part)) {
        EXPECT_TRUE(one.notices(part)) << json << " " << part;
      }
    }
  }
}

// Without notes every affine checkpoint has offsets, whatever they come from.
TEST(Mlx, ReadsCheckpointsOfMlx) {
  const Result linear = make(kSymmetric);
  OneLinear one(kMlx, linear);
  const Value config(Value::Table{
      {"quantization", Value::Table{{"group_size", 32},
                                    {"bits", 8},
                                    {kOneLinear, Value::Table{{"group_size", 64}, {"bits", 4}}}}}});
  const Result back = must(one.run().exporter().decode(kOneLinear, one.run().store(), config));
  EXPECT_EQ(back.codec()->format(), "affine");
  EXPECT_TRUE(at::equal(decode(back).to(at::kBFloat16).to(at::kFloat), decode(linear)));
  const auto plain = one.run().exporter().decode("model.norm", one.run().store(), config);
  EXPECT_FALSE(plain.ok());
}

TEST(Mlx, SaysWhatDoesNotHold) {
  OneLinear one(kMlx, make(kSymmetric)), floats(kMlx, make(kNvfp4));
  const auto none = [](const at::Tensor&) { return at::Tensor(); };
  EXPECT_THAT(one.message("weight", [](auto& t) { return t.view(at::kInt); }),
              HasSubstr("weight is Int, expected UInt32"));
  EXPECT_THAT(one.message("weight", [](auto& t) { return t.narrow(1, 0, 3); }),
              HasSubstr("weight is [12, 3], expected [12, 16]"));
  EXPECT_THAT(one.message("biases", none), HasSubstr("biases is missing"));
  EXPECT_THAT(one.message("biases", [](auto& t) { return t.to(at::kHalf); }),
              HasSubstr("biases is Half, expected BFloat16"));
  EXPECT_THAT(one.message("scales", none), HasSubstr("weight is UInt32, expected floats"));
  EXPECT_THAT(one.message("scales", [](auto& t) { return t / 0; }), HasSubstr("not finite"));
  EXPECT_THAT(floats.message("scales", [](auto& t) { return at::full_like(t, 0x7F); }),
              HasSubstr("scales is not finite"));
  EXPECT_THAT(floats.message("global_scale", [](auto&) { return at::ones({1}); }),
              HasSubstr("global_scale is there"));
  const auto said = [&](const char* from, const char* to) {
    return std::string(one.configured(from, to).status().message());
  };
  EXPECT_THAT(said(R"("mode":"affine")", R"("mode":"cubic")"), HasSubstr("\"cubic\" is not known"));
  EXPECT_THAT(said(R"("bits":4)", R"("bits":7)"), HasSubstr("MLX has no 7 bits"));
  EXPECT_THAT(said(R"("bits":4)", R"("bits":8)"), HasSubstr("weight is [12, 16], expected"));
  EXPECT_THAT(said(R"("group_size":64)", R"("group_size":48)"), HasSubstr("groups of 48"));
  EXPECT_THAT(said(R"("mode":"affine")", R"("mode":"mxfp4")"), HasSubstr("in groups of 64"));
  EXPECT_THAT(said(R"("zero":"none")", R"("zero":"all")"), HasSubstr("\"zero\" is \"all\""));
}

}  // namespace
}  // namespace swage
