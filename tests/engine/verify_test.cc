// `swage verify` of checkpoints, whoever made them.
#include <gmock/gmock.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class VerifyCheckpoint : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    ASSERT_OK(
        run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group "
            "= 32 }\n[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"));
  }
  // As another tool would have left it.
  static void forget_swage() {
    for (const char* file : {"swage.json", "swage_export.json", "swage_verdict.json"})
      fs::remove(fs::path("packed") / file);
  }
  static void change(const std::string& name, const std::function<void(at::Tensor&)>& how) {
    std::map<std::string, at::Tensor> tensors;
    {
      const auto source = must(io::open_safetensors({"packed/model.safetensors"}));
      for (const std::string& one : source->names()) tensors[one] = must(source->read(one));
    }
    ASSERT_EQ(tensors.count(name), 1U) << name;
    how(tensors.at(name));
    ASSERT_OK(io::write_safetensors("packed/model.safetensors", {tensors.begin(), tensors.end()}));
  }
  void expect_found(const std::string& said) {
    const Answer answer = swage({"verify", "packed", "--against", "model"});
    EXPECT_EQ(answer.code, 6) << answer.out << answer.err;
    EXPECT_THAT(answer.err, HasSubstr(said));
  }
};

TEST_F(VerifyCheckpoint, TellsWhatItFound) {
  const std::string text = data("evaluation.txt").string();
  const Answer answer = swage({"verify", "packed", "--against", "model", "--text", text});
  ASSERT_EQ(answer.code, 0) << answer.err;
  for (const char* said : {"14 decode", "tensors equal", "worst", "perplexity"})
    EXPECT_THAT(answer.out, HasSubstr(said));
  const Answer json = swage({"verify", "packed", "--against", "model", "--json"});
  const Value value = must(parse_json(json.out, "out"));
  EXPECT_TRUE(value.flag("ok", false));
  EXPECT_EQ(value.i64("linears_compressed", 0), 14);
  EXPECT_GT(value["against"].f64("worst_error", 0), 0.01);
  EXPECT_LT(value["against"].f64("worst_error", 1), 0.5);
  EXPECT_THAT(value["against"].str("worst", ""), HasSubstr("_proj"));
}

