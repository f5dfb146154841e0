// Checkpoints of bitsandbytes: names, types and bytes as its readers expect them.
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "one_linear.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char kBnb[] = "bitsandbytes";
const std::string kInt8 = R"({"bits": 8, "granularity": "channel", "scale_dtype": "bf16"})";
const std::vector<std::string> kFours = {
    R"({"format": "nf4"})", R"({"format": "nf4", "double_quant": true, "decoded": "fp16"})",
    R"({"format": "bnb-fp4", "decoded": "fp32"})",
    R"({"format": "bnb-fp4", "double_quant": true})"};

Result make(const std::string& json, int64_t out = 46, int64_t in = 192) {
  return quantized(kOneLinear, out, in, scheme(json));
}

const Value& block(OneLinear& one) { return one.run().config()["quantization_config"]; }

// 46 x 3 blocks are less than 256, 100 x 3 more: a second piece of double-quantized scales.
TEST(BitsAndBytes, FilesDecodeToWhatWasEncoded) {
  for (const std::string& json : kFours) {
    for (const int64_t out : {1, 46, 100}) {
      SCOPED_TRACE(json);
      const Result linear = make(json, out);
      OneLinear one(kBnb, linear);
      EXPECT_EQ(digest(one.back()), digest(linear));
      EXPECT_EQ(one.back().codec()->form(), linear.codec()->form());
    }
  }
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    const Result linear =
        quantized(kOneLinear, 37, 45, scheme(R"({"bits": 8, "granularity": "channel"})"), type);
    OneLinear one(kBnb, linear);
    EXPECT_EQ(digest(one.back()), digest(linear));
    EXPECT_EQ(one.back().codec()->form(), linear.codec()->form());
    EXPECT_EQ(one.back().part("scales").scalar_type(), type);
  }
}

TEST(BitsAndBytes, HaveTheNamesTypesAndShapesOfTheFormat) {
  EXPECT_THAT(
      OneLinear(kBnb, make(kFours[0])).written(),
      ElementsAre("weight Byte [4416, 1]", "weight.absmax Float [138]",
                  "weight.quant_map Float [16]", "weight.quant_state.bitsandbytes__nf4 Byte [71]"));
  EXPECT_THAT(OneLinear(kBnb, make(kFours[3], 100)).written(),
              ElementsAre("weight Byte [9600, 1]", "weight.absmax Byte [300]",
                          "weight.nested_absmax Float [2]", "weight.nested_quant_map Float [256]",
                          "weight.quant_map Float [16]", testing::HasSubstr("__fp4 Byte")));
  EXPECT_THAT(OneLinear(kBnb, make(kInt8)).written(),
              ElementsAre("SCB Float [46]", "weight Char [46, 192]", "weight_format Byte []"));
}

TEST(BitsAndBytes, SayHowTheyAreStoredInConfigAndState) {
  OneLinear nested(kBnb, make(kFours[1]));
  const at::Tensor bytes = nested.read("weight.quant_state.bitsandbytes__nf4");
  const std::string text(reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>()),
                         static_cast<size_t>(bytes.numel()));
  EXPECT_THAT(text, HasSubstr(R"({"blocksize":64,"dtype":"float16","nested_blocksize":256,)"
                              R"("nested_dtype":"float32","nested_offset":)"));
  EXPECT_THAT(text, HasSubstr(R"("quant_type":"nf4","shape":[46,192]})"));
  EXPECT_EQ(to_json(block(nested), -1),
            R"({"bnb_4bit_compute_dtype":"float16","bnb_4bit_quant_storage":"uint8",)"
            R"("bnb_4bit_quant_type":"nf4","bnb_4bit_use_double_quant":true,)"
            R"("llm_int8_enable_fp32_cpu_offload":false,"llm_int8_has_fp16_weight":false,)"
            R"("llm_int8_skip_modules":["lm_head"],"llm_int8_threshold":6.0,"load_in_4bit":true,)"
            R"("load_in_8bit":false,"quant_method":"bitsandbytes"})");
  Export run(kBnb, kShards);
  run.add(make(kInt8));
  run.keep("model.layers.0.mlp.down_proj", at::ones({4, 4}));
  run.add_parameter("language_model.lm_head.weight", at::ones({4, 4}));
  run.finish();
  EXPECT_EQ(to_json(run.config()["quantization_config"]["llm_int8_skip_modules"], -1),
            R"(["model.layers.0.mlp.down_proj","language_model.lm_head","lm_head"])");
}

