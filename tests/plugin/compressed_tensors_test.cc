#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "export_support.h"

namespace swage {
namespace {

using namespace testing_support;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Value::Table kParams = {{"shard_size", 5000}};
const char kLinear[] = "model.layers.0.mlp.up_proj";

std::string layer(int index, const std::string& linear) {
  return "model.layers." + std::to_string(index) + "." + linear;
}

std::vector<std::string> texts(const Value& list) {
  std::vector<std::string> result;
  for (const Value& item : *list.list()) result.push_back(*item.text());
  return result;
}

const Value& block(const Export& run) { return run.config()["quantization_config"]; }
const Value& group(const Export& run, int index = 0) {
  return block(run)["config_groups"]["group_" + std::to_string(index)];
}

struct Kind {
  std::string weight, activation, format;
};

CompressedLinear make(const Kind& kind, at::ScalarType scales = at::kBFloat16) {
  CompressedLinear linear = quantized(kLinear, 45, 96, scheme(kind.weight), scales);
  if (!kind.activation.empty()) linear.activation = activation(kind.activation);
  return linear;
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (int bits = 2; bits <= 8; ++bits) {
    for (const char* rest :
         {R"("group": 32)", R"("group": 32, "symmetric": false)", R"("group": 96)",
          R"("granularity": "channel")", R"("granularity": "channel", "symmetric": false)",
          R"("granularity": "tensor")", R"("granularity": "tensor", "symmetric": false)"}) {
      all.push_back({absl::StrCat(R"({"bits": )", bits, ", ", rest, "}"), "", "pack-quantized"});
    }
  }
  const char* inputs[] = {"{}", R"({"symmetric": false})", R"({"granularity": "tensor"})",
                          R"({"granularity": "tensor", "dynamic": false})",
                          R"({"granularity": "tensor", "dynamic": false, "symmetric": false})"};
  for (const char* input : inputs) {
    all.push_back({R"({"bits": 8, "granularity": "channel"})", input, "int-quantized"});
    all.push_back(
        {R"({"bits": 8, "granularity": "tensor", "symmetric": false})", input, "int-quantized"});
    all.push_back({R"({"bits": 8, "group": 32})", input, "int-quantized"});
    all.push_back({R"({"bits": 4, "group": 32})", input, "pack-quantized"});
  }
  for (const char* input :
       {"", R"({"format": "fp8-e4m3"})", R"({"format": "fp8-e4m3", "granularity": "tensor"})",
        R"({"format": "fp8-e4m3", "granularity": "tensor", "dynamic": false})"}) {
    all.push_back(
        {R"({"format": "fp8-e4m3", "granularity": "channel"})", input, "float-quantized"});
    all.push_back({R"({"format": "fp8-e4m3", "granularity": "tensor"})", input, "float-quantized"});
  }
  return all;
}

TEST(CompressedTensors, FilesDecodeToWhatWasEncoded) {
  for (const Kind& kind : kinds()) {
    for (const at::ScalarType scales : {at::kBFloat16, at::kHalf, at::kFloat}) {
      SCOPED_TRACE(kind.weight + " " + kind.activation);
      const CompressedLinear linear = make(kind, scales);
      Export run("compressed-tensors", kParams);
      run.add(linear);
      run.finish();
      const CompressedLinear back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(run.exporter().stored_form(linear)));
      EXPECT_EQ(digest(back), digest(linear));
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
      EXPECT_EQ(*block(run)["format"].text(), kind.format);
      EXPECT_EQ(*group(run)["format"].text(), kind.format);
    }
  }
}

TEST(CompressedTensors, WritesTheTensorsOfTheFormat) {
  CompressedLinear linear = quantized(kLinear, 8, 8, scheme(R"({"group": 8, "symmetric": false})"));
  linear.codes = at::tensor({-8, -7, -1, 0, 1, 2, 6, 7}).to(at::kChar).expand({8, 8}).contiguous();
  linear.zeros = at::tensor({-8, -3, 0, 1, 2, 3, 4, 7}).to(at::kChar).unsqueeze(1);
  Export run("compressed-tensors", kParams);
  run.add(linear);
  run.finish();
  const std::string name = kLinear;
  EXPECT_THAT(run.files().names(),
              ElementsAre(name + ".weight_packed", name + ".weight_scale", name + ".weight_shape",
                          name + ".weight_zero_point"));
  const at::Tensor words = must(run.files().read(name + ".weight_packed"));
  EXPECT_TRUE(at::equal(words, at::tensor(at::ArrayRef<int>{-22444272}).expand({8, 1})));
  EXPECT_EQ(must(run.files().read(name + ".weight_zero_point")).item<int32_t>(), -54880176);
  EXPECT_TRUE(at::equal(must(run.files().read(name + ".weight_shape")),
                        at::tensor(at::ArrayRef<int64_t>{8, 8}, at::kLong)));
}

// bf16 scale 0x3C4A: codes 5, -7, 3 are read as 0x3D7C, 0xBDB1, 0x3D18.
TEST(CompressedTensors, DecodesWithOneRoundingToTheDtypeOfTheScales) {
  CompressedLinear linear = quantized(kLinear, 1, 3, scheme(R"({"granularity": "channel"})"));
  linear.codes = at::tensor({5, -7, 3}).to(at::kChar).unsqueeze(0);
  linear.scales = at::tensor(at::ArrayRef<double>{0.0123291015625}).to(at::kBFloat16).view({1, 1});
  Export run("compressed-tensors", kParams);
  run.add(linear);
  run.finish();
  EXPECT_TRUE(at::equal(decode(must(run.decode(kLinear))),
                        at::tensor(at::ArrayRef<double>{0.0615234375, -0.08642578125, 0.037109375})
                            .to(at::kFloat)
                            .unsqueeze(0)));
}

TEST(CompressedTensors, DescribesOneSchemeInOneGroup) {
  Export run("compressed-tensors", kParams);
  run.add(quantized(layer(0, "mlp.up_proj"), 8, 64, scheme(R"({"group": 32})")));
  run.add(quantized(layer(1, "mlp.up_proj"), 8, 64, scheme(R"({"group": 32})")));
  run.keep(layer(1, "mlp.down_proj"), at::randn({64, 8}).to(at::kBFloat16));
  run.add_parameter("model.embed_tokens.weight", at::randn({10, 8}));
  run.add_parameter("model.layers.1.mlp.gate.weight", at::randn({4, 8}));
  run.add_parameter("model.norm.weight", at::randn({8}));
  run.finish(Value(Value::Table{{"model_type", "llama"},
                                {"tie_word_embeddings", true},
                                {"torch_dtype", "bfloat16"},
                                {"quantization_config", Value::Table{{"quant_method", "fp8"}}}}));
  EXPECT_EQ(run.config()["tie_word_embeddings"], Value(true));
  EXPECT_EQ(run.config()["torch_dtype"], Value("bfloat16"));
  EXPECT_EQ(to_json(block(run), -1),
            R"({"config_groups":{"group_0":{"format":"pack-quantized","input_activations":null,)"
            R"("output_activations":null,"targets":["Linear"],"weights":{"actorder":null,)"
            R"("block_structure":null,"dynamic":false,"group_size":32,"num_bits":4,)"
            R"("observer":"minmax","observer_kwargs":{},"strategy":"group","symmetric":true,)"
            R"("type":"int"}}},"format":"pack-quantized","global_compression_ratio":null,)"
            R"("ignore":["model.layers.1.mlp.down_proj","model.layers.1.mlp.gate","lm_head"],)"
            R"("kv_cache_scheme":null,"quant_method":"compressed-tensors",)"
            R"("quantization_status":"compressed","sparsity_config":{},"transform_config":{},)"
            R"("version":"0.17.0"})");
  EXPECT_EQ(run.text("tokenizer.json"), "{}");
  EXPECT_EQ(run.decode(layer(1, "mlp.down_proj")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(must(run.files().dtype(layer(1, "mlp.down_proj.weight"))), at::kBFloat16);
}

TEST(CompressedTensors, WritesDynamicAndStaticActivations) {
  Export dynamic("compressed-tensors", kParams), fixed("compressed-tensors", kParams);
  dynamic.add(make({R"({"bits": 8, "granularity": "channel"})", "{}", ""}));
  dynamic.finish();
  EXPECT_EQ(to_json(group(dynamic)["input_activations"], -1),
            R"({"actorder":null,"block_structure":null,"dynamic":true,"group_size":null,)"
            R"("num_bits":8,"observer":null,"observer_kwargs":{},"strategy":"token",)"
            R"("symmetric":true,"type":"int"})");
  fixed.add(make({R"({"bits": 8, "granularity": "channel"})",
                  R"({"granularity": "tensor", "dynamic": false, "symmetric": false})", ""}));
  fixed.finish();
  const Value& input = group(fixed)["input_activations"];
  EXPECT_EQ(*input["strategy"].text(), "tensor");
  EXPECT_EQ(*input["observer"].text(), "minmax");
  const at::Tensor zero = must(fixed.files().read(std::string(kLinear) + ".input_zero_point"));
  EXPECT_EQ(zero.scalar_type(), at::kChar);
  EXPECT_EQ(zero.sizes(), at::IntArrayRef({1}));
}

TEST(CompressedTensors, GivesEverySchemeItsOwnGroup) {
  Export run("compressed-tensors", kParams);
  std::vector<CompressedLinear> linears;
  const auto add = [&](const std::string& name, const std::string& json) {
    linears.push_back(quantized(name, 8, 64, scheme(json)));
    if (json.find("channel") != std::string::npos) linears.back().activation = activation("{}");
    run.add(linears.back());
  };
  for (int i = 0; i < 3; ++i) {
    add(layer(i, "self_attn.q_proj"), R"({"group": 32})");
    add(layer(i, "mlp.down_proj"), R"({"bits": 8, "granularity": "channel"})");
    add(layer(i, "mlp.up_proj"), i == 1 ? R"({"bits": 3, "group": 64})" : R"({"group": 32})");
  }
  add("lm_head", R"({"bits": 3, "group": 64})");
  run.keep(layer(3, "mlp.down_proj"), at::randn({64, 8}));
  run.finish();
  EXPECT_EQ(*block(run)["format"].text(), "mixed-precision");
  EXPECT_THAT(texts(group(run, 0)["targets"]),
              ElementsAre(R"(re:model\.layers\.\d+\.self_attn\.q_proj$)",
                          "model.layers.0.mlp.up_proj", "model.layers.2.mlp.up_proj"));
  EXPECT_THAT(texts(group(run, 1)["targets"]),
              ElementsAre(R"(re:model\.layers\.\d+\.mlp\.down_proj$)"));
  EXPECT_THAT(texts(group(run, 2)["targets"]),
              ElementsAre("model.layers.1.mlp.up_proj", "lm_head"));
  EXPECT_THAT(texts(block(run)["ignore"]), ElementsAre(layer(3, "mlp.down_proj")));
  for (const CompressedLinear& linear : linears)
    EXPECT_EQ(digest(must(run.decode(linear.name))), digest(linear)) << linear.name;
  EXPECT_EQ(run.decode(layer(3, "mlp.down_proj")).status().code(), absl::StatusCode::kNotFound);
}

// Readers hang the language model elsewhere than checkpoints do; the vision tower's names look
// alike.
TEST(CompressedTensors, NamesOfModelsThatReadImagesHoldWhereverReadersHangThem) {
  Export run("compressed-tensors", kParams);
  const std::string language = "language_model.model.layers.", vision = "vision.encoder.layers.";
  for (int i = 0; i < 2; ++i) {
    const std::string index = std::to_string(i);
    run.add(quantized(language + index + ".self_attn.q_proj", 8, 64, scheme(R"({"group": 32})")));
    run.add(quantized(language + index + ".mlp.up_proj", 8, 64,
                      scheme(i == 0 ? R"({"bits": 3, "group": 64})" : R"({"group": 32})")));
    run.keep(language + index + ".mlp.down_proj", at::randn({64, 8}));
    run.keep(vision + index + ".self_attn.q_proj", at::randn({64, 8}));
  }
  run.finish();
  EXPECT_THAT(texts(group(run, 0)["targets"]),
              ElementsAre(R"(re:(.*\.)?language_model\.(.*\.)?layers\.\d+\.self_attn\.q_proj$)",
                          R"(re:(.*\.)?layers\.1\.mlp\.up_proj$)"));
  EXPECT_THAT(texts(group(run, 1)["targets"]),
              ElementsAre(R"(re:(.*\.)?layers\.0\.mlp\.up_proj$)"));
  EXPECT_THAT(texts(block(run)["ignore"]),
              ElementsAre(R"(re:(.*\.)?layers\.\d+\.mlp\.down_proj$)",
                          R"(re:(.*\.)?vision\.(.*\.)?layers\.\d+\.self_attn\.q_proj$)",
                          R"(re:(.*\.)?vision\..*)", "lm_head"));
}

TEST(CompressedTensors, LeavesAModelWithoutResultsPlain) {
  Export run("compressed-tensors", kParams);
  run.keep(kLinear, at::randn({8, 8}));
  run.finish();
  EXPECT_FALSE(run.config().has("quantization_config"));
  EXPECT_EQ(run.decode(kLinear).status().code(), absl::StatusCode::kNotFound);
}

TEST(CompressedTensors, RefusesSchemesByNameAndReason) {
  const auto exporter = must(loader().exporter("compressed-tensors", Params(kParams)));
  const auto message = [&](const std::string& weight, const std::string& input, int64_t in) {
    LinearSummary linear = kept(kLinear, 64, in);
    linear.kept_by = "";
    linear.weight = scheme(weight);
    if (!input.empty()) linear.activation = activation(input).scheme;
    return std::string(exporter->check({kept("other", 1, 1), linear}).message());
  };
  EXPECT_EQ(message(R"({"group": 32})", "", 64), "");
  EXPECT_EQ(message(R"({"format": "fp8-e5m2", "granularity": "channel"})", "", 64),
            "model.layers.0.mlp.up_proj: compressed-tensors cannot hold fp8-e5m2 per channel: its "
            "fp8 numbers are e4m3; use format = \"fp8-e4m3\"");
  EXPECT_THAT(message(R"({"bits": 8, "granularity": "channel"})", R"({"format": "fp8-e4m3"})", 64),
              HasSubstr("cannot hold w8 per channel symmetric with a-fp8-e4m3 per token: weights "
                        "and activations are both integers or both fp8"));
  EXPECT_THAT(message(R"({"format": "fp8-e4m3", "granularity": "channel"})",
                      R"({"format": "fp8-e5m2"})", 64),
              HasSubstr("use format = \"fp8-e4m3\""));
  EXPECT_THAT(message(R"({"group": 64, "group_tail": "short"})", "", 100),
              HasSubstr("the last group of 100 inputs is shorter"));
  LinearSummary floats = kept(kLinear, 64, 64);
  floats.kept_by = "";
  floats.weight.format = NumberFormat::kDense;
  EXPECT_THAT(std::string(exporter->check({floats}).message()), HasSubstr("keep this one"));
}

TEST(CompressedTensors, RefusesPartsThatTheFormatLacks) {
  const auto exporter = must(loader().exporter("compressed-tensors", Params(kParams)));
  const auto message = [&](const std::function<void(CompressedLinear&)>& change) {
    CompressedLinear linear = quantized(kLinear, 4, 64, scheme(R"({"group": 32})"));
    change(linear);
    TensorStore store;
    const absl::Status status = exporter->encode(linear, store);
    EXPECT_THAT(store.names(), IsEmpty());
    return std::string(status.message());
  };
  EXPECT_EQ(message([](auto& l) {
              l.mask = at::ones({4, 64}, at::kBool);
            }),
            "model.layers.0.mlp.up_proj: the result has a sparsity mask, which the "
            "compressed-tensors exporter does not write");
  EXPECT_THAT(message([](auto& l) {
                l.outlier_index = at::zeros({1, 2}, at::kLong);
              }),
              HasSubstr("outliers"));
  EXPECT_THAT(message([](auto& l) { l.low_rank_left = at::zeros({4, 1}); }), HasSubstr("low-rank"));
  EXPECT_THAT(message([](auto& l) { l.codebook = at::zeros({4, 1}); }), HasSubstr("codebook"));
  EXPECT_THAT(message([](auto& l) { l.g_idx = at::zeros({64}, at::kInt); }), HasSubstr("g_idx"));
  EXPECT_THAT(message([](auto& l) { l.online_transform = "hadamard"; }), HasSubstr("run time"));
  EXPECT_THAT(message([](auto& l) { l.scales = at::ones({4, 1}); }), HasSubstr("scales is [4, 1]"));
  EXPECT_THAT(message([](auto& l) {
                l.activation = activation(R"({"granularity": "tensor", "dynamic": false,
                                              "symmetric": false})");
                l.activation->zero.fill_(0.5);
              }),
              HasSubstr("zero point of its input is 0.5, expected an integer"));
}

TEST(CompressedTensors, SplitsIntoShards) {
  Export run("compressed-tensors", {{"shard_size", 1}});
  for (int i = 0; i < 3; ++i)
    run.add(quantized(layer(i, "mlp.up_proj"), 1024, 1024, scheme(R"({"group": 128})")));
  run.finish();
  EXPECT_TRUE(
      must(parse_json(run.text("model.safetensors.index.json"), "index")).has("weight_map"));
  EXPECT_TRUE(run.decode(layer(2, "mlp.up_proj")).ok());
}

// --- what decode() makes of files that do not hold ---

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

  const Kind packed_{R"({"group": 32, "symmetric": false})", "", ""};
  const Kind symmetric_{R"({"group": 32})", "", ""};
  const Kind int8_{R"({"bits": 8, "granularity": "channel"})",
                   R"({"granularity": "tensor", "dynamic": false, "symmetric": false})", ""};
  const Kind fp8_{R"({"format": "fp8-e4m3", "granularity": "tensor"})", "", ""};
};

TEST_F(CompressedTensorsDamage, ChangesTheDigestWhereAValueChanged) {
  Export run("compressed-tensors", kParams);
  const CompressedLinear linear = make(packed_);
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
       {"model.layers.0.mlp.up_proj.weight_global_scale", "model.layers.0.mlp.up_proj.bitmask",
        "model.layers.0.mlp.up_proj.output_scale", "model.layers.0.mlp.k_scale"}) {
    EXPECT_THAT(
        message(packed_, [&](TensorStore& s, Value::Table&) { s.tensors[name] = at::ones({1}); }),
        HasSubstr(std::string(name) + " is there, which the compressed-tensors reader"));
  }
}

TEST_F(CompressedTensorsDamage, IsReportedByKeyOfTheConfig) {
  EXPECT_EQ(config(packed_, R"("num_bits":4)", R"("num_bits":9)"),
            "config.json: quantization_config.config_groups.group_0.weights.num_bits is 9, "
            "expected 2 to 8");
  EXPECT_THAT(config(fp8_, R"("num_bits":8)", R"("num_bits":4)"), HasSubstr("expected 8"));
  EXPECT_THAT(config(packed_, R"("strategy":"group")", R"("strategy":"block")"),
              HasSubstr("strategy is \"block\", expected \"tensor\" or \"channel\" or \"group\""));
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
