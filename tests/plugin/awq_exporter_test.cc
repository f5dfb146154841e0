#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "export_support.h"
#include "swage/store/awq_layout.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.up_proj";
const char kSymmetric[] = R"({"group": 32})";
const char kAsymmetric[] = R"({"group": 32, "symmetric": false})";

const Value& block(const Export& run) { return run.config()["quantization_config"]; }

int32_t word(const std::vector<int>& stored) {
  const at::Tensor codes = (at::tensor(stored) - 8).to(at::kChar).unsqueeze(1);
  return store::pack_awq(codes).item<int32_t>();
}

TEST(AwqExporter, PacksTheWordsOfTheFormat) {
  EXPECT_EQ(word({0, 1, 2, 3, 4, 5, 6, 7}), 1966171168);
  EXPECT_EQ(word({15, 14, 13, 12, 11, 10, 9, 8}), -1966171169);
  EXPECT_EQ(word({1, 2, 3, 4, 5, 6, 7, 8}), -2042464975);
  EXPECT_EQ(word({3, 14, 1, 5, 9, 2, 6, 15}), -228693741);
  const at::Tensor codes = at::arange(24 * 5).remainder(16).sub(8).to(at::kChar).view({24, 5});
  EXPECT_EQ(store::pack_awq(codes).sizes(), at::IntArrayRef({5, 3}));
  EXPECT_TRUE(at::equal(store::unpack_awq(store::pack_awq(codes)), codes));
}

TEST(AwqExporter, FilesDecodeToWhatWasEncoded) {
  for (const char* weight :
       {kSymmetric, kAsymmetric, R"({"group": 16})", R"({"group": 96, "symmetric": false})",
        R"({"granularity": "channel"})", R"({"granularity": "channel", "symmetric": false})",
        R"({"group": 32, "convention": "full-range"})"}) {
    for (const at::ScalarType scales : {at::kHalf, at::kBFloat16}) {
      SCOPED_TRACE(weight);
      const Result linear = quantized(kLinear, 40, 96, scheme(weight), scales);
      Export run("awq", kParams);
      run.add(linear);
      run.finish();
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(linear));
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
    }
  }
}

TEST(AwqExporter, WritesTheTensorsOfTheFormat) {
  Result linear = quantized(kLinear, 16, 64, scheme(kAsymmetric), at::kHalf);
  Export run("awq", kParams);
  run.add(linear);
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(),
              ElementsAre(name + ".qweight", name + ".qzeros", name + ".scales"));
  EXPECT_THAT(must(run.files().shape(name + ".qweight")), ElementsAre(64, 2));
  EXPECT_THAT(must(run.files().shape(name + ".qzeros")), ElementsAre(2, 2));
  EXPECT_THAT(must(run.files().shape(name + ".scales")), ElementsAre(2, 16));
  EXPECT_EQ(must(run.files().dtype(name + ".qweight")), at::kInt);
  EXPECT_EQ(must(run.files().dtype(name + ".scales")), at::kHalf);
  // Column 5 of the matrix is row 5 of the file; rows 8 to 15 are in its second word.
  const at::Tensor words = must(run.files().read(name + ".qweight"));
  const at::Tensor stored = linear.part("codes").select(1, 5).to(at::kInt) + 8;
  constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(words[5][1].item<int32_t>() >> (4 * i) & 15, stored[8 + kOrder[i]].item<int>());
  EXPECT_TRUE(at::equal(must(run.files().read(name + ".scales")), linear.part("scales").t()));
}

TEST(AwqExporter, SymmetricLinearsHaveZeroPointsOfEight) {
  Export run("awq", kParams);
  run.add(quantized(kLinear, 16, 64, scheme(kSymmetric), at::kHalf));
  run.finish();
  const at::Tensor zeros = must(run.files().read(std::string(kLinear) + ".qzeros"));
  EXPECT_TRUE(at::equal(zeros, at::full({2, 2}, static_cast<int32_t>(0x88888888u), at::kInt)));
  EXPECT_EQ(to_json(block(run), -1),
            R"({"bits":4,"group_size":32,"modules_to_not_convert":null,"quant_method":"awq",)"
            R"("symmetric":true,"version":"gemm","zero_point":true})");
}