TEST(BitsAndBytes, TheFirstOfTwoCodesLiesInTheHighHalf) {
  Result linear = make(kFours[0]);
  linear.set_part("codes", at::tensor({7, 15}).to(at::kByte).repeat({46, 96}));
  OneLinear one(kBnb, linear);
  EXPECT_TRUE(one.read("weight").eq(0x7F).all().item<bool>());
  EXPECT_TRUE(at::equal(one.back().part("codes"), linear.part("codes")));
}

// The map of create_dynamic_map(), as bitsandbytes 0.50 prints it.
TEST(BitsAndBytes, BytesStandForItsDynamicMap) {
  OneLinear one(kBnb, make(kFours[1]));
  const at::Tensor map = one.read("weight.nested_quant_map");
  EXPECT_EQ(map[0].item<float>(), -0.99296874F);
  EXPECT_EQ(map[127].item<float>(), 0);
  EXPECT_FLOAT_EQ(map[128].item<float>(), 5.5e-7F);
  EXPECT_EQ(map[254].item<float>(), 0.99296874F);
  EXPECT_EQ(map[255].item<float>(), 1);
}

TEST(BitsAndBytes, ScalesOfInt8AreStoredTimes127) {
  Result linear = make(kInt8);
  linear.set_part("scales", at::full({46, 1}, 0.0123291015625, at::kBFloat16));
  OneLinear one(kBnb, linear);
  EXPECT_TRUE(one.read("SCB").eq(1.5657958984375).all().item<bool>());
  EXPECT_EQ(block(one)["scale_dtype"], Value("bfloat16"));
}

TEST(BitsAndBytes, InputsRoundedToEightBitsHaveNoThreshold) {
  Result linear = make(kInt8);
  linear.set_activation(activation(R"({"bits": 8})"));
  OneLinear one(kBnb, linear);
  EXPECT_EQ(block(one)["llm_int8_threshold"], Value(0.));
  EXPECT_EQ(digest(one.back()), digest(linear));
  const at::Tensor x = at::randn({3, 192});
  EXPECT_TRUE(at::equal(one.back().activation()->apply(x), linear.activation()->apply(x)));
  EXPECT_THAT(remarks(kBnb, {summary(linear)}), IsEmpty());
  EXPECT_THAT(remarks(kBnb, {summary(make(kInt8))}),
              ElementsAre(HasSubstr("rounds inputs of int8 linears to 8 bits as well")));
}

TEST(BitsAndBytes, RefusesWhatItsReadersDoNotCompute) {
  const auto why = [](const std::string& json) { return refusal(kBnb, make(json)); };
  EXPECT_THAT(why(R"({"bits": 4, "group": 64})"), HasSubstr("format = \"nf4\""));
  EXPECT_THAT(why(R"({"bits": 8, "group": 64})"), HasSubstr("granularity = \"channel\""));
  EXPECT_THAT(why(R"({"bits": 8, "granularity": "channel", "symmetric": false})"),
              HasSubstr("symmetric = true"));
  EXPECT_THAT(why(R"({"bits": 8, "granularity": "channel", "scale_dtype": "fp32"})"),
              HasSubstr("write scale_dtype = \"bf16\" or \"fp16\""));
  EXPECT_THAT(why(R"({"format": "mxfp4"})"), HasSubstr("it has no place for \"mxfp4\""));
  Result inputs = make(kFours[0]);
  inputs.set_activation(activation(R"({"bits": 8})"));
  EXPECT_THAT(refusal(kBnb, inputs), HasSubstr("leave inputs in floats"));
  Result fewer = make(kInt8);
  fewer.set_activation(activation(R"({"bits": 4})"));
  EXPECT_THAT(refusal(kBnb, fewer), HasSubstr("use activation = { bits = 8 }"));
  LinearSummary expert = summary(make(kFours[0]));
  expert.name = "model.layers.0.mlp.experts.3.up_proj";
  EXPECT_THAT(refusal(kBnb, std::vector<LinearSummary>{expert}), HasSubstr("keep = true"));
  LinearSummary other = summary(make(kFours[1]));
  other.name = "model.layers.1.mlp.up_proj";
  EXPECT_THAT(refusal(kBnb, {summary(make(kFours[0])), other}),
              HasSubstr("has one scheme for a checkpoint"));
  LinearSummary end = summary(make(kFours[0]));
  end.place = LinearPlace::kEmbedding;
  EXPECT_THAT(refusal(kBnb, std::vector<LinearSummary>{end}), HasSubstr("an embedding"));
}

