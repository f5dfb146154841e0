#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "export_support.h"
#include "swage/remark.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;

const Value::Table kParams = {{"shard_size", 5000}};
const char kWeight[] = R"({"group": 32})";
const char kLinear[] = "model.layers.0.mlp.down_proj";

Value model_config(const std::string& type) {
  return must(parse_json(absl::StrCat(R"({"model_type":")", type,
                                      R"(","vocab_size":24,"max_position_embeddings":512,)"
                                      R"("eos_token_id":[3,4],"torch_dtype":"bfloat16",)"
                                      R"("rope_parameters":{"rope_theta":5000.0}})"),
                         "test"));
}

const char* const kModules[] = {"self_attn.k_proj", "self_attn.o_proj", "self_attn.q_proj",
                                "self_attn.v_proj", "mlp.gate_proj",    "mlp.up_proj",
                                "mlp.down_proj"};

// Two blocks of a model of 64, rows of 8, 16 and 24.
std::map<std::string, Result> add_model(Export* run, at::ScalarType scales) {
  std::map<std::string, Result> linears;
  for (int block = 0; block < 2; ++block) {
    int64_t rows = 8;
    for (const char* module : kModules) {
      const std::string name = absl::StrCat("model.layers.", block, ".", module);
      linears[name] = quantized(name, rows, 64, scheme(kWeight), scales);
      run->add(linears[name]);
      rows = rows % 24 + 8;
    }
    const std::string norm = absl::StrCat("model.layers.", block, ".input_layernorm.weight");
    run->add_parameter(norm, at::ones({64}, at::kBFloat16));
  }
  run->add_parameter("model.embed_tokens.weight", at::randn({24, 64}).to(at::kBFloat16));
  run->add_parameter("lm_head.weight", at::randn({24, 64}).to(at::kBFloat16));
  return linears;
}

// A parameter as MLC reads it: bytes of a file.
at::Tensor parameter(const Export& run, const std::string& name) {
  const Value cache = must(parse_json(run.text("tensor-cache.json"), "tensor-cache.json"));
  for (const Value& shard : *cache["records"].list()) {
    const std::string bytes = run.text(*shard["dataPath"].text());
    EXPECT_EQ(*shard["nbytes"].integer(), static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(*shard["format"].text(), "raw-shard");
    for (const Value& record : *shard["records"].list()) {
      if (*record["name"].text() != name) continue;
      std::vector<int64_t> shape;
      for (const Value& side : *record["shape"].list()) shape.push_back(*side.integer());
      const bool codes = *record["dtype"].text() == "uint32";
      EXPECT_TRUE(codes || *record["dtype"].text() == "float16");
      const at::Tensor values = at::empty(shape, codes ? at::kInt : at::kHalf);
      EXPECT_EQ(*record["nbytes"].integer(), static_cast<int64_t>(values.nbytes()));
      std::memcpy(values.mutable_data_ptr(), bytes.data() + *record["byteOffset"].integer(),
                  values.nbytes());
      return values;
    }
  }
  throw std::runtime_error(name + " is no parameter");
}

// (code - 7) · scale, as MLC's kernels compute it.
at::Tensor value_of(const Export& run, const std::string& module) {
  const at::Tensor words = parameter(run, module + ".q_weight");
  std::vector<at::Tensor> nibbles;
  for (int i = 0; i < 8; ++i) nibbles.push_back(words.bitwise_right_shift(4 * i).bitwise_and(15));
  const at::Tensor codes = at::stack(nibbles, 2).view({words.size(0), -1}).sub(7).to(at::kFloat);
  return codes * parameter(run, module + ".q_scale").to(at::kFloat).repeat_interleave(32, 1);
}

at::Tensor exact_value(const Result& linear) {
  return linear.part("codes").to(at::kFloat) *
         linear.part("scales").to(at::kFloat).repeat_interleave(32, 1);
}

TEST(MlcExporter, FilesDecodeToWhatWasEncoded) {
  for (const at::ScalarType scales : {at::kHalf, at::kBFloat16}) {
    for (const char* weight : {kWeight, R"({"group": 32, "convention": "full-range"})",
                               R"({"group": 32, "range": "mse"})"}) {
      const Result linear = quantized(kLinear, 40, 96, scheme(weight), scales);
      Export run("mlc", kParams);
      run.add(linear);
      run.finish(model_config("llama"));
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(linear));
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
    }
  }
}