TEST(AwqExporter, DescribesWhatStaysInFloats) {
  Export run("awq", kParams);
  run.add(quantized("model.layers.1.mlp.experts.0.gate_proj", 16, 64,
                    scheme(R"({"granularity": "channel", "symmetric": false})"), at::kBFloat16));
  run.keep("model.layers.0.mlp.up_proj", at::zeros({8, 8}));
  run.keep("model.layers.0.self_attn.q_proj", at::zeros({8, 8}));
  run.keep("model.visual.blocks.0.attn.qkv", at::zeros({8, 8}));
  run.keep("model.visual.blocks.1.attn.qkv", at::zeros({8, 8}));
  run.add_parameter("model.layers.1.mlp.gate.weight", at::zeros({4, 8}));
  run.add_parameter("lm_head.weight", at::zeros({4, 8}));
  run.add_parameter("model.embed_tokens.weight", at::zeros({4, 8}));
  run.finish(Value(Value::Table{{"model_type", "llama"}, {"torch_dtype", "bfloat16"}}));
  EXPECT_EQ(
      to_json(block(run), -1),
      R"({"bits":4,"group_size":-1,"modules_to_not_convert":["model.layers.0","model.visual",)"
      R"("visual","lm_head","model.layers.1.mlp.gate"],"quant_method":"awq",)"
      R"("scale_dtype":"bfloat16","version":"gemm","zero_point":true})");
  EXPECT_EQ(run.config()["torch_dtype"], Value("bfloat16"));
  EXPECT_EQ(run.text("tokenizer.json"), "{}");
  for (const char* left : {"model.layers.0.mlp.up_proj", "model.visual.blocks.1.attn.qkv"})
    EXPECT_EQ(run.decode(left).status().code(), absl::StatusCode::kNotFound) << left;
}

TEST(AwqExporter, ModelsWithScalesInHalfAreServedInHalf) {
  Export run("awq", kParams);
  run.add(quantized(kLinear, 16, 64, scheme(kSymmetric), at::kHalf));
  run.finish(Value(Value::Table{{"model_type", "llama"}, {"dtype", "bfloat16"}}));
  EXPECT_EQ(run.config()["dtype"], Value("float16"));
}

std::string refusal(const std::vector<LinearSummary>& planned) {
  Export run("awq", kParams);
  return std::string(run.exporter().check(planned).message());
}

LinearSummary planned(const std::string& weight, const std::string& name = kLinear,
                      at::ScalarType scales = at::kHalf) {
  LinearSummary linear = kept(name, 16, 64);
  linear.kept_by.clear();
  linear.weight = scheme(weight);
  linear.scale_dtype = scales;
  return linear;
}

