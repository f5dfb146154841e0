// What engines refuse, by the profiles that Swage brings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/catalog/catalog.h"
#include "core/serve/check_served.h"
#include "core/serve/engine_search.h"
#include "core/serve/rule_fit.h"
#include "swage/builtin_formats.h"

namespace swage {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string engines_folder() {
  return std::string(std::getenv("SWAGE_SOURCE_DIR")) + "/backends/engines";
}

const Formats& formats() {
  static const auto* const all = new Formats(Catalog::scan({}));
  return *all;
}

EngineProfile engine(const std::string& name) {
  auto profile = find_engine(name, {engines_folder()}, &formats());
  EXPECT_TRUE(profile.ok()) << profile.status();
  return profile.ok() ? *std::move(profile) : EngineProfile{};
}

// A scheme as a pipeline file states it, with all defaults.
Scheme scheme(const std::string& table, Value::Table keys) {
  std::vector<SchemeProblem> problems;
  const std::string format = Value(keys).str("format", "int");
  Scheme base;
  base.format = "";
  keys["format"] = format;
  Scheme made = read_scheme(formats(), table, Value(std::move(keys)), base, &problems);
  EXPECT_THAT(problems, IsEmpty());
  return made;
}

struct Plan {
  Value::Table weight = {{"bits", 4}};
  Value::Table activation = {};  // empty: none
};

ServedLinear linear(const std::string& name, int64_t out, int64_t in, const Plan& plan) {
  ServedLinear made;
  made.name = name;
  made.out = out;
  made.in = in;
  made.weight = scheme("weight", plan.weight);
  made.text = made.form = to_json(to_value(made.weight), -1);
  if (!plan.activation.empty()) {
    made.activation = scheme("activation", plan.activation);
    absl::StrAppend(&made.form, to_json(to_value(*made.activation), -1));
  }
  made.scale_type = "bf16";
  const Value keys(made.weight.keys);
  made.columns_together = keys.i64("group", keys.i64("block_columns", 1));
  if (made.weight.format == "nvfp4") made.columns_together = 16;
  if (made.weight.format.rfind("mxfp", 0) == 0) made.columns_together = 32;
  made.rows_together = keys.i64("block_rows", 1);
  return made;
}

// One layer of a model of width 1024 with 16 heads and 8 of keys, and an MLP of 4096.
ServedModel dense(const Plan& plan) {
  ServedModel model;
  model.heads = 16;
  model.kv_heads = 8;
  const std::string layer = "model.layers.0.";
  for (const auto& [name, out, in] :
       {std::tuple("self_attn.q_proj", 1024, 1024), std::tuple("self_attn.k_proj", 512, 1024),
        std::tuple("self_attn.v_proj", 512, 1024), std::tuple("self_attn.o_proj", 1024, 1024),
        std::tuple("mlp.gate_proj", 4096, 1024), std::tuple("mlp.up_proj", 4096, 1024),
        std::tuple("mlp.down_proj", 1024, 4096)})
    model.linears.push_back(linear(layer + name, out, in, plan));
  return model;
}

ServedModel experts(const Plan& plan) {
  ServedModel model;
  for (const char* expert : {"0", "1"}) {
    for (const char* word : {"gate_proj", "up_proj", "down_proj"})
      model.linears.push_back(
          linear(absl::StrCat("model.layers.0.mlp.experts.", expert, ".", word), 1024, 1024, plan));
  }
  return model;
}

ServedLinear& one(ServedModel& model, const std::string& word) {
  for (ServedLinear& candidate : model.linears) {
    if (candidate.name.substr(candidate.name.rfind('.') + 1) == word) return candidate;
  }
  ADD_FAILURE() << word;
  return model.linears.front();
}

std::vector<std::string> problems(const std::string& profile, const std::string& use,
                                  const ServedModel& model, int64_t devices = 1,
                                  const std::string& device = "") {
  Serving serving;
  serving.tensor_parallel = devices;
  if (!device.empty()) serving.device = *parse_device(device);
  return check_served(engine(profile), use, model, serving);
}

bool serves(const std::string& profile, const std::string& use, const Plan& plan,
            const std::string& device = "") {
  return problems(profile, use, dense(plan), 1, device).empty();
}

Value::Table integers(int64_t bits, bool symmetric = true, int64_t group = 128) {
  return {{"bits", bits}, {"symmetric", symmetric}, {"group", group}};
}
Value::Table fp8(const char* granularity, bool shared = false) {
  Value::Table keys = {{"format", "fp8-e4m3"}, {"granularity", granularity}};
  if (shared) keys["share"] = "fused";
  return keys;
}
Value::Table of(const char* format) { return {{"format", format}}; }

const Value::Table kTokens = {{"bits", 8}};
const Value::Table kStatic = {{"bits", 8}, {"granularity", "tensor"}, {"dynamic", false}};
const Value::Table kFp8Tokens = {{"format", "fp8-e4m3"}};
const Value::Table kFp8Static = {
    {"format", "fp8-e4m3"}, {"granularity", "tensor"}, {"dynamic", false}};
const Value::Table kFp8Groups = {{"format", "fp8-e4m3"}, {"granularity", "group"}, {"group", 128}};

TEST(EngineProfiles, AllAreValid) {
  EXPECT_THAT(engine_names({engines_folder()}),
              ElementsAre("lightllm", "llama.cpp", "lmdeploy", "mlc", "mlx", "sglang-0.5",
                          "tensorrt-llm-1", "transformers-5.23", "vllm-0.32", "vllm-0.33"));
  for (const std::string& name : engine_names({engines_folder()})) {
    const EngineProfile profile = engine(name);
    EXPECT_EQ(profile.name, name);
    EXPECT_THAT(describe(profile), HasSubstr(profile.summary));
  }
}

TEST(ServedByVllm33, IntegersOf2To8BitsWithOrWithoutZeroPoints) {
  for (const int64_t bits : {2, 3, 4, 5, 6, 7, 8}) {
    for (const bool symmetric : {true, false})
      EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {integers(bits, symmetric)})) << bits;
  }
  EXPECT_TRUE(
      serves("vllm-0.33", "compressed-tensors", {{{"bits", 4}, {"granularity", "channel"}}}));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors",
                       dense({{{"bits", 4}, {"granularity", "tensor"}}})),
              ElementsAre(AllOf(HasSubstr("model.layers.0.self_attn.q_proj (and 6 more) is"),
                                HasSubstr("(granularity = \"tensor\")"),
                                HasSubstr("granularity channel or group"),
                                HasSubstr("write weight = { granularity = \"channel\" }"))));
}