TEST_F(VerifyCheckpoint, PerplexityIsThatOfEval) {
  const std::string text = data("evaluation.txt").string();
  const Answer json = swage({"verify", "packed", "--text", text, "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  std::ostringstream toml;
  toml << "[[evaluate]]\nuse = \"perplexity\"\nsource = " << data("evaluation.txt") << "\n";
  ASSERT_OK(eval("packed", toml.str()));
  EXPECT_EQ(must(parse_json(json.out, "out"))["metrics"]["perplexity"],
            result()["metrics"]["perplexity"]["checkpoint"]["perplexity"]);
}

TEST_F(VerifyCheckpoint, ModelsInFloatsHoldToo) {
  EXPECT_EQ(swage({"verify", "model", "--against", "model"}).code, 0);
}

TEST_F(VerifyCheckpoint, FilesOfSwageHaveTheBytesThatItWrote) {
  std::ofstream("packed/tokenizer.json", std::ios::app) << " ";
  const Answer answer = swage({"verify", "packed"});
  EXPECT_EQ(answer.code, 6);
  EXPECT_THAT(answer.err, HasSubstr("tokenizer.json: holds other bytes than swage wrote"));
  const Value value = must(parse_json(swage({"verify", "packed", "--json"}).out, "out"));
  EXPECT_FALSE(value.flag("ok", true));
  EXPECT_EQ(value.i64("exit_code", 0), 6);
  EXPECT_EQ(value["problems"].list()->size(), 1U);
}

TEST_F(VerifyCheckpoint, WhatWasKeptIsTheOriginals) {
  forget_swage();
  ASSERT_EQ(swage({"verify", "packed", "--against", "model"}).code, 0);
  change("model.norm.weight", [](at::Tensor& norm) { norm[3] = norm[3] + 1; });
  expect_found("model.norm.weight: holds other values");
}

TEST_F(VerifyCheckpoint, ScalesAndValuesAreOnesThatCompute) {
  forget_swage();
  const std::string scale = "model.layers.0.mlp.up_proj.weight_scale";
  change(scale, [](at::Tensor& scales) { scales[1][0] = 0; });
  expect_found("model.layers.0.mlp.up_proj: a scale of 0 lies over codes that are not 0");
  change(scale, [](at::Tensor& scales) { scales[1][0] = NAN; });
  expect_found("model.layers.0.mlp.up_proj");
  change(scale, [](at::Tensor& scales) { scales[1][0] = 1; });
  change("model.layers.1.input_layernorm.weight", [](at::Tensor& norm) { norm[0] = INFINITY; });
  expect_found("model.layers.1.input_layernorm.weight holds infinity");
}

TEST_F(VerifyCheckpoint, ConfigIsTheOriginals) {
  forget_swage();
  Value config = must(parse_json(read_text("packed/config.json"), "config.json"));
  (*config.table())["transformers_version"] = "9.9.9";
  (*config.table())["rope_theta"] = 12345.0;
  std::ofstream("packed/config.json") << to_json(config);
  expect_found("config.json: rope_theta");
  const Answer answer = swage({"verify", "packed", "--against", "model"});
  EXPECT_THAT(answer.err, Not(HasSubstr("transformers_version")));
}

TEST_F(VerifyCheckpoint, JoinedLinearsOfUnlikeSchemesAreToldOf) {
  fs::remove_all("packed");
  fs::remove_all(work_);
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = "
          "32 }\n[[step.override]]\nmatch = \"*.k_proj\"\nweight = { bits = 8 }\n"
          "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"));
  const Answer answer = swage({"verify", "packed"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("engines that join such matrices refuse unlike schemes"));
}

// config.json is compared with the one that lies beside the file, not with what its metadata make.
TEST_F(VerifyCheckpoint, AGgufFileIsTheModelThatItWasMadeOf) {
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { format = \"q8_0\" }\n"
          "[[export]]\nuse = \"gguf\"\npath = \"gguf\"\n[run]\nwork = \"gguf-work\"\n"));
  const Answer answer = swage({"verify", "gguf", "--against", "model"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  Value config = must(parse_json(read_text("gguf/config.json"), "config.json"));
  (*config.table())["rope_theta"] = 123.0;
  std::ofstream("gguf/config.json") << to_json(config);
  fs::remove("gguf/swage_export.json");
  const Answer other = swage({"verify", "gguf", "--against", "model"});
  EXPECT_EQ(other.code, 6) << other.out;
  EXPECT_THAT(other.err, HasSubstr("rope_theta"));
}

TEST_F(VerifyCheckpoint, AnEngineLoadsItOrSaysWhyNot) {
  const Answer refused = swage({"verify", "packed", "--serve", "vllm-0.33", "--device", "sm90"});
  EXPECT_EQ(refused.code, 6) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("packed: vLLM 0.33: model.layers.0"));
  EXPECT_THAT(refused.err, HasSubstr("(scales in fp32)"));
  EXPECT_THAT(refused.out, HasSubstr("vllm-0.33 refuses it"));
  for (const char* folder : {"packed", "runs"}) fs::remove_all(folder);
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group "
          "= 32, scale_dtype = \"bf16\" }\n[[export]]\nuse = \"compressed-tensors\"\n"
          "path = \"packed\"\n"));
  const Answer good = swage({"verify", "packed", "--serve", "vllm-0.33", "--device", "sm90"});
  EXPECT_EQ(good.code, 0) << good.err;
  EXPECT_THAT(good.out, HasSubstr("vllm-0.33 takes these"));
  EXPECT_THAT(swage({"verify", "model", "--serve", "vllm-0.33"}).out, HasSubstr("holds floats"));
  const Answer cut = swage({"verify", "packed", "--serve", "vllm-0.33", "--tensor-parallel", "64"});
  EXPECT_EQ(cut.code, 6) << cut.out;
  EXPECT_THAT(cut.err, HasSubstr("64"));
  const Answer other = swage({"verify", "packed", "--serve", "llama.cpp", "--json"});
  EXPECT_EQ(other.code, 6) << other.err;
  EXPECT_FALSE(must(parse_json(other.out, "out")).flag("served", true));
  EXPECT_TRUE(
      must(parse_json(swage({"verify", "packed", "--json"}).out, "out"))["serve"].is_null());
}

TEST_F(VerifyCheckpoint, MistakesOnTheCommandLine) {
  EXPECT_EQ(swage({"verify", "packed", "--serve", "vlm"}).code, 2);
  EXPECT_EQ(swage({"verify", "packed", "--device", "cpu"}).code, 2);
  EXPECT_EQ(swage({"verify", "nothing"}).code, 4);
  EXPECT_EQ(swage({"verify", "packed", "--against", "nothing"}).code, 4);
  EXPECT_EQ(swage({"verify", work_, "--against", "model"}).code, 2);
}

}  // namespace
}  // namespace swage::testing_support