TEST(AwqExporter, RefusesWhatTheLayoutCannotHold) {
  EXPECT_EQ(refusal({planned(R"({"bits": 8, "group": 32})")}),
            "model.layers.0.mlp.up_proj: AWQ cannot hold w8 g32 symmetric: it has codes of 4 bits "
            "alone; use bits = 4");
  EXPECT_THAT(refusal({planned(R"({"format": "nvfp4"})")}), HasSubstr("no place for \"nvfp4\""));
  EXPECT_THAT(refusal({planned(R"({"granularity": "tensor"})")}), HasSubstr("none for a tensor"));
  EXPECT_THAT(refusal({planned(R"({"group": 32, "symmetric": false, "zero": "float"})")}),
              HasSubstr("use zero = \"int\""));
  EXPECT_THAT(refusal({planned(R"({"group": 48, "group_tail": "short"})")}),
              HasSubstr("groups of 48 do not fill rows of 64"));
  LinearSummary odd = planned(kSymmetric);
  odd.out = 12;
  EXPECT_THAT(refusal({odd}), HasSubstr("eight rows share a word and the linear has 12"));
  EXPECT_THAT(refusal({planned(kSymmetric, kLinear, at::kFloat)}),
              HasSubstr("these are float32; write scale_dtype = \"fp16\""));
  EXPECT_EQ(refusal({planned(R"({"group": 32, "scale_dtype": "fp16"})", kLinear, at::kFloat)}), "");
  LinearSummary inputs = planned(kSymmetric);
  inputs.activation = scheme(R"({"format": "fp8-e4m3"})");
  EXPECT_THAT(refusal({inputs}), HasSubstr("its inputs stay in floats"));
  LinearSummary head = planned(kSymmetric, "lm_head");
  head.place = LinearPlace::kHead;
  EXPECT_THAT(refusal({head}), HasSubstr("its readers take a head in floats alone"));
}

TEST(AwqExporter, RefusesTwoSchemes) {
  const std::string other = "model.layers.1.mlp.up_proj";
  EXPECT_EQ(refusal({planned(kSymmetric), planned(kSymmetric, other)}), "");
  for (const LinearSummary& second :
       {planned(kAsymmetric, other), planned(R"({"group": 16})", other),
        planned(kSymmetric, other, at::kBFloat16)})
    EXPECT_THAT(refusal({planned(kSymmetric), second}),
                HasSubstr("AWQ has one scheme for all linears"));
  EXPECT_THAT(
      refusal({planned(kSymmetric, "layers.0.mlp.gate_up"), kept("layers.0.mlp.gate", 8, 8)}),
      HasSubstr("layers.0.mlp.gate stays in floats, and its name is part of"));
}

TEST(AwqExporter, ScalesBeyondHalfAreAnError) {
  Result linear = quantized(kLinear, 16, 64, scheme(kSymmetric), at::kBFloat16);
  linear.set_part("scales", at::full({16, 2}, 3.0e38, at::kBFloat16));
  Export run("awq", kParams);
  EXPECT_THAT(std::string(run.exporter().encode(linear, run.store()).message()),
              HasSubstr("is no number of float16; write scale_dtype = \"fp16\""));
}

class AwqDamage : public testing::Test {
 protected:
  using Damage = std::function<void(TensorStore&, Value::Table&)>;
  // What decode() makes of damaged files: the message, or whether the result is another.
  std::string outcome(const char* weight, const Damage& damage) {
    Export run("awq", kParams);
    const Result linear = quantized(kLinear, 16, 64, scheme(weight), at::kHalf);
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
                     const char* weight = kAsymmetric) {
    return outcome(weight, [&](TensorStore& store, Value::Table&) {
      at::Tensor& tensor = store.tensors.at(std::string(kLinear) + part);
      tensor = change(tensor);
      if (!tensor.defined()) store.tensors.erase(std::string(kLinear) + part);
    });
  }
  std::string config(const char* key, const Value& value, const char* weight = kAsymmetric) {
    return outcome(weight, [&](TensorStore&, Value::Table& block) { block[key] = value; });
  }
};

