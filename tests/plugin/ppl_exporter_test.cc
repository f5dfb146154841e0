#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
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

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.up_proj";
const char kQuery[] = "model.layers.0.self_attn.q_proj";

Value model_config(const char* more = "") {
  return must(parse_json(
      absl::StrCat(R"({"model_type":"llama","hidden_size":64,"num_attention_heads":4,)"
                   R"("num_key_value_heads":2,"num_hidden_layers":1,"rms_norm_eps":1e-5,)"
                   R"("vocab_size":24,"intermediate_size":96,"max_position_embeddings":512,)"
                   R"("rope_theta":5000.0)",
                   more, "}"),
      "test"));
}

TEST(PplExporter, FilesDecodeToWhatWasEncoded) {
  for (const char* bits : {"4", "8"}) {
    for (const char* rest :
         {R"("group": 32)", R"("group": 32, "symmetric": false)", R"("granularity": "channel")",
          R"("granularity": "channel", "symmetric": false)"}) {
      for (const at::ScalarType scales : {at::kHalf, at::kBFloat16, at::kFloat}) {
        for (const auto& [name, rows] : {std::pair(kLinear, 36), std::pair(kQuery, 48)}) {
          SCOPED_TRACE(absl::StrCat(name, " ", bits, " ", rest));
          const Result linear = quantized(
              name, rows, 64, scheme(absl::StrCat(R"({"bits": )", bits, ", ", rest, "}")), scales);
          Export run("ppl", kParams);
          run.add(linear);
          run.finish(model_config());
          const Result back = must(run.decode(name));
          EXPECT_EQ(digest(back), digest(linear));
          EXPECT_TRUE(at::equal(decode(back), decode(linear)));
        }
      }
    }
  }
}

Result counted(const char* name, int64_t rows, const at::Tensor& stored) {
  Result linear =
      quantized(name, rows, 64, scheme(R"({"group": 64, "symmetric": false})"), at::kHalf);
  linear.set_part("codes", stored.remainder(16).sub(8).to(at::kChar).unsqueeze(1).repeat({1, 64}));
  linear.set_part("zeros", at::full({rows, 1}, -5, at::kChar));
  return linear;
}

TEST(PplExporter, PacksFourRowsToAWord) {
  Export run("ppl", kParams);
  run.add(counted(kLinear, 12, at::arange(12)));
  run.finish(model_config());
  const at::Tensor words = must(run.files().read(std::string(kLinear) + ".qweight"));
  EXPECT_EQ(words.scalar_type(), at::kShort);
  EXPECT_THAT(words.sizes().vec(), ElementsAre(3, 64));
  EXPECT_EQ(words[0][5].item<int>(), 0x3210);
  EXPECT_EQ(words[1][63].item<int>(), 0x7654);
  EXPECT_EQ(words[2][0].item<int>(), -17768);
  const at::Tensor zeros = must(run.files().read(std::string(kLinear) + ".zeropoint"));
  EXPECT_TRUE(at::equal(zeros, at::full({12, 1}, 3, at::kChar)));
  EXPECT_EQ(to_json(run.config()["quantization_config"], -1),
            R"({"group_size":64,"has_zeropoint":true,"quant_axis":1,"quant_data_type":"int4",)"
            R"("quant_method":"ppl","scale_dtype":"float16"})");
}

// Heads of 16 rows: the file has rows 0, 8, 1, 9 … of each.
TEST(PplExporter, InterleavesRowsOfQueryAndKey) {
  Export run("ppl", kParams);
  const at::Tensor rows = at::arange(32);
  run.add(counted(kQuery, 32, rows));
  Result key = quantized("model.layers.0.self_attn.k_proj", 32, 64,
                         scheme(R"({"group": 64, "symmetric": false})"), at::kHalf);
  run.add(key);
  Result value = quantized("model.layers.0.self_attn.v_proj", 32, 64,
                           scheme(R"({"group": 64, "symmetric": false})"), at::kHalf);
  run.add(value);
  run.finish(model_config());
  const at::Tensor words = must(run.files().read(std::string(kQuery) + ".qweight"));
  EXPECT_EQ(words[0][0].item<int>() & 0xFFFF, 0x9180);
  EXPECT_EQ(words[1][0].item<int>() & 0xFFFF, 0xB3A2);
  EXPECT_EQ(words[4][0].item<int>() & 0xFFFF, 0x9180) << "the second head";
  const at::Tensor scale = must(run.files().read("model.layers.0.self_attn.k_proj.scale"));
  EXPECT_TRUE(at::equal(scale[1], key.part("scales")[8]));
  EXPECT_TRUE(at::equal(scale[2], key.part("scales")[1]));
  EXPECT_TRUE(at::equal(must(run.files().read("model.layers.0.self_attn.v_proj.scale")),
                        value.part("scales")));
}