TEST(ServedByVllm33, NeedsComputeCapability75ForThem) {
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {integers(3)}, "sm75"));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", dense({integers(3)}), 1, "sm70"),
              ElementsAre(AllOf(HasSubstr("device \"sm70\""), HasSubstr("sm75+"))));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", dense({integers(3)}), 1, "cpu"),
              ElementsAre(AllOf(HasSubstr("bits = 3"), HasSubstr("write weight = { bits = 4 }"))));
}

TEST(ServedByVllm33, ADeviceThatNoRuleKnowsIsRefused) {
  EXPECT_THAT(problems("vllm-0.33", "gptq", dense({integers(4)}), 1, "gfx942"),
              ElementsAre(AllOf(HasSubstr("device = \"gfx942\""), HasSubstr("cpu, sm75+"))));
  // Without a device its cards are meant: on CPUs groups of 256 do.
  EXPECT_TRUE(serves("vllm-0.33", "gptq", {integers(4, true, 256)}, "cpu"));
}

TEST(ServedByVllm33, PackedWeightsTakeDynamicSymmetricInputsOf8Or4Bits) {
  for (const int64_t bits : {8, 4}) {
    EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {integers(4), {{"bits", bits}}}));
    EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors",
                       {integers(4), {{"bits", bits}, {"granularity", "group"}}}));
  }
  const auto refused = [](const Value::Table& activation, const Value::Table& weight) {
    return problems("vllm-0.33", "compressed-tensors", dense({weight, activation}));
  };
  EXPECT_THAT(refused(kStatic, integers(4)), ElementsAre(HasSubstr("dynamic = false")));
  EXPECT_THAT(refused({{"granularity", "tensor"}}, integers(4)),
              ElementsAre(HasSubstr("granularity = \"tensor\"")));
  EXPECT_THAT(refused({{"symmetric", false}}, integers(4)),
              ElementsAre(HasSubstr("write activation = { symmetric = true }")));
  EXPECT_THAT(refused({{"bits", 6}}, integers(4)), ElementsAre(HasSubstr("inputs with bits = 6")));
  EXPECT_THAT(refused(kTokens, integers(4, false)), ElementsAre(HasSubstr("symmetric = false")));
}