TEST(MlcExporter, ReadersFindJoinedParametersByTheirPlaces) {
  for (const int64_t shard_size : {5000, 1}) {
    for (const char* type : {"llama", "qwen2"}) {
      Export run("mlc", {{"shard_size", shard_size}});
      const auto linears = add_model(&run, at::kBFloat16);
      run.finish(model_config(type));
      const std::string attention = std::string(type) == "llama" ? "qkv_proj" : "c_attn";
      for (const std::string block : {"model.layers.0.", "model.layers.1."}) {
        const auto expect = [&](const std::string& module, std::vector<const char*> members) {
          std::vector<at::Tensor> values;
          for (const char* member : members)
            values.push_back(exact_value(linears.at(block + member)));
          EXPECT_TRUE(at::equal(value_of(run, block + module), at::cat(values))) << module;
        };
        expect("self_attn." + attention,
               {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"});
        expect("self_attn.o_proj", {"self_attn.o_proj"});
        expect("mlp.gate_up_proj", {"mlp.gate_proj", "mlp.up_proj"});
        expect("mlp.down_proj", {"mlp.down_proj"});
      }
      const at::Tensor table = run.store().tensors.at("model.embed_tokens.weight");
      EXPECT_EQ(table.scalar_type(), at::kHalf);
      EXPECT_TRUE(at::equal(parameter(run, "model.embed_tokens.weight"), table));
      EXPECT_TRUE(at::equal(parameter(run, "model.layers.1.input_layernorm.weight"),
                            at::ones({64}, at::kHalf)));
      for (const auto& [name, linear] : linears)
        EXPECT_EQ(digest(must(run.decode(name))), digest(linear));
    }
  }
}

TEST(MlcExporter, BiasesAreJoinedWhereTheModelHasThem) {
  const auto finish = [](Export* run, const char* type) {
    add_model(run, at::kHalf);
    for (const char* module : {"q_proj", "k_proj", "v_proj"})
      run->add_parameter(absl::StrCat("model.layers.0.self_attn.", module, ".bias"),
                         at::full({8}, static_cast<double>(module[0]), at::kHalf));
    run->finish(model_config(type));
  };
  Export qwen("mlc", kParams);
  finish(&qwen, "qwen2");
  EXPECT_TRUE(at::equal(parameter(qwen, "model.layers.0.self_attn.c_attn.bias"),
                        at::cat({at::full({8}, 'q', at::kHalf), at::full({8}, 'k', at::kHalf),
                                 at::full({8}, 'v', at::kHalf)})));
  Export llama("mlc", kParams);
  EXPECT_THAT([&] { finish(&llama, "llama"); },
              testing::ThrowsMessage<std::runtime_error>(
                  HasSubstr("k_proj.bias is there, and MLC's model llama has no such bias")));
}

TEST(MlcExporter, WritesTheWordsOfTheFormat) {
  Result linear = quantized(kLinear, 1, 32, scheme(kWeight), at::kHalf);
  linear.set_part("codes", at::arange(32).remainder(8).neg().add(7).to(at::kChar).view({1, 32}));
  linear.set_part("scales", at::full({1, 1}, 0.5, at::kHalf));
  Export run("mlc", kParams);
  run.add(linear);
  run.finish(model_config("llama"));
  const at::Tensor words = must(run.files().read(std::string(kLinear) + ".q_weight"));
  EXPECT_TRUE(at::equal(words, at::full({1, 4}, 0x76543210, at::kInt)));
  const at::Tensor scale = must(run.files().read(std::string(kLinear) + ".q_scale"));
  EXPECT_TRUE(at::equal(scale, at::full({1, 1}, -0.5, at::kHalf)));
  EXPECT_EQ(to_json(run.config()["quantization_config"], -1),
            R"({"bits":4,"group_size":32,"quant_method":"mlc","quantization":"q4f16_2"})");
  EXPECT_EQ(run.config()["torch_dtype"], Value("float16"));
}

TEST(MlcExporter, DescribesTheModelForMlc) {
  Export run("mlc", kParams);
  add_model(&run, at::kHalf);
  run.finish(model_config("qwen3"));
  const Value chat = must(parse_json(run.text("mlc-chat-config.json"), "mlc-chat-config.json"));
  EXPECT_EQ(chat["model_type"], Value("qwen3"));
  EXPECT_EQ(chat["quantization"], Value("q4f16_2"));
  EXPECT_EQ(chat["context_window_size"], Value(512));
  EXPECT_EQ(chat["vocab_size"], Value(24));
  EXPECT_EQ(to_json(chat["tokenizer_files"], -1), R"(["tokenizer.json"])");
  EXPECT_EQ(to_json(chat["eos_token_id"], -1), "[3,4]");
  EXPECT_EQ(to_json(chat["conv_template"]["stop_token_ids"], -1), "[3,4]");
  EXPECT_EQ(chat["model_config"]["rope_theta"], Value(5000.0));
  EXPECT_FALSE(chat["model_config"].has("quantization_config"));
}

LinearSummary planned(const std::string& weight, const std::string& name = kLinear,
                      at::ScalarType scales = at::kHalf) {
  LinearSummary linear = kept(name, 16, 64);
  linear.kept_by.clear();
  linear.weight = scheme(weight);
  linear.scale_dtype = scales;
  return linear;
}

std::string refusal(const std::vector<LinearSummary>& linears) {
  Export run("mlc", kParams);
  return std::string(run.exporter().check(linears).message());
}

TEST(MlcExporter, RefusesWhatMlcCannotHold) {
  const RemarkLog log;
  EXPECT_EQ(refusal({planned(kWeight)}), "");
  EXPECT_THAT(log.texts(), ElementsAre(HasSubstr("llama, mistral, qwen2 and qwen3")));
  for (const char* weight :
       {R"({"group": 64})", R"({"bits": 8, "group": 32})", R"({"group": 32, "symmetric": false})",
        R"({"granularity": "channel"})"})
    EXPECT_THAT(refusal({planned(weight)}),
                HasSubstr("q4f16_2 has symmetric codes of 4 bits in whole groups of 32"));
  EXPECT_THAT(refusal({planned(kWeight, kLinear, at::kFloat)}), HasSubstr("these are float32"));
  EXPECT_THAT(refusal({planned(kWeight, "model.layers.0.mlp.experts.0.down_proj")}),
              HasSubstr("whose linears are model.layers.N"));
  EXPECT_THAT(refusal({planned(kWeight, "transformer.h.0.attn.c_attn")}),
              HasSubstr("export with use = \"awq\""));
  EXPECT_THAT(refusal({planned(kWeight), kept("model.layers.1.mlp.up_proj", 8, 8)}),
              HasSubstr("up_proj: MLC quantizes every linear of a block, and this one is kept"));
  EXPECT_THAT(
      refusal({planned(kWeight), planned(kWeight, "model.layers.1.mlp.up_proj", at::kBFloat16)}),
      HasSubstr("have scales in different dtypes"));
  LinearSummary inputs = planned(kWeight);
  inputs.activation = scheme(R"({"format": "fp8-e4m3"})");
  EXPECT_THAT(refusal({inputs}), HasSubstr("its inputs stay in floats"));
  Export run("mlc", kParams);
  run.add(quantized(kLinear, 8, 64, scheme(kWeight), at::kHalf));
  EXPECT_THAT([&] { run.finish(model_config("gemma2")); },
              testing::ThrowsMessage<std::runtime_error>(
                  HasSubstr("model_type is \"gemma2\", and the exporter knows MLC's models")));
  Export large("mlc", kParams);
  EXPECT_THAT([&] { large.add_parameter("model.norm.weight", at::full({4}, 1e6)); },
              testing::ThrowsMessage<std::runtime_error>(HasSubstr("beyond the range of fp16")));
}

TEST(MlcExporter, RefusesHalfOfWhatIsJoined) {
  Export run("mlc", kParams);
  run.add(quantized("model.layers.0.mlp.up_proj", 8, 64, scheme(kWeight), at::kHalf));
  EXPECT_THAT([&] { run.finish(model_config("llama")); },
              testing::ThrowsMessage<std::runtime_error>(HasSubstr(
                  "gate_proj.q_scale is missing, and model.layers.0.mlp.up_proj.q_scale")));
}

class MlcDamage : public testing::Test {
 protected:
  using Damage = std::function<void(TensorStore&, Value::Table&)>;
  std::string outcome(const Damage& damage) {
    Export run("mlc", kParams);
    const Result linear = quantized(kLinear, 16, 64, scheme(kWeight), at::kHalf);
    run.add(linear);
    run.finish(model_config("llama"));
    Value::Table config = *run.config().table();
    damage(run.store(), *config.at("quantization_config").table());
    const auto result = run.exporter().decode(kLinear, run.store(), Value(config));
    if (!result.ok()) return std::string(result.status().message());
    return digest(*result) == digest(linear) ? "the same" : "another";
  }
  std::string tensor(const std::string& part,
                     const std::function<at::Tensor(const at::Tensor&)>& change) {
    return outcome([&](TensorStore& store, Value::Table&) {
      at::Tensor& tensor = store.tensors.at(std::string(kLinear) + part);
      tensor = change(tensor);
      if (!tensor.defined()) store.tensors.erase(std::string(kLinear) + part);
    });
  }
  std::string config(const char* key, const Value& value) {
    return outcome([&](TensorStore&, Value::Table& block) { block[key] = value; });
  }
};

TEST_F(MlcDamage, IsNoticed) {
  for (const char* part : {".q_weight", ".q_scale"}) {
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
  EXPECT_THAT(tensor(".q_scale", [](auto& t) { return t / 0; }), HasSubstr("is not finite"));
  EXPECT_THAT(config("quantization", "q4f16_1"), HasSubstr("expected \"q4f16_2\""));
  EXPECT_THAT(config("quant_method", "awq"), HasSubstr("expected \"mlc\""));
  EXPECT_THAT(config("bits", 3), HasSubstr("bits is 3, expected 4"));
  EXPECT_THAT(config("group_size", 64), HasSubstr("group_size is 64, expected 32"));
  EXPECT_THAT(config("scale_dtype", 5), HasSubstr("scale_dtype is 5"));
  EXPECT_EQ(config("scale_dtype", "float32"), "another");
}

}  // namespace
}  // namespace swage