TEST(PplExporter, DescribesTheModelForPmx) {
  Export run("ppl", kParams);
  run.add(quantized(kLinear, 16, 64, scheme(R"({"group": 32})"), at::kHalf));
  run.add_parameter("model.layers.0.input_layernorm.weight", at::ones({64}, at::kBFloat16));
  run.add_parameter("model.norm.weight", at::ones({64}, at::kBFloat16));
  run.add_parameter("model.embed_tokens.weight", at::ones({24, 64}, at::kBFloat16));
  run.finish(model_config());
  EXPECT_EQ(to_json(must(parse_json(run.text("opmx_params.json"), "test")), -1),
            R"({"head_dim":16,"hidden_dim":64,"intermediate_dim":96,)"
            R"("max_position_embeddings":512,"norm_eps":1e-05,"num_heads":4,"num_kv_heads":2,)"
            R"("num_layers":1,"rope_theta":5000.0,"vocab_size":24})");
  EXPECT_EQ(to_json(must(parse_json(run.text("opmx_names.json"), "test")), -1),
            R"({"layers.0.attention_norm.weight":"model.layers.0.input_layernorm.weight",)"
            R"("layers.0.feed_forward.w3.qweight":"model.layers.0.mlp.up_proj.qweight",)"
            R"("layers.0.feed_forward.w3.scale":"model.layers.0.mlp.up_proj.scale",)"
            R"("norm.weight":"model.norm.weight","output.weight":"model.embed_tokens.weight",)"
            R"("tok_embeddings.weight":"model.embed_tokens.weight"})");
  EXPECT_EQ(must(run.files().dtype("model.norm.weight")), at::kHalf);
}

LinearSummary planned(const std::string& weight, const std::string& name = kLinear) {
  LinearSummary linear = kept(name, 16, 64);
  linear.kept_by.clear();
  linear.weight = scheme(weight);
  linear.scale_dtype = at::kHalf;
  return linear;
}

std::string refusal(const std::vector<LinearSummary>& linears) {
  Export run("ppl", kParams);
  return std::string(run.exporter().check(linears).message());
}

TEST(PplExporter, RefusesWhatPmxCannotHold) {
  const char* const weight = R"({"group": 32})";
  const RemarkLog log;
  EXPECT_EQ(refusal({planned(weight)}), "");
  EXPECT_THAT(log.texts(), ElementsAre(HasSubstr("its server quantizes fp16 models itself")));
  EXPECT_THAT(refusal({planned(R"({"bits": 3, "group": 32})")}), HasSubstr("4 or 8 bits"));
  EXPECT_THAT(refusal({planned(R"({"group": 48, "group_tail": "short"})")}),
              HasSubstr("groups of 48 do not fill rows of 64"));
  EXPECT_THAT(refusal({planned(R"({"group": 32, "symmetric": false, "zero": "float"})")}),
              HasSubstr("use zero = \"int\""));
  EXPECT_THAT(refusal({planned(weight, "model.layers.0.mlp.experts.0.up_proj")}),
              HasSubstr("the exporter knows pmx's llama"));
  LinearSummary odd = planned(weight);
  odd.out = 18;
  EXPECT_THAT(refusal({odd}), HasSubstr("four rows share a word and the linear has 18"));
  LinearSummary inputs = planned(weight);
  inputs.activation = scheme(R"({"format": "fp8-e4m3"})");
  EXPECT_THAT(refusal({inputs}), HasSubstr("its inputs stay in floats"));
  EXPECT_THAT(refusal({planned(weight), kept(kQuery, 16, 64)}),
              HasSubstr("q_proj is kept: the rows of query and key change their order"));
  EXPECT_THAT(refusal({planned(weight), planned(R"({"group": 64})", kQuery)}),
              HasSubstr("have different schemes"));
  const auto finish = [&](const Value& config, int64_t rows, const char* parameter = nullptr) {
    Export run("ppl", kParams);
    run.add(quantized(kQuery, rows, 64, scheme(weight), at::kHalf));
    if (parameter != nullptr) run.add_parameter(parameter, at::ones({16}, at::kHalf));
    run.finish(config);
  };
  using testing::ThrowsMessage;
  EXPECT_THAT([&] { finish(model_config(), 24); },
              ThrowsMessage<std::runtime_error>(HasSubstr("24 rows, expected a multiple of")));
  EXPECT_THAT([&] { finish(model_config(R"(,"head_dim":7)"), 28); },
              ThrowsMessage<std::runtime_error>(HasSubstr("is 7, expected an even number")));
  EXPECT_THAT(
      [&] {
        finish(Value(Value::Table{{"model_type", "qwen2"}}), 16);
      },
      ThrowsMessage<std::runtime_error>(HasSubstr("model_type is \"qwen2\"")));
  EXPECT_THAT([&] { finish(model_config(), 16, "model.layers.0.self_attn.q_proj.bias"); },
              ThrowsMessage<std::runtime_error>(HasSubstr("pmx's llama has no such tensor")));
}