TEST(ServedByVllm33, Int8) {
  const Value::Table rows = {{"bits", 8}, {"granularity", "channel"}};
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {rows, kTokens}));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {rows, kStatic}));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {rows, {{"symmetric", false}}}));
  EXPECT_FALSE(serves("vllm-0.33", "compressed-tensors", {integers(8), kTokens}));
  EXPECT_FALSE(serves("vllm-0.33", "compressed-tensors",
                      {{{"bits", 8}, {"granularity", "channel"}, {"symmetric", false}}, kTokens}));
}

TEST(ServedByVllm33, Fp8ByTheCard) {
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {fp8("channel"), kFp8Tokens}, "sm89"));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {fp8("channel")}, "sm80"));
  EXPECT_THAT(
      problems("vllm-0.33", "compressed-tensors", dense({fp8("channel"), kFp8Tokens}), 1, "sm80"),
      ElementsAre(AllOf(HasSubstr("device \"sm80\""), HasSubstr("sm89+"))));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {fp8("tensor", true), kFp8Static}));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", dense({fp8("tensor"), kFp8Static})),
              ElementsAre(AllOf(HasSubstr("model.layers.0.self_attn.q_proj (and 4 more)"),
                                HasSubstr("write weight = { granularity = \"channel\" }"))));
}

TEST(ServedByVllm33, Fp8Blocks) {
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {fp8("block"), kFp8Groups}));
  EXPECT_FALSE(serves("vllm-0.33", "compressed-tensors", {fp8("block"), kFp8Static}));
  ServedModel model = dense({fp8("block"), kFp8Groups});
  one(model, "k_proj").out = 192;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(AllOf(HasSubstr("k_proj has 192 outputs and is computed in one matrix"),
                                HasSubstr("blocks of 128 rows"))));
  one(model, "k_proj").out = 512;
  one(model, "down_proj").out = 192;  // alone: its last block is cut
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
}

TEST(ServedByVllm33, FloatsOf4Bits) {
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors",
                     {of("nvfp4"), {{"format", "nvfp4"}, {"dynamic", false}}}, "sm75"));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {of("nvfp4")}, "sm75"));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors",
                       dense({{{"format", "nvfp4"}, {"share", "none"}}})),
              ElementsAre(HasSubstr("share = \"fused\"")));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {of("mxfp4"), of("mxfp4")}, "sm80"));
  EXPECT_FALSE(serves("vllm-0.33", "compressed-tensors", {of("mxfp4")}, "sm75"));
  EXPECT_TRUE(serves("vllm-0.33", "compressed-tensors", {of("mxfp8"), of("mxfp8")}));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", dense({of("mxfp6")})),
              ElementsAre(HasSubstr("format = \"mxfp6\"")));
}

TEST(ServedByVllm33, GptqIsSymmetricOf4Or8BitsWithoutActOrder) {
  EXPECT_TRUE(serves("vllm-0.33", "gptq", {integers(4)}));
  EXPECT_TRUE(serves("vllm-0.33", "gptq", {integers(8)}));
  for (const int64_t bits : {2, 3, 5, 6, 7})
    EXPECT_FALSE(serves("vllm-0.33", "gptq", {integers(bits)}));
  EXPECT_THAT(
      problems("vllm-0.33", "gptq", dense({integers(3)})),
      ElementsAre(AllOf(HasSubstr("bits 4 or 8"), HasSubstr("write weight = { bits = 4 }"))));
  EXPECT_THAT(problems("vllm-0.33", "gptq", dense({integers(4, false)})),
              ElementsAre(HasSubstr("write weight = { symmetric = true }")));
  EXPECT_THAT(problems("vllm-0.33", "gptq", dense({integers(4, true, 256)})),
              ElementsAre(AllOf(HasSubstr("group = 256"), HasSubstr("group 32, 64 or 128"),
                                HasSubstr("write weight = { group = 128 }"))));
  ServedModel model = dense({integers(4)});
  one(model, "o_proj").act_order = true;
  EXPECT_THAT(problems("vllm-0.33", "gptq", model),
              ElementsAre(AllOf(HasSubstr("o_proj has groups"), HasSubstr("act-order"))));
}

