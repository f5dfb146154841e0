// What decode() makes of compressed-tensors files that do not hold.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::HasSubstr;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.up_proj";

struct Kind {
  std::string weight, activation;
};

Result make(const Kind& kind) {
  Result linear = quantized(kLinear, 45, 96, scheme(kind.weight), at::kBFloat16);
  if (!kind.activation.empty()) linear.set_activation(activation(kind.activation));
  return linear;
}

class CompressedTensorsDamage : public testing::Test {
 protected:
  // Encodes one linear in memory; `damage` then changes tensors or the config.
  using Damage = std::function<void(TensorStore&, Value::Table&)>;
  std::string message(const Kind& kind, const Damage& damage) {
    Export run("compressed-tensors", kParams);
    run.add(make(kind));
    run.finish();
    Value::Table config = *run.config().table();
    damage(run.store(), config);
    const auto result = run.exporter().decode(kLinear, run.store(), Value(config));
    EXPECT_NE(result.status().code(), absl::StatusCode::kNotFound) << result.status();
    return result.ok() ? "decoded" : std::string(result.status().message());
  }
  std::string tensor(const Kind& kind, const std::string& part,
                     const std::function<at::Tensor(const at::Tensor&)>& change) {
    return message(kind, [&](TensorStore& store, Value::Table&) {
      at::Tensor& tensor = store.tensors.at(std::string(kLinear) + part);
      tensor = change(tensor);
      if (!tensor.defined()) store.tensors.erase(std::string(kLinear) + part);
    });
  }
  // Replaces one text in the JSON of the block.
  std::string config(const Kind& kind, const std::string& from, const std::string& to) {
    return message(kind, [&](TensorStore&, Value::Table& config) {
      std::string json = to_json(config["quantization_config"], -1);
      const size_t at = json.find(from);
      ASSERT_NE(at, std::string::npos) << json;
      config["quantization_config"] = must(parse_json(json.replace(at, from.size(), to), "test"));
    });
  }

  const Kind packed_{R"({"group": 32, "symmetric": false})", ""};
  const Kind symmetric_{R"({"group": 32})", ""};
  const Kind int8_{R"({"bits": 8, "granularity": "channel"})",
                   R"({"granularity": "tensor", "dynamic": false, "symmetric": false})"};
  const Kind fp8_{R"({"format": "fp8-e4m3", "granularity": "tensor"})", ""};
};

TEST_F(CompressedTensorsDamage, ChangesTheDigestWhereAValueChanged) {
  Export run("compressed-tensors", kParams);
  const Result linear = make(packed_);
  run.add(linear);
  run.finish();
  for (const char* part : {".weight_packed", ".weight_scale", ".weight_zero_point"}) {
    TensorStore damaged = run.store();
    at::Tensor& tensor = damaged.tensors.at(std::string(kLinear) + part);
    tensor = tensor.clone();
    static_cast<uint8_t*>(tensor.mutable_data_ptr())[0] ^= 1;
    const auto back = must(run.exporter().decode(kLinear, damaged, run.config()));
    EXPECT_NE(digest(back), digest(linear)) << part;
  }
}

