#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.up_proj";
const char kInt8[] = R"({"bits": 8, "granularity": "channel"})";
const char kFp8[] = R"({"format": "fp8-e4m3", "granularity": "channel"})";

const char* input_of(const std::string& weight) {
  return weight == kInt8 ? "{}" : R"({"format": "fp8-e4m3"})";
}

Result make(const char* weight, at::ScalarType scales = at::kFloat,
            const std::string& name = kLinear) {
  Result linear = quantized(name, 13, 24, scheme(weight), scales);
  linear.set_activation(activation(input_of(weight)));
  return linear;
}

TEST(LmDeployExporter, FilesDecodeToWhatWasEncoded) {
  for (const char* weight : {kInt8, kFp8}) {
    for (const at::ScalarType scales : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const Result linear = make(weight, scales);
      Export run("lmdeploy", kParams);
      run.add(linear);
      run.finish();
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(linear)) << weight;
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
      EXPECT_EQ(back.activation()->codec->form(), linear.activation()->codec->form());
    }
  }
}

TEST(LmDeployExporter, WritesTheTensorsOfTheFormat) {
  for (const char* weight : {kInt8, kFp8}) {
    const Result linear = make(weight, at::kBFloat16);
    Export run("lmdeploy", kParams);
    run.add(linear);
    run.keep("model.layers.0.mlp.down_proj", at::zeros({8, 8}));
    run.add_parameter("model.layers.0.mlp.gate.weight", at::zeros({4, 8}));
    run.finish();
    const std::string name = kLinear;
    const at::Tensor scale = must(run.files().read(name + ".scale"));
    EXPECT_EQ(scale.scalar_type(), at::kFloat);
    EXPECT_THAT(scale.sizes().vec(), ElementsAre(13, 1));
    EXPECT_TRUE(at::equal(scale, linear.part("scales").to(at::kFloat)));
    const at::Tensor codes = must(run.files().read(name + ".weight"));
    EXPECT_EQ(codes.scalar_type(), linear.part("codes").scalar_type());
    EXPECT_TRUE(at::equal(codes.view(at::kByte), linear.part("codes").view(at::kByte)));
    EXPECT_EQ(to_json(run.config()["quantization_config"], -1),
              absl::StrCat(R"({"modules_to_not_convert":["model.layers.0.mlp.down_proj",)"
                           R"("model.layers.0.mlp.gate","lm_head"],"quant_dtype":")",
                           weight == kInt8 ? "int8" : "float8_e4m3fn",
                           R"(","quant_method":"smooth_quant","scale_dtype":"bfloat16"})"));
    EXPECT_EQ(run.decode("model.layers.0.mlp.down_proj").status().code(),
              absl::StatusCode::kNotFound);
  }
}

std::string refusal(const std::string& weight, const std::string& input) {
  LinearSummary linear = kept(kLinear, 16, 64);
  linear.kept_by.clear();
  linear.weight = scheme(weight);
  if (!input.empty()) linear.activation = activation(input).codec;
  Export run("lmdeploy", kParams);
  return std::string(run.exporter().check({linear}).message());
}

TEST(LmDeployExporter, RefusesWhatTheEngineDoesNotCompute) {
  EXPECT_EQ(refusal(kInt8, "{}"), "");
  EXPECT_EQ(
      refusal(kInt8, ""),
      "model.layers.0.mlp.up_proj: LMDeploy's smooth_quant cannot hold w8 per channel symmetric: "
      "it quantizes inputs as a8 per token; write activation = { bits = 8 }");
  for (const char* input :
       {R"({"bits": 4})", R"({"symmetric": false})",
        R"({"granularity": "tensor", "dynamic": false})", R"({"format": "fp8-e4m3"})"})
    EXPECT_THAT(refusal(kInt8, input), HasSubstr("write activation = { bits = 8 }")) << input;
  EXPECT_THAT(refusal(kFp8, "{}"), HasSubstr("activation = { format = \"fp8-e4m3\" }"));
  for (const char* weight :
       {R"({"bits": 4, "granularity": "channel"})", R"({"bits": 8, "group": 32})",
        R"({"bits": 8, "granularity": "channel", "symmetric": false})",
        R"({"bits": 8, "granularity": "tensor"})",
        R"({"format": "fp8-e4m3", "granularity": "tensor"})", R"({"format": "fp8-e5m2"})"})
    EXPECT_THAT(refusal(weight, "{}"), HasSubstr("it has one scale a row")) << weight;
}