TEST(BitsAndBytes, EveryChangedBitIsNoticed) {
  OneLinear nested(kBnb, make(kFours[1], 100)), plain(kBnb, make(kFours[0])),
      eight(kBnb, make(kInt8));
  for (const char* part : {"weight", "weight.absmax", "weight.nested_absmax", "weight.quant_map",
                           "weight.nested_quant_map", "weight.quant_state.bitsandbytes__nf4"})
    EXPECT_TRUE(nested.notices(part)) << part;
  for (const char* part : {"weight", "weight.absmax", "weight.quant_map"})
    EXPECT_TRUE(plain.notices(part)) << part;
  for (const char* part : {"weight", "SCB", "weight_format"})
    EXPECT_TRUE(eight.notices(part)) << part;
  // A changed dtype changes what the parts mean, a threshold what inputs become.
  const auto other = eight.configured(R"(,"scale_dtype":"bfloat16")", "");
  EXPECT_EQ(must(other).part("scales").scalar_type(), at::kFloat);
  EXPECT_TRUE(must(eight.configured(R"("llm_int8_threshold":6.0)", R"("llm_int8_threshold":0.0)"))
                  .activation()
                  .has_value());
}

at::Tensor text(const std::string& json) {
  return at::tensor(
             at::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(json.data()), json.size()))
      .to(at::kByte);
}

TEST(BitsAndBytes, ReadsBlocksOfOtherSizesAsFloats) {
  const Result linear = make(kFours[2], 4, 192);
  OneLinear one(kBnb, linear);
  TensorStore store = one.run().store();
  store.tensors[kOneLinear + ".weight.quant_state.bitsandbytes__fp4"] =
      text(R"({"quant_type": "fp4", "blocksize": 128, "dtype": "float32", "shape": [4, 192]})");
  store.tensors[kOneLinear + ".weight.absmax"] = at::full({6}, 2.);
  const Result back = must(one.run().exporter().decode(kOneLinear, store, one.run().config()));
  Result twice = linear;
  twice.set_part("scales", at::full({4, 3}, 2.));
  EXPECT_TRUE(at::equal(decode(back), decode(twice)));
  EXPECT_EQ(back.codec()->format(), "dense");
}

// bnb_4bit_quant_storage = "bfloat16", as FSDP needs it: the same bytes.
TEST(BitsAndBytes, ReadsBytesInTensorsOfOtherTypes) {
  const Result linear = make(kFours[0]);
  OneLinear one(kBnb, linear);
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat}) {
    const Result back = must(one.changed("weight", [&](const at::Tensor& t) {
      return t.contiguous().view({-1}).view(type).view({-1, 1});
    }));
    EXPECT_EQ(digest(back), digest(linear));
  }
}

TEST(BitsAndBytes, SaysWhatDoesNotHold) {
  OneLinear one(kBnb, make(kFours[0])), nested(kBnb, make(kFours[1])), eight(kBnb, make(kInt8));
  const std::string state = "weight.quant_state.bitsandbytes__nf4";
  const auto stated = [&](const std::string& json) {
    return one.message(state, [&](const at::Tensor&) { return text(json); });
  };
  const auto none = [](const at::Tensor&) { return at::Tensor(); };
  EXPECT_THAT(one.message(state, none), HasSubstr("__nf4 is missing"));
  EXPECT_THAT(one.message("weight.quant_map", none), HasSubstr("quant_map is missing"));
  EXPECT_THAT(one.message("weight", [](auto& t) { return t.narrow(0, 0, 9); }),
              HasSubstr("weight is [9, 1] of Byte, expected 4416 bytes"));
  EXPECT_THAT(one.message("weight.absmax", [](auto& t) { return t / 0; }),
              HasSubstr("scales is not finite"));
  EXPECT_THAT(stated("{"), HasSubstr("__nf4"));
  EXPECT_THAT(stated(R"({"quant_type": "af4"})"), HasSubstr("expected \"nf4\""));
  const std::string begin = R"({"quant_type": "nf4", "dtype": "bfloat16", )";
  EXPECT_THAT(stated(R"({"quant_type": "nf4", "dtype": "int8"})"), HasSubstr("dtype \"int8\""));
  EXPECT_THAT(stated(begin + R"("blocksize": 0, "shape": [46, 192]})"), HasSubstr("blocksize 0"));
  EXPECT_THAT(stated(begin + R"("blocksize": 64, "shape": [46]})"), HasSubstr("shape [46]"));
  EXPECT_THAT(stated(begin + R"("blocksize": 64, "shape": [1099511627776, 1099511627776]})"),
              HasSubstr("at most 2^40"));
  EXPECT_THAT(nested.message("weight.nested_absmax", [](auto& t) { return t.to(at::kHalf); }),
              HasSubstr("nested_absmax is Half, expected Float"));
  EXPECT_THAT(eight.message("weight_format", [](auto&) { return at::ones({}, at::kByte); }),
              HasSubstr("weight_format is 1, expected 0"));
  EXPECT_THAT(eight.message("SCB", none), HasSubstr("weight is Char, expected floats"));
}

}  // namespace
}  // namespace swage