TEST_F(CompressedTensorsDamage, IsReportedByTensor) {
  const auto missing = [](const at::Tensor&) { return at::Tensor(); };
  const auto cut = [](const at::Tensor& t) { return t.narrow(0, 0, t.size(0) - 1); };
  const auto floats = [](const at::Tensor& t) { return t.to(at::kFloat); };
  EXPECT_EQ(tensor(packed_, ".weight_packed", missing),
            "model.layers.0.mlp.up_proj.weight_packed is missing, expected [45, 12]");
  EXPECT_EQ(tensor(packed_, ".weight_packed", cut),
            "model.layers.0.mlp.up_proj.weight_packed is [44, 12], expected [45, 12]");
  EXPECT_THAT(tensor(packed_, ".weight_packed", floats), HasSubstr("is Float, expected Int"));
  EXPECT_THAT(tensor(packed_, ".weight_shape", missing), HasSubstr("weight_shape is missing"));
  EXPECT_THAT(tensor(packed_, ".weight_shape", [](auto& t) { return t * -1; }),
              HasSubstr("weight_shape is [-45, -96], expected rows and columns"));
  EXPECT_THAT(tensor(packed_, ".weight_shape", [](auto& t) { return t + (int64_t{1} << 62); }),
              HasSubstr("expected rows and columns"));
  EXPECT_THAT(tensor(packed_, ".weight_scale", missing), HasSubstr("weight_scale is missing"));
  EXPECT_THAT(tensor(packed_, ".weight_scale", [](auto& t) { return t.to(at::kInt); }),
              HasSubstr("weight_scale is Int, expected Float or Half or BFloat16 or Double"));
  EXPECT_THAT(tensor(packed_, ".weight_scale", [](auto& t) { return t / 0; }),
              HasSubstr("scales is not finite"));
  EXPECT_THAT(tensor(packed_, ".weight_zero_point", cut),
              HasSubstr("weight_zero_point is [5, 3], expected [6, 3]"));
  EXPECT_THAT(tensor(int8_, ".weight", floats), HasSubstr("weight is Float, expected Char"));
  EXPECT_THAT(tensor(int8_, ".weight", [](auto& t) { return t.flatten(); }),
              HasSubstr("weight is [4320], expected a shape of 2 sizes"));
  EXPECT_THAT(tensor(int8_, ".input_scale", missing), HasSubstr("input_scale is missing"));
  EXPECT_THAT(tensor(int8_, ".input_zero_point", floats), HasSubstr("expected Char"));
  EXPECT_THAT(tensor(fp8_, ".weight", missing), HasSubstr("weight is missing"));
  EXPECT_EQ(tensor(fp8_, ".weight_scale", [](auto& t) { return t.reshape({}); }), "decoded");
  EXPECT_THAT(message(symmetric_,
                      [](TensorStore& store, Value::Table&) {
                        store.tensors[std::string(kLinear) + ".weight_zero_point"] = at::zeros({1});
                      }),
              HasSubstr("weight_zero_point is there, expected none in a symmetric scheme"));
  EXPECT_THAT(message(symmetric_,
                      [](TensorStore& store, Value::Table&) {
                        store.tensors[std::string(kLinear) + ".weight_g_idx"] = at::zeros({1});
                      }),
              HasSubstr("weight_g_idx is there"));
}

TEST_F(CompressedTensorsDamage, IsSeenInTensorsThatNobodyReads) {
  for (const char* name :
       {"model.layers.0.mlp.up_proj.bitmask", "model.layers.0.mlp.up_proj.output_scale",
        "model.layers.0.mlp.k_scale"}) {
    EXPECT_THAT(
        message(packed_, [&](TensorStore& s, Value::Table&) { s.tensors[name] = at::ones({1}); }),
        HasSubstr(std::string(name) + " is there, which the compressed-tensors reader"));
  }
  const std::string global = "model.layers.0.mlp.up_proj.weight_global_scale";
  EXPECT_THAT(
      message(packed_, [&](TensorStore& s, Value::Table&) { s.tensors[global] = at::ones({1}); }),
      HasSubstr(global + " is there, expected none in this format"));
}

TEST_F(CompressedTensorsDamage, IsReportedByKeyOfTheConfig) {
  EXPECT_EQ(config(packed_, R"("num_bits":4)", R"("num_bits":9)"),
            "config.json: quantization_config.config_groups.group_0.weights.num_bits is 9, "
            "expected 2 to 8");
  EXPECT_THAT(config(fp8_, R"("num_bits":8)", R"("num_bits":4)"), HasSubstr("expected 8"));
  const Kind groups{
      fp8_.weight,
      R"({"format": "fp8-e4m3", "granularity": "group", "group": 32, "dynamic": true})"};
  EXPECT_THAT(config(groups, R"("group_size":32,"num_bits":8)", R"("group_size":32,"num_bits":6)"),
              HasSubstr("num_bits is 6, expected 4 or 8 for floats"));
  EXPECT_THAT(config(packed_, R"("strategy":"group")", R"("strategy":"block")"),
              HasSubstr("block_structure is null, expected rows and columns above 0"));
  EXPECT_THAT(config(packed_, R"("group_size":32)", R"("group_size":0)"),
              HasSubstr("group_size is 0"));
  EXPECT_THAT(config(packed_, R"("type":"int")", R"("type":7)"), HasSubstr("type is 7"));
  EXPECT_THAT(config(packed_, R"("symmetric":false)", R"("symmetric":"no")"),
              HasSubstr("symmetric is \"no\", expected true or false"));
  EXPECT_THAT(config(packed_, R"("dynamic":false)", R"("dynamic":true)"),
              HasSubstr("dynamic is true"));
  EXPECT_THAT(config(packed_, R"("actorder":null)", R"("actorder":"group")"),
              HasSubstr("actorder is \"group\""));
  EXPECT_EQ(config(packed_, R"("actorder":null)", R"("actorder":"weight")"), "decoded");
  EXPECT_THAT(config(packed_, R"("format":"pack-quantized")", R"("format":"marlin-24")"),
              HasSubstr("group_0.format is \"marlin-24\", expected \"pack-quantized\" or"));
  EXPECT_THAT(config(packed_, R"("format":"pack-quantized")", R"("format":"float-quantized")"),
              HasSubstr("expected a format for integers"));
  EXPECT_EQ(config(packed_, R"("format":"pack-quantized","input)", R"("input)"), "decoded")
      << "the format at the top serves groups without one";
  EXPECT_THAT(config(packed_, R"("weights":{)", R"("weight":{)"),
              HasSubstr("group_0.weights is null, expected a table"));
  EXPECT_THAT(
      config(int8_, R"("dynamic":false,"group_size":null)", R"("dynamic":3,"group_size":null)"),
      HasSubstr("input_activations.dynamic is 3"));
  EXPECT_THAT(config(packed_, R"("targets":["Linear"])", R"("targets":"Linear")"),
              HasSubstr("targets is \"Linear\", expected a list of strings"));
  EXPECT_THAT(config(packed_, R"("ignore":["lm_head"])", R"("ignore":[1])"),
              HasSubstr("ignore is 1"));
  EXPECT_THAT(config(packed_, R"("quant_method":"compressed-tensors")", R"("quant_method":"awq")"),
              HasSubstr("quant_method is \"awq\""));
  EXPECT_THAT(config(packed_, R"("transform_config":{})", R"("transform_config":{"R":1})"),
              HasSubstr("transform_config is {\"R\":1}, expected nothing"));
  EXPECT_THAT(config(packed_, R"("kv_cache_scheme":null)", R"("kv_cache_scheme":{"num_bits":8})"),
              HasSubstr("kv_cache_scheme is {\"num_bits\":8}, expected nothing"));
  EXPECT_THAT(config(packed_, R"("num_bits":4)", R"("num_bits":4,"clip":0.5)"),
              HasSubstr("weights.clip is 0.5, expected no such key (not supported)"));
  EXPECT_THAT(config(packed_, R"("targets":["Linear"])", R"("targets":["other"])"),
              HasSubstr("weight is missing, expected floats: quantization_config does not name"));
  EXPECT_THAT(message(packed_, [](TensorStore&, Value::Table& c) { c["quantization_config"] = 5; }),
              HasSubstr("quantization_config is 5, expected a table"));
}