TEST(ServedByVllm33, WhatLeftItsCore) {
  for (const char* use : {"gguf", "bitsandbytes", "hqq"}) {
    EXPECT_THAT(problems("vllm-0.33", use, dense({})),
                ElementsAre(AllOf(HasSubstr("left the core"), HasSubstr("compressed-tensors"))));
  }
  EXPECT_THAT(problems("vllm-0.33", "mlx", dense({})),
              ElementsAre(HasSubstr("as far as is known")));
  EXPECT_THAT(problems("vllm-0.33", "huggingface", dense({integers(7, false, 96)})), IsEmpty());
}

TEST(ServedByVllm33, NeitherMasksNorSidesAndTransformsOnOneDeviceOnly) {
  ServedModel model = dense({integers(4)});
  one(model, "up_proj").mask = true;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), ElementsAre(HasSubstr("a mask")));
  one(model, "up_proj").mask = false;
  one(model, "down_proj").sides = true;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(HasSubstr("outliers")));
  one(model, "down_proj").sides = false;
  one(model, "down_proj").transform = true;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 2),
              ElementsAre(HasSubstr("tensor_parallel = 1")));
  EXPECT_THAT(problems("vllm-0.33", "gptq", model), ElementsAre(HasSubstr("at run time")));
}

TEST(ServedByVllm33, SchemesOfTheCache) {
  ServedModel model = dense({integers(4)});
  for (const char* granularity : {"tensor", "head"}) {
    model.kv = Scheme{"fp8-e4m3", {{"granularity", granularity}}};
    EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
  }
  model.kv = Scheme{"fp8-e4m3", {{"granularity", "token"}}};
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(HasSubstr("granularity tensor or head")));
  model.kv = Scheme{"int", {{"bits", 8}, {"granularity", "tensor"}}};
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(HasSubstr("cache of keys and values")));
  EXPECT_THAT(problems("vllm-0.33", "gptq", model), ElementsAre(HasSubstr("reads no scales")));
}

TEST(ServedByVllm33, JoinedMatricesHaveOneScheme) {
  ServedModel model = dense({integers(4)});
  one(model, "k_proj") = linear(one(model, "k_proj").name, 512, 1024, {integers(8)});
  EXPECT_THAT(
      problems("vllm-0.33", "compressed-tensors", model),
      ElementsAre(AllOf(HasSubstr("k_proj is"), HasSubstr("q_proj is"), HasSubstr("one matrix"))));
  model = dense({integers(4)});
  one(model, "up_proj").kept = true;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(AllOf(HasSubstr("up_proj is kept in floats"), HasSubstr("gate_proj"))));
  one(model, "gate_proj").kept = true;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
  one(model, "down_proj") = linear(one(model, "down_proj").name, 1024, 4096, {integers(8)});
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
}

TEST(ServedByVllm33, ExpertsOfALayerHaveOneScheme) {
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", experts({integers(4)})), IsEmpty());
  ServedModel model = experts({integers(4)});
  model.linears.back().kept = true;
  EXPECT_THAT(
      problems("vllm-0.33", "compressed-tensors", model),
      ElementsAre(AllOf(HasSubstr("experts.1.down_proj is kept"), HasSubstr("as experts"))));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", experts({fp8("channel")})),
              ElementsAre(HasSubstr("(and 5 more)")));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", experts({fp8("channel"), kFp8Tokens})),
              IsEmpty());
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", experts({integers(4), kTokens})),
              ElementsAre(AllOf(HasSubstr("(and 5 more)"), HasSubstr("the nearest"))));
}

TEST(ServedByVllm33, RoutersHeadsAndEmbeddingsStayInFloats) {
  ServedModel model = experts({integers(4)});
  model.linears.push_back(linear("model.layers.0.mlp.gate", 8, 1024, {integers(4)}));
  EXPECT_THAT(
      problems("vllm-0.33", "compressed-tensors", model),
      ElementsAre(AllOf(HasSubstr("mlp.gate must stay in floats"), HasSubstr("keep = true"))));
  model = dense({integers(4)});
  model.linears.push_back(linear("lm_head", 32000, 1024, {integers(4)}));
  model.linears.back().is_head = true;
  EXPECT_THAT(problems("vllm-0.33", "gptq", model),
              ElementsAre(AllOf(HasSubstr("lm_head is"), HasSubstr("kind head"))));
}