TEST(LmDeployExporter, ComparesLinears) {
  const std::string other = "model.layers.1.mlp.up_proj";
  Export run("lmdeploy", kParams);
  EXPECT_THAT(std::string(run.exporter()
                              .check({summary(make(kInt8)), summary(make(kFp8, at::kFloat, other))})
                              .message()),
              HasSubstr("LMDeploy has one scheme for all linears"));
  const RemarkLog quiet;
  EXPECT_TRUE(run.exporter()
                  .check({summary(make(kInt8)), kept("model.visual.blocks.0.attn.qkv", 8, 8)})
                  .ok());
  EXPECT_THAT(quiet.texts(), IsEmpty());
  const RemarkLog log;
  EXPECT_TRUE(run.exporter().check({summary(make(kInt8)), kept(other, 8, 8)}).ok());
  EXPECT_THAT(log.texts(), ElementsAre(HasSubstr(other + " stays in floats: LMDeploy's norms")));
}

class LmDeployDamage : public testing::Test {
 protected:
  using Damage = std::function<void(TensorStore&, Value::Table&)>;
  std::string outcome(const Damage& damage, const char* weight = kInt8) {
    Export run("lmdeploy", kParams);
    const Result linear = make(weight);
    run.add(linear);
    run.finish();
    Value::Table config = *run.config().table();
    damage(run.store(), *config.at("quantization_config").table());
    const auto result = run.exporter().decode(kLinear, run.store(), Value(config));
    if (!result.ok()) return std::string(result.status().message());
    return digest(*result) == digest(linear) ? "the same" : "another";
  }
  std::string tensor(const std::string& part,
                     const std::function<at::Tensor(const at::Tensor&)>& change,
                     const char* weight = kInt8) {
    return outcome(
        [&](TensorStore& store, Value::Table&) {
          at::Tensor& tensor = store.tensors.at(std::string(kLinear) + part);
          tensor = change(tensor);
          if (!tensor.defined()) store.tensors.erase(std::string(kLinear) + part);
        },
        weight);
  }
  std::string config(const char* key, const Value& value) {
    return outcome([&](TensorStore&, Value::Table& block) { block[key] = value; });
  }
};

TEST_F(LmDeployDamage, IsNoticed) {
  for (const char* weight : {kInt8, kFp8}) {
    for (const char* part : {".weight", ".scale"}) {
      EXPECT_NE(tensor(
                    part,
                    [](const at::Tensor& t) {
                      const at::Tensor changed = t.clone();
                      static_cast<uint8_t*>(changed.mutable_data_ptr())[0] ^= 1;
                      return changed;
                    },
                    weight),
                "the same");
      EXPECT_THAT(tensor(
                      part, [](auto& t) { return t.to(at::kLong); }, weight),
                  HasSubstr("is Long, expected "));
    }
  }
  EXPECT_THAT(tensor(".weight", [](auto&) { return at::Tensor(); }), HasSubstr("is missing"));
  EXPECT_THAT(tensor(".scale", [](auto&) { return at::Tensor(); }),
              HasSubstr("weight is Char, expected floats: model.layers.0.mlp.up_proj.scale is"));
  EXPECT_THAT(tensor(".scale", [](auto& t) { return t.flatten(); }),
              HasSubstr("scale is [13], expected [13, 1]"));
  EXPECT_THAT(tensor(".weight", [](auto& t) { return t.flatten(); }), HasSubstr("2 sizes"));
  EXPECT_THAT(tensor(".scale", [](auto& t) { return t / 0; }), HasSubstr("is not finite"));
}

TEST_F(LmDeployDamage, IsReportedByKeyOfTheConfig) {
  EXPECT_EQ(config("quant_dtype", "float8_e5m2"),
            "config.json: quantization_config.quant_dtype is \"float8_e5m2\", expected \"int8\" or "
            "\"float8_e4m3fn\"");
  EXPECT_THAT(config("quant_dtype", "float8_e4m3fn"), HasSubstr("weight is Char, expected Float8"));
  EXPECT_EQ(config("quant_dtype", Value()), "the same") << "older files have no such key";
  EXPECT_THAT(config("quant_method", "awq"), HasSubstr("quant_method is \"awq\""));
  EXPECT_THAT(config("scale_dtype", 16), HasSubstr("scale_dtype is 16"));
  EXPECT_THAT(config("scale_dtype", "float16"), HasSubstr("is no number of float16"));
  EXPECT_THAT(config("modules_to_not_convert", "x"), HasSubstr("expected a list of names"));
  EXPECT_THAT(config("modules_to_not_convert", Value::List{Value(1)}),
              HasSubstr("expected a name"));
  EXPECT_THAT(config("modules_to_not_convert", Value::List{Value(kLinear)}),
              HasSubstr("weight is Char, expected floats: quantization_config.modules_to_not_con"));
}

}  // namespace
}  // namespace swage