TEST_F(CompressedTensorsDamage, TargetsFollowThePrecedenceOfTheFormat) {
  const auto targets = [&](const std::string& list) {
    return config(packed_, R"("targets":["Linear"])", R"("targets":)" + list);
  };
  EXPECT_EQ(targets(R"(["re:.*mlp\\.(up|gate)_proj$"])"), "decoded");
  EXPECT_EQ(targets(R"(["re:model"])"), "decoded") << "anchored at the start only";
  EXPECT_EQ(targets(R"(["re:(?!lm_head).*proj$"])"), "decoded");
  EXPECT_THAT(targets(R"(["re:layers"])"), HasSubstr("does not name"));
  EXPECT_THAT(targets(R"(["up_proj"])"), HasSubstr("does not name"));
  // Only the last group has a scheme.
  EXPECT_EQ(targets(R"(["re:lm_head"]},"group_1":{"targets":["Linear"])"), "decoded");
  EXPECT_EQ(targets(R"(["Linear"]},"group_1":{"targets":["re:.*up_proj$"])"), "decoded");
  EXPECT_EQ(targets(R"(["re:.*"]},"group_1":{"targets":["model.layers.0.mlp.up_proj"])"),
            "decoded");
  EXPECT_THAT(targets(R"(["re:.*up_proj"]},"group_1":{"targets":["re:.*"])"),
              HasSubstr("in several groups"));
  EXPECT_THAT(config(packed_, R"("ignore":["lm_head"])", R"("ignore":["re:.*up_proj"])"),
              HasSubstr("weight is missing"));
}

TEST_F(CompressedTensorsDamage, RegularExpressionsCannotHang) {
  const auto target = [&](const std::string& expression) {
    return config(packed_, R"("targets":["Linear"])", R"("targets":["re:)" + expression + "\"]");
  };
  EXPECT_THAT(target("((.*)*)*(.+)+x"), HasSubstr("does not name"));
  EXPECT_THAT(target("((a?){100}){100}"), HasSubstr("is larger than 1024 characters"));
  EXPECT_THAT(target(std::string(5000, '.')), HasSubstr("is larger than 1024 characters"));
  EXPECT_THAT(target("("),
              HasSubstr("group_0.targets: the regular expression \"(\" is not understood"));
  EXPECT_THAT(target(R"((.)\\1)"), HasSubstr("escape"));
  EXPECT_THAT(target(R"(\\Amodel)"), HasSubstr("has the escape \\A"));
  EXPECT_THAT(target(std::string(65, '(') + std::string(65, ')')),
              HasSubstr("has more than 64 groups"));
}

}  // namespace
}  // namespace swage