TEST(ServedByVllm33, ScalesAreCopiedIntoTheDtypeOfTheModel) {
  ServedModel model = dense({integers(4)});
  for (ServedLinear& linear : model.linears) linear.scale_type = "fp32";
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model),
              ElementsAre(HasSubstr("write weight = { scale_dtype = \"bf16\" }")));
}

TEST(TensorParallel, LeavesGroupsWhole) {
  ServedModel model = dense({integers(4)});
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 8), IsEmpty());
  one(model, "down_proj").in = 1280;  // 10 groups
  EXPECT_THAT(
      problems("vllm-0.33", "compressed-tensors", model, 8),
      ElementsAre(AllOf(HasSubstr("down_proj has 160 inputs on each of 8 devices"),
                        HasSubstr("groups of 128"), HasSubstr("tensor_parallel = 2 would do"),
                        HasSubstr("smaller group"))));
  one(model, "down_proj").in = 1284;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 8),
              ElementsAre(HasSubstr("cannot share evenly")));
}

TEST(TensorParallel, LeavesBlocksWhole) {
  ServedModel model = dense({fp8("block"), kFp8Groups});
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 4), IsEmpty());
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 8),
              ElementsAre(AllOf(HasSubstr("k_proj (and 1 more) has 64 outputs on each of 8"),
                                HasSubstr("tensor_parallel = 4 would do"))));
}

TEST(TensorParallel, LeavesHeadsWholeAndRepeatsThoseOfKeys) {
  ServedModel model = dense({integers(4, true, 64)});
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 16),
              IsEmpty());  // 8 heads of keys
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 12),
              Contains(HasSubstr("does not divide the 16 heads")));
  model.kv_heads = 6;
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model, 4),
              Contains(HasSubstr("6 heads of keys")));
}

TEST(TensorParallel, WidthsAreThoseOfADevice) {
  const ServedModel model = dense({integers(4, true, 64)});
  EXPECT_THAT(problems("vllm-0.32", "gptq", model, 8), IsEmpty());
  EXPECT_THAT(problems("vllm-0.32", "gptq", model, 16),
              ElementsAre(AllOf(HasSubstr("o_proj is"), HasSubstr("64 inputs on one device"),
                                HasSubstr("multiple of 128"))));
}

TEST(TensorParallel, IsNotAskedOfAnEngineThatHasNone) {
  EXPECT_THAT(problems("llama.cpp", "gguf", dense({of("q4_k")}), 2),
              ElementsAre(HasSubstr("leave tensor_parallel out")));
}

TEST(ServedByVllm32, HasNoHumming) {
  EXPECT_TRUE(serves("vllm-0.32", "compressed-tensors", {integers(4, false)}));
  EXPECT_FALSE(serves("vllm-0.32", "compressed-tensors", {integers(3)}));
  EXPECT_FALSE(serves("vllm-0.32", "compressed-tensors", {integers(4), kTokens}));
  ServedModel model = dense({integers(4, true, 64)});
  one(model, "down_proj").in = 4032;
  EXPECT_THAT(problems("vllm-0.32", "compressed-tensors", model),
              ElementsAre(HasSubstr("multiple of 128 inputs")));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
}

TEST(ServedByOthers, AsTheirProfilesSay) {
  EXPECT_TRUE(serves("sglang-0.5", "gptq", {integers(3, false)}));
  EXPECT_FALSE(serves("sglang-0.5", "compressed-tensors", {integers(4, false)}));
  EXPECT_TRUE(
      serves("sglang-0.5", "modelopt", {of("nvfp4"), {{"format", "nvfp4"}, {"dynamic", false}}}));
  EXPECT_TRUE(serves("tensorrt-llm-1", "modelopt", {integers(4)}));
  EXPECT_FALSE(serves("tensorrt-llm-1", "modelopt", {integers(4, true, 64)}));
  EXPECT_FALSE(serves("tensorrt-llm-1", "compressed-tensors", {integers(4)}));
  EXPECT_TRUE(serves("llama.cpp", "gguf", {of("q4_k")}));
  EXPECT_TRUE(serves("llama.cpp", "gguf", {integers(4, true, 64)}));
  EXPECT_FALSE(serves("llama.cpp", "gguf", {of("q4_k"), kTokens}));
  EXPECT_FALSE(serves("llama.cpp", "compressed-tensors", {integers(4)}));
  EXPECT_TRUE(serves("mlx", "mlx", {integers(5, true, 64)}));
  EXPECT_FALSE(serves("mlx", "mlx", {integers(7, true, 64)}));
  EXPECT_TRUE(serves("lightllm", "fp8", {fp8("block"), kFp8Groups}));
  EXPECT_FALSE(serves("lightllm", "compressed-tensors", {integers(4)}));
}