class PplDamage : public testing::Test {
 protected:
  using Damage = std::function<void(TensorStore&, Value::Table&)>;
  std::string outcome(const Damage& damage) {
    Export run("ppl", kParams);
    const Result linear =
        quantized(kQuery, 32, 64, scheme(R"({"group": 32, "symmetric": false})"), at::kHalf);
    run.add(linear);
    run.finish(model_config());
    TensorStore files;
    for (const std::string& name : run.files().names())
      files.tensors[name] = must(run.files().read(name));
    Value::Table config = *run.config().table();
    damage(files, config);
    const auto result = run.exporter().decode(kQuery, files, Value(config));
    if (!result.ok()) return std::string(result.status().message());
    return digest(*result) == digest(linear) ? "the same" : "another";
  }
  std::string tensor(const std::string& part,
                     const std::function<at::Tensor(const at::Tensor&)>& change) {
    return outcome([&](TensorStore& store, Value::Table&) {
      at::Tensor& tensor = store.tensors.at(kQuery + part);
      tensor = change(tensor);
      if (!tensor.defined()) store.tensors.erase(kQuery + part);
    });
  }
  std::string config(const char* key, const Value& value) {
    return outcome([&](TensorStore&, Value::Table& config) {
      (*config.at("quantization_config").table())[key] = value;
    });
  }
};

TEST_F(PplDamage, IsNoticed) {
  EXPECT_EQ(outcome([](TensorStore&, Value::Table&) {}), "the same");
  for (const char* part : {".qweight", ".scale", ".zeropoint"}) {
    EXPECT_EQ(tensor(part,
                     [](const at::Tensor& t) {
                       const at::Tensor changed = t.clone();
                       static_cast<uint8_t*>(changed.mutable_data_ptr())[0] ^= 1;
                       return changed;
                     }),
              "another");
    EXPECT_THAT(tensor(part, [](auto&) { return at::Tensor(); }), HasSubstr("is missing"));
    EXPECT_THAT(tensor(part, [](auto& t) { return t.to(at::kLong); }), HasSubstr("is Long"));
    EXPECT_THAT(tensor(part, [](auto& t) { return t.narrow(1, 0, 1); }), HasSubstr("expected"));
  }
  EXPECT_THAT(tensor(".scale", [](auto& t) { return t / 0; }), HasSubstr("is not finite"));
  EXPECT_THAT(tensor(".zeropoint", [](auto& t) { return t + 100; }), HasSubstr("zeros"));
  EXPECT_THAT(config("quant_data_type", "int2"), HasSubstr("expected \"int4\" or \"int8\""));
  EXPECT_THAT(config("quant_data_type", "int8"), HasSubstr("qweight is Short, expected Char"));
  EXPECT_THAT(config("quant_axis", 0), HasSubstr("quant_axis is 0, expected 1"));
  EXPECT_THAT(config("has_zeropoint", 1), HasSubstr("expected true or false"));
  EXPECT_THAT(config("has_zeropoint", false), HasSubstr("zeropoint is there, expected none"));
  EXPECT_THAT(config("group_size", -1), HasSubstr("group_size is -1"));
  EXPECT_THAT(config("group_size", 16), HasSubstr("scale is [32, 2], expected [32, 4]"));
  EXPECT_THAT(config("scale_dtype", "x"), HasSubstr("scale_dtype is \"x\""));
  EXPECT_THAT(config("quant_method", "awq"), HasSubstr("expected \"ppl\""));
  EXPECT_EQ(outcome([](TensorStore&, Value::Table& c) { c["num_attention_heads"] = 8; }), "another")
      << "heads of 8 rows";
  EXPECT_THAT(outcome([](TensorStore&, Value::Table& c) { c["num_attention_heads"] = 0; }),
              HasSubstr("expected an even number"));
}

}  // namespace
}  // namespace swage
