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

Result make(const Kind& kind, at::ScalarType scales = at::kBFloat16) {
  Result linear = quantized(kLinear, 45, 96, scheme(kind.weight), scales);
  if (!kind.activation.empty()) linear.set_activation(activation(kind.activation));
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
      const Result linear = make(kind, scales);
      Export run("compressed-tensors", kParams);
      run.add(linear);
      run.finish();
      const Result back = must(run.decode(kLinear));
      EXPECT_EQ(digest(back), digest(run.exporter().stored_form(linear)));
      EXPECT_EQ(digest(back), digest(linear));
      EXPECT_TRUE(at::equal(decode(back), decode(linear)));
      EXPECT_EQ(*block(run)["format"].text(), kind.format);
      EXPECT_EQ(*group(run)["format"].text(), kind.format);
    }
  }
}

TEST(CompressedTensors, WritesTheTensorsOfTheFormat) {
  Result linear = quantized(kLinear, 8, 8, scheme(R"({"group": 8, "symmetric": false})"));
  linear.set_part(
      "codes", at::tensor({-8, -7, -1, 0, 1, 2, 6, 7}).to(at::kChar).expand({8, 8}).contiguous());
  linear.set_part("zeros", at::tensor({-8, -3, 0, 1, 2, 3, 4, 7}).to(at::kChar).unsqueeze(1));
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
  Result linear = quantized(kLinear, 1, 3, scheme(R"({"granularity": "channel"})"));
  linear.set_part("codes", at::tensor({5, -7, 3}).to(at::kChar).unsqueeze(0));
  linear.set_part("scales",
                  at::tensor(at::ArrayRef<double>{0.0123291015625}).to(at::kBFloat16).view({1, 1}));
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
  std::vector<Result> linears;
  const auto add = [&](const std::string& name, const std::string& json) {
    linears.push_back(quantized(name, 8, 64, scheme(json)));
    if (json.find("channel") != std::string::npos) linears.back().set_activation(activation("{}"));
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
  for (const Result& linear : linears)
    EXPECT_EQ(digest(must(run.decode(linear.name()))), digest(linear)) << linear.name();
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
    if (!input.empty()) linear.activation = activation(input).codec;
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
  floats.weight = dense_result("", at::zeros({1, 1})).codec();
  EXPECT_THAT(std::string(exporter->check({floats}).message()), HasSubstr("keep this one"));
}

TEST(CompressedTensors, RefusesPartsThatTheFormatLacks) {
  const auto exporter = must(loader().exporter("compressed-tensors", Params(kParams)));
  const auto message = [&](const std::function<void(Result&)>& change) {
    Result linear = quantized(kLinear, 4, 64, scheme(R"({"group": 32})"));
    change(linear);
    TensorStore store;
    const absl::Status status = exporter->encode(linear, store);
    EXPECT_THAT(store.names(), IsEmpty());
    return std::string(status.message());
  };
  EXPECT_EQ(
      message([](auto& l) {
        l.set_mask(at::ones({4, 64}, at::kBool));
      }),
      "model.layers.0.mlp.up_proj: the result has a sparsity mask, which compressed-tensors has "
      "no place for");
  const Side entries{Side::Kind::kEntries,
                     Side::Input::kQuantized,
                     {{"index", at::zeros({1, 2}, at::kLong)}, {"value", at::zeros({1})}},
                     nullptr,
                     nullptr};
  const Side low_rank{Side::Kind::kLowRank,
                      Side::Input::kRaw,
                      {{"left", at::zeros({4, 1})}, {"right", at::zeros({1, 64})}},
                      nullptr,
                      nullptr};
  EXPECT_THAT(message([&](auto& l) { l.add_side(entries); }), HasSubstr("outliers"));
  EXPECT_THAT(message([&](auto& l) { l.add_side(low_rank); }), HasSubstr("low-rank"));
  EXPECT_THAT(message([](auto& l) { l.set_online_transform("hadamard"); }), HasSubstr("run time"));
  EXPECT_THAT(message([](auto& l) {
                l.set_part("scales", at::ones({4, 1}));
              }),
              HasSubstr("scales is [4, 1]"));
  EXPECT_THAT(message([](auto& l) {
                ActivationQuantizer input = activation(
                    R"({"granularity": "tensor", "dynamic": false, "symmetric": false})");
                input.levels.at("zeros").fill_(0.5);
                l.set_activation(input);
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

}  // namespace
}  // namespace swage