TEST(ServedByTransformers, ExpertsHaveOneSchemeInTheWholeModel) {
  EXPECT_THAT(problems("transformers-5.23", "compressed-tensors", experts({integers(4)})),
              IsEmpty());
  EXPECT_THAT(problems("transformers-5.23", "compressed-tensors", experts({integers(4, false)})),
              ElementsAre(HasSubstr("symmetric = true")));
  EXPECT_THAT(problems("transformers-5.23", "compressed-tensors", experts({of("nvfp4")})),
              ElementsAre(HasSubstr("nvfp4")));
  ServedModel model = experts({integers(4)});
  model.linears.push_back(
      linear("model.layers.1.mlp.experts.0.up_proj", 1024, 1024, {integers(8)}));
  EXPECT_THAT(problems("transformers-5.23", "compressed-tensors", model),
              ElementsAre(HasSubstr("as experts")));
  EXPECT_THAT(problems("vllm-0.33", "compressed-tensors", model), IsEmpty());
  EXPECT_THAT(problems("transformers-5.23", "modelopt", model),
              ElementsAre(HasSubstr("without scales")));
}

TEST(ServedByTransformers, GptqMayHaveActOrder) {
  ServedModel model = dense({integers(4)});
  one(model, "o_proj").act_order = true;
  EXPECT_THAT(problems("transformers-5.23", "gptq", model), IsEmpty());
}

TEST(ServedByMlc, TakesAwqOfTheWholeModel) {
  ServedModel model = dense({integers(4)});
  EXPECT_THAT(problems("mlc", "awq", model), IsEmpty());
  one(model, "down_proj").kept = true;
  EXPECT_THAT(problems("mlc", "awq", model),
              ElementsAre(HasSubstr("down_proj is kept in floats, but all linears")));
}

TEST(ServedByLmdeploy, TakesOneSchemeWithScalesInFp16) {
  ServedModel model = dense({integers(4)});
  EXPECT_THAT(problems("lmdeploy", "compressed-tensors", model),
              ElementsAre(HasSubstr("scale_dtype = \"fp16\"")));
  for (ServedLinear& linear : model.linears) linear.scale_type = "fp16";
  EXPECT_THAT(problems("lmdeploy", "compressed-tensors", model), IsEmpty());
  one(model, "down_proj") =
      linear(one(model, "down_proj").name, 1024, 4096, {integers(4, true, 32)});
  one(model, "down_proj").scale_type = "fp16";
  EXPECT_THAT(problems("lmdeploy", "compressed-tensors", model),
              ElementsAre(HasSubstr("one scheme for all")));
}

TEST(Devices, HaveFamiliesAndNumbers) {
  EXPECT_TRUE(parse_device_range("sm75+")->covers(*parse_device("sm120")));
  EXPECT_FALSE(parse_device_range("sm75+")->covers(*parse_device("sm70")));
  EXPECT_FALSE(parse_device_range("sm75+")->covers(*parse_device("gfx942")));
  EXPECT_FALSE(parse_device_range("sm80-sm88")->covers(*parse_device("sm89")));
  EXPECT_TRUE(parse_device_range("sm80-sm88")->covers(*parse_device("sm86")));
  EXPECT_TRUE(parse_device_range("cpu")->covers(*parse_device("cpu")));
  for (const char* wrong : {"", "90", "SM90", "sm90a", "sm9999999", "sm 90"})
    EXPECT_FALSE(parse_device(wrong).ok()) << wrong;
  for (const char* wrong : {"+", "cpu+", "sm90-sm80", "sm80-gfx90", "sm80-", "-"})
    EXPECT_FALSE(parse_device_range(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace swage