TEST_F(AwqDamage, IsNoticed) {
  for (const char* weight : {kSymmetric, kAsymmetric}) {
    for (const char* part : {".qweight", ".qzeros", ".scales"}) {
      EXPECT_EQ(tensor(
                    part,
                    [](const at::Tensor& t) {
                      const at::Tensor changed = t.clone();
                      static_cast<uint8_t*>(changed.mutable_data_ptr())[0] ^= 1;
                      return changed;
                    },
                    weight),
                "another")
          << part << weight;
      EXPECT_THAT(tensor(
                      part, [](auto&) { return at::Tensor(); }, weight),
                  HasSubstr("is missing"));
      EXPECT_THAT(tensor(
                      part, [](auto& t) { return t.narrow(1, 0, 1); }, weight),
                  HasSubstr(", expected "));
      EXPECT_THAT(tensor(
                      part, [](auto& t) { return t.to(at::kLong); }, weight),
                  HasSubstr("is Long, expected "));
    }
  }
  EXPECT_THAT(tensor(".qweight", [](auto& t) { return t.flatten(); }),
              HasSubstr("expected a shape of 2 sizes"));
  EXPECT_THAT(tensor(".qweight", [](auto& t) { return t.narrow(0, 0, 40); }),
              HasSubstr("is 40 columns of input, expected a multiple of the group size 32"));
  EXPECT_THAT(tensor(".scales", [](auto& t) { return t / 0; }), HasSubstr("is not finite"));
  EXPECT_THAT(outcome(kAsymmetric,
                      [](TensorStore& store, Value::Table&) {
                        store.tensors[std::string(kLinear) + ".g_idx"] = at::zeros({64});
                      }),
              HasSubstr("g_idx is there, expected none"));
}

TEST_F(AwqDamage, IsReportedByKeyOfTheConfig) {
  EXPECT_EQ(config("bits", 3), "config.json: quantization_config.bits is 3, expected 4");
  EXPECT_THAT(config("group_size", 0), HasSubstr("group_size is 0, expected the columns"));
  EXPECT_THAT(config("group_size", "32"), HasSubstr("group_size is \"32\""));
  EXPECT_THAT(config("group_size", int64_t{1} << 62), HasSubstr("expected the columns"));
  EXPECT_THAT(config("group_size", 16), HasSubstr("qzeros is [2, 2], expected [4, 2]"));
  for (const char* version : {"gemv", "gemv_fast", "marlin", "exllama"})
    EXPECT_THAT(config("version", version),
                HasSubstr(absl::StrCat("version is \"", version, "\", expected \"gemm\"")));
  EXPECT_THAT(config("zero_point", 1), HasSubstr("zero_point is 1, expected true or false"));
  EXPECT_THAT(config("symmetric", "yes"), HasSubstr("symmetric is \"yes\""));
  EXPECT_THAT(config("scale_dtype", "int4"), HasSubstr("scale_dtype is \"int4\""));
  EXPECT_EQ(config("scale_dtype", "float32"), "another");
  EXPECT_THAT(config("scale_dtype", "bfloat16"),
              HasSubstr("scales is of other values, expected bfloat16s"));
  EXPECT_THAT(config("modules_to_not_convert", "mlp"), HasSubstr("expected a list of names"));
  EXPECT_THAT(config("modules_to_not_convert", Value::List{Value("")}),
              HasSubstr("expected a name"));
  EXPECT_THAT(config("modules_to_not_convert", Value::List{Value("mlp")}),
              HasSubstr("weight is missing, expected floats: quantization_config.modules_to_not"));
  EXPECT_THAT(config("quant_method", "gptq"), HasSubstr("quant_method is \"gptq\""));
  EXPECT_EQ(config("symmetric", Value(), kSymmetric), "another") << "as a matrix with zero points";
}

// What AutoAWQ and auto-round write: other spellings, nothing of ours.
TEST_F(AwqDamage, ForeignSpellingsAreRead) {
  EXPECT_EQ(config("version", "GEMM"), "the same");
  EXPECT_EQ(config("version", Value()), "the same");
  EXPECT_EQ(config("zero_point", false), "the same") << "zero points in the file count";
  EXPECT_EQ(outcome(kSymmetric,
                    [](TensorStore&, Value::Table& block) {
                      block.erase("symmetric");
                      block["zero_point"] = false;
                    }),
            "the same");
  EXPECT_EQ(outcome(kAsymmetric,
                    [](TensorStore&, Value::Table& block) {
                      block.erase("bits");
                      block.erase("group_size");
                      block["w_bit"] = 4;
                      block["q_group_size"] = 32;
                    }),
            "the same");
}

}  // namespace
}  // namespace swage
