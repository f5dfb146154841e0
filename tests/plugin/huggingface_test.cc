#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;

const char kLinear[] = "model.layers.0.mlp.up_proj";

Value::Table params(const char* dtype) { return {{"dtype", dtype}, {"shard_size", 5000}}; }

Value source(const char* dtype_key) {
  return Value(Value::Table{{dtype_key, "bfloat16"},
                            {"quantization_config", Value::Table{{"quant_method", "gptq"}}}});
}

TEST(HuggingFace, StoresWhatTheResultDecodesTo) {
  for (const char* json :
       {R"({"bits": 4, "group": 32})", R"({"bits": 3, "symmetric": false, "group": 96})",
        R"({"format": "fp8-e5m2", "granularity": "channel"})",
        R"({"bits": 8, "granularity": "tensor"})"}) {
    for (const at::ScalarType scales : {at::kBFloat16, at::kHalf, at::kFloat}) {
      Result linear = quantized(kLinear, 16, 96, scheme(json), scales);
      linear.set_activation(activation("{}"));
      Export run("huggingface", params("checkpoint"));
      run.add(linear);
      run.finish(source("torch_dtype"));
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(run.exporter().stored_form(linear)));
      EXPECT_EQ(back.codec()->format(), "dense");
      EXPECT_EQ(back.part("weight").scalar_type(), scales);
      EXPECT_TRUE(at::equal(decode(back), decode(linear))) << "nothing is lost";
      EXPECT_EQ(run.config()["torch_dtype"], Value("bfloat16"));
      EXPECT_FALSE(run.config().has("quantization_config"));
    }
  }
}

TEST(HuggingFace, ConvertsEverythingToTheDtypeThatWasAskedFor) {
  Export run("huggingface", params("fp16"));
  const Result linear = quantized(kLinear, 16, 96, scheme(R"({"group": 32})"), at::kFloat);
  run.add(linear);
  run.add_parameter("model.norm.weight", at::randn({8}).to(at::kBFloat16));
  run.finish(source("dtype"));
  EXPECT_EQ(must(run.files().dtype("model.norm.weight")), at::kHalf);
  const Result back = must(run.decode(kLinear));
  EXPECT_TRUE(at::equal(back.part("weight"), decode(linear).to(at::kHalf)));
  EXPECT_EQ(digest(back), digest(run.exporter().stored_form(linear)));
  EXPECT_EQ(run.config()["dtype"], Value("float16"));
  EXPECT_FALSE(run.config().has("torch_dtype"));
}

TEST(HuggingFace, KeepsParametersAsTheyAre) {
  Export run("huggingface", params("checkpoint"));
  const at::Tensor norm = at::randn({8}).to(at::kBFloat16);
  run.add_parameter("model.norm.weight", norm);
  run.finish();
  EXPECT_TRUE(at::equal(must(run.files().read("model.norm.weight")), norm));
}

TEST(HuggingFace, WritesMasksAndSidePathsIntoTheWeight) {
  Result linear = quantized(kLinear, 4, 32, scheme(R"({"group": 32})"));
  linear.set_mask(at::randn({4, 32}) > 0);
  for (const auto input : {Side::Input::kQuantized, Side::Input::kRaw}) {
    linear.add_side({Side::Kind::kLowRank,
                     input,
                     {{"left", at::randn({4, 2}).to(at::kBFloat16)},
                      {"right", at::randn({2, 32}).to(at::kBFloat16)}},
                     nullptr,
                     nullptr});
  }
  Export run("huggingface", params("fp32"));
  run.add(linear);
  run.finish();
  EXPECT_TRUE(at::equal(must(run.decode(kLinear)).part("weight"), decode_whole(linear)));
}

TEST(HuggingFace, RefusesWhatItCannotSay) {
  const auto fp16 = must(loader().exporter("huggingface", Params(params("fp16"))));
  TensorStore store;
  Result linear = quantized(kLinear, 4, 32, scheme(R"({"group": 32})"));
  linear.part("scales").fill_(1e5);
  EXPECT_EQ(fp16->encode(linear, store).message(),
            "model.layers.0.mlp.up_proj.weight has values beyond the range of Half; use dtype = "
            "\"bf16\" or \"fp32\"");
  EXPECT_THAT(
      std::string(
          fp16->encode_parameter({"norm", at::ones({1}) * 1e6, at::kFloat}, store).message()),
      HasSubstr("norm has values beyond the range"));
  linear.set_online_transform("hadamard 64");
  EXPECT_THAT(std::string(fp16->encode(linear, store).message()),
              HasSubstr("up_proj: its input must pass hadamard 64 at run time"));
  EXPECT_TRUE(store.names().empty());
}

TEST(HuggingFace, RefusesFilesThatDoNotHold) {
  const auto exporter = must(loader().exporter("huggingface", Params(params("checkpoint"))));
  TensorStore store;
  const auto message = [&](const Value& config) {
    return std::string(exporter->decode(kLinear, store, config).status().message());
  };
  EXPECT_THAT(message(Value()), HasSubstr("up_proj.weight is missing"));
  EXPECT_THAT(message(source("dtype")), HasSubstr("has a quantization_config, expected floats"));
  store.tensors["model.layers.0.mlp.up_proj.weight"] = at::zeros({2, 2}, at::kInt);
  EXPECT_THAT(message(Value()), HasSubstr("is Int with 2 dimensions, expected a matrix of floats"));
}

}  // namespace
}  // namespace swage
