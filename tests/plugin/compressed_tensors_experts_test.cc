// Experts of mixtures in compressed-tensors: readers stack those of a layer, and some those of all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Value::Table kParams = {{"shard_size", 5000}};
const char kPacked[] = R"({"bits": 4, "granularity": "channel"})";
const char kWide[] = R"({"bits": 8, "granularity": "channel"})";
const char kFp8[] = R"({"format": "fp8-e4m3", "granularity": "channel"})";

std::string expert(int layer, int index, const char* part = "up_proj") {
  return absl::StrCat("model.layers.", layer, ".mlp.experts.", index, ".", part);
}

LinearSummary planned(const std::string& name, const char* weight, const char* input = nullptr) {
  LinearSummary linear;
  linear.name = name;
  linear.out = linear.in = 64;
  linear.weight = scheme(weight);
  if (input != nullptr) linear.activation = activation(input).codec;
  return linear;
}

struct Checked {
  absl::Status status;
  std::vector<std::string> remarks;
};

Checked check(const std::vector<LinearSummary>& linears) {
  Export run("compressed-tensors", kParams);
  const RemarkLog said;
  const absl::Status status = run.exporter().check(linears);
  return {status, said.texts()};
}

TEST(CompressedTensorsExperts, OfALayerHaveOneSchemeOrAreAllKept) {
  const auto refusal = [](const LinearSummary& a, const LinearSummary& b) {
    return std::string(check({a, b}).status.message());
  };
  EXPECT_THAT(refusal(planned(expert(0, 0), kPacked), planned(expert(0, 1), kWide)),
              HasSubstr("experts.1.up_proj is w8 per channel symmetric"));
  EXPECT_THAT(refusal(planned(expert(0, 0), kPacked), kept(expert(0, 1), 64, 64)),
              AllOf(HasSubstr("experts.1.up_proj is kept"), HasSubstr("or keep all")));
  EXPECT_THAT(refusal(kept(expert(0, 0), 64, 64), planned(expert(0, 0, "down_proj"), kPacked)),
              HasSubstr("experts.0.up_proj is kept"));
  EXPECT_EQ(refusal(planned(expert(0, 0), kPacked), kept(expert(1, 0), 64, 64)), "");
  EXPECT_EQ(refusal(planned(expert(0, 0), kPacked),
                    planned("model.layers.0.mlp.shared_experts.up_proj", kWide)),
            "");
}

TEST(CompressedTensorsExperts, ThatAReaderDoesNotComputeAsMeasuredAreSaid) {
  const auto said = [](const std::vector<LinearSummary>& linears) {
    const Checked checked = check(linears);
    EXPECT_TRUE(checked.status.ok()) << checked.status;
    return absl::StrJoin(checked.remarks, "\n");
  };
  EXPECT_EQ(said({planned(expert(0, 0), kPacked), planned("model.layers.0.o_proj", kWide)}), "");
  EXPECT_THAT(said({planned(expert(0, 0), R"({"bits": 4, "group": 32, "symmetric": false})")}),
              AllOf(HasSubstr("transformers 5.23 does not load them"), Not(HasSubstr("vLLM"))));
  EXPECT_THAT(said({planned(expert(0, 0), kWide, "{}")}),
              AllOf(HasSubstr("transformers 5.23 does not load them"), Not(HasSubstr("vLLM"))));
  EXPECT_THAT(said({planned(expert(0, 0), kWide, R"({"granularity": "tensor"})")}),
              AllOf(HasSubstr("vLLM 0.33 refuses them"), HasSubstr("no reader that is known")));
  EXPECT_THAT(said({planned(expert(0, 0), kFp8)}),
              AllOf(HasSubstr("vLLM 0.33 refuses them"), Not(HasSubstr("transformers"))));
  EXPECT_THAT(said({planned(expert(0, 0), kFp8, R"({"format": "fp8-e4m3"})")}),
              AllOf(HasSubstr("leaves their activations in floats"), Not(HasSubstr("vLLM"))));
  for (const char* scheme : {R"({"format": "nvfp4"})", R"({"format": "mxfp4"})"})
    EXPECT_THAT(said({planned(expert(0, 0), scheme)}),
                AllOf(HasSubstr("computes garbage without an error"), Not(HasSubstr("vLLM"))));
  EXPECT_THAT(said({planned(expert(0, 0), R"({"format": "mxfp8"})")}),
              HasSubstr("transformers 5.23 does not load them"));
  EXPECT_THAT(said({planned(expert(0, 0), kPacked), planned(expert(1, 0), kWide)}),
              HasSubstr("computes garbage without an error"));
  EXPECT_THAT(said({planned(expert(0, 0), kPacked), kept(expert(1, 0), 64, 64)}),
              HasSubstr("transformers 5.23 does not load them, vLLM 0.33 does"));
}

std::vector<std::string> targets(const Export& run, int index) {
  const Value& groups = run.config()["quantization_config"]["config_groups"];
  std::vector<std::string> result;
  for (const Value& item : *groups["group_" + std::to_string(index)]["targets"].list())
    result.push_back(*item.text());
  return result;
}

// transformers takes the first group with "experts" in an expression for the experts.
TEST(CompressedTensorsExperts, HaveTheFirstGroup) {
  Export run("compressed-tensors", kParams);
  for (const int layer : {0, 1}) {
    for (const char* name : {"self_attn.o_proj", "mlp.shared_experts.up_proj"})
      run.add(quantized(absl::StrCat("model.layers.", layer, ".", name), 8, 32, scheme(kWide)));
    for (const int index : {0, 1}) run.add(quantized(expert(layer, index), 8, 32, scheme(kPacked)));
  }
  run.finish();
  EXPECT_THAT(targets(run, 0),
              ElementsAre(R"(re:model\.layers\.\d+\.mlp\.experts\.\d+\.up_proj$)"));
  EXPECT_EQ(must(run.decode(expert(1, 1))).codec()->code_bits(), 4);
  EXPECT_EQ(must(run.decode("model.layers.1.mlp.shared_experts.up_proj")).codec()->code_bits(), 8);
}

TEST(CompressedTensorsExperts, ThatAreAllKeptAreNamedAsFp8ForTransformers) {
  Export run("compressed-tensors", kParams);
  run.add(quantized("model.layers.0.self_attn.o_proj", 8, 32, scheme(kPacked)));
  run.keep(expert(0, 0), at::randn({8, 32}));
  run.finish();
  EXPECT_THAT(targets(run, 0), ElementsAre(R"(re:.*\.experts\.\d+\..*)"));
  EXPECT_EQ(run.config()["quantization_config"]["format"], Value("mixed-precision"));
  EXPECT_EQ(run.decode(expert(0, 0)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(must(run.decode("model.layers.0.self_attn.o_proj")).codec()->code_bits(), 4);
}

}  // namespace
}  // namespace swage
