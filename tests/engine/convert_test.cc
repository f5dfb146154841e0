// Runs that start from a compressed checkpoint, and `swage convert`, which is one.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";

class Convert : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    ASSERT_OK(compress("bits = 4, group = 32"));
  }
  absl::Status compress(const std::string& scheme) {
    fs::remove_all("packed");
    fs::remove_all("first");
    return run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { " + scheme + " }\n" +
               kPacked + "[run]\nwork = \"first\"\n");
  }
  static std::map<std::string, at::Tensor> tensors_of(const std::string& folder) {
    const auto source = must(io::open_safetensors({folder + "/model.safetensors"}));
    std::map<std::string, at::Tensor> tensors;
    for (const std::string& name : source->names()) tensors[name] = must(source->read(name));
    return tensors;
  }
  static void expect_equal(const std::string& a, const std::string& b) {
    const auto left = tensors_of(a), right = tensors_of(b);
    ASSERT_EQ(left.size(), right.size());
    for (const auto& [name, tensor] : left) {
      ASSERT_EQ(right.count(name), 1U) << name;
      EXPECT_EQ(digest(tensor), digest(right.at(name))) << name;
    }
  }
  const Value linear(const std::string& name) const {
    const Value all = result();
    for (const Value& one : *all["linears"].list())
      if (one.str("name", "") == name) return one;
    return {};
  }
};

TEST_F(Convert, ACompressedModelIsRefusedUnlessItIsAskedFor) {
  const absl::Status status =
      run("[model]\npath = \"packed\"\n[[export]]\nuse = \"huggingface\"\n"
          "path = \"out\"\n");
  EXPECT_EQ(exit_code(status), 4) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("start = \"decoded\""));
  EXPECT_FALSE(fs::exists("runs"));
}

TEST_F(Convert, LinearsThatNoStepNamesKeepTheirCodes) {
  ASSERT_OK(
      run("[model]\npath = \"packed\"\nstart = \"decoded\"\n[[step]]\nuse = \"rtn\"\n"
          "match = [\"*.down_proj\"]\nweight = { bits = 3, group = 32 }\n"
          "[[export]]\nuse = \"compressed-tensors\"\npath = \"out\"\n"));
  const auto before = tensors_of("packed"), after = tensors_of("out");
  for (const auto& [name, tensor] : before) {
    const bool anew = name.find("down_proj") != std::string::npos;
    ASSERT_EQ(after.count(name), 1U) << name;
    if (!anew) {
      EXPECT_EQ(digest(after.at(name)), digest(tensor)) << name;
    }
  }
  EXPECT_THAT(linear("model.layers.0.self_attn.q_proj").str("provenance", ""),
              HasSubstr("as the checkpoint holds it"));
  EXPECT_THAT(linear("model.layers.0.mlp.down_proj").str("provenance", ""), HasSubstr("rtn"));
  EXPECT_GT(linear("model.layers.0.mlp.down_proj").f64("error", 0), 0.01);
  EXPECT_THAT(to_json(result()["notes"]), HasSubstr("2 of its linears are compressed anew, 12"));
}

// What it decodes to is what a step works on: rounding to the same grid changes nothing.
TEST_F(Convert, StepsWorkOnWhatItDecodesTo) {
  const std::string rest = pipeline(
      "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n"
      "[[export]]\nuse = \"compressed-tensors\"\npath = \"out\"\n" +
      perplexity());
  ASSERT_OK(run(rest, {"model.path=packed", "model.start=decoded"}));
  const Value metrics = result()["metrics"]["perplexity"];
  EXPECT_GT(metrics["compressed"].f64("perplexity", 0), 1);
  ASSERT_OK(eval("packed", perplexity()));
  EXPECT_EQ(result()["metrics"]["perplexity"]["original"], metrics["original"]);
}

TEST_F(Convert, AFormatOfTheSameGridsHoldsTheSame) {
  const Answer answer =
      swage({"convert", "packed", "--to", "compressed-tensors", "--out", "again"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  expect_equal("packed", "again");
  EXPECT_TRUE(fs::exists("runs/convert-again/result.json"));
  EXPECT_THAT(swage({"convert", "packed", "--to", "compressed-tensors", "--out", "again"}).err,
              HasSubstr("again"));
}

TEST_F(Convert, FloatsOfWhatItDecodesTo) {
  ASSERT_EQ(swage({"convert", "packed", "--to", "huggingface", "--set", "dtype=fp32"}).code, 0);
  const Answer answer = swage({"verify", "packed-huggingface", "--against", "packed"});
  EXPECT_EQ(answer.code, 0) << answer.err;
}

TEST_F(Convert, EveryReaderOfIntegersGetsTheSameCodes) {
  ASSERT_OK(compress("bits = 4, group = 32, scale_dtype = \"fp16\""));
  ASSERT_EQ(swage({"convert", "packed", "--to", "huggingface", "--out", "dense"}).code, 0);
  int64_t formats = 0;
  for (const Catalog::Found& found : built_plugins().components("exporter")) {
    const std::string& name = found.component->name;
    SCOPED_TRACE(name);
    if (found.component->quant_method.empty() || name == "compressed-tensors") continue;
    const Answer there = swage({"convert", "packed", "--to", name, "--out", "there"});
    if (there.code == 3) {  // it has no such grid
      EXPECT_THAT(there.err, HasSubstr("`--requantize SCHEME`"));
      continue;
    }
    ASSERT_EQ(there.code, 0) << there.err;
    if (!fs::exists("there/config.json")) continue;
    ++formats;
    const Answer back = swage({"convert", "there", "--to", "huggingface", "--out", "back"});
    ASSERT_EQ(back.code, 0) << back.err;
    const auto dense = tensors_of("dense"), now = tensors_of("back");
    for (const auto& [tensor, values] : dense) {
      ASSERT_EQ(now.count(tensor), 1U) << tensor;
      // Some formats keep all floats in fp16.
      const at::Tensor& found = now.at(tensor);
      EXPECT_TRUE(found.to(at::kFloat).equal(values.to(found.scalar_type()).to(at::kFloat)))
          << tensor;
    }
    for (const char* folder : {"there", "back", "runs"}) fs::remove_all(folder);
  }
  RecordProperty("formats", static_cast<int>(formats));
}

TEST_F(Convert, ADamagedCheckpointIsRefused) {
  Value config = must(parse_json(read_text("packed/config.json"), "config.json"));
  const auto set = [&](const char* key, Value value) {
    Value& group = config.table()
                       ->at("quantization_config")
                       .table()
                       ->at("config_groups")
                       .table()
                       ->at("group_0");
    (*group.table()->at("weights").table())[key] = std::move(value);
    std::ofstream("packed/config.json") << to_json(config);
  };
  set("group_size", Value(int64_t{24}));
  const Answer damaged = swage({"convert", "packed", "--to", "compressed-tensors", "--out", "out"});
  EXPECT_EQ(damaged.code, 4) << damaged.err;
  EXPECT_FALSE(fs::exists("out"));
}

TEST_F(Convert, FloatsAreRoundedWhenAskedFor) {
  const Answer refused = swage({"convert", "model", "--to", "compressed-tensors"});
  EXPECT_EQ(refused.code, 4);
  EXPECT_THAT(refused.err, HasSubstr("--requantize SCHEME"));
  EXPECT_FALSE(fs::exists("runs"));
  const Answer made = swage({"convert", "model", "--to", "compressed-tensors", "--requantize",
                             "bits = 4, group = 32", "--out", "made"});
  ASSERT_EQ(made.code, 0) << made.err;
  expect_equal("packed", "made");
  const Answer anew = swage({"convert", "packed", "--to", "compressed-tensors", "--requantize",
                             "nvfp4", "--out", "anew"});
  ASSERT_EQ(anew.code, 0) << anew.err;
  EXPECT_THAT(read_text("anew/config.json"), HasSubstr("nvfp4-pack-quantized"));
}

TEST_F(Convert, MistakesCostNothing) {
  EXPECT_EQ(swage({"convert", "packed"}).code, 2);
  EXPECT_THAT(swage({"convert", "packed", "--to", "compressed-tensor"}).err,
              HasSubstr("compressed-tensors"));
  EXPECT_EQ(swage({"convert", "nothing", "--to", "huggingface"}).code, 4);
  EXPECT_EQ(swage({"convert", "packed", "--to", "huggingface", "--set", "bits=4"}).code, 3);
  EXPECT_FALSE(fs::exists("runs"));
  EXPECT_FALSE(fs::exists("packed-huggingface"));
}

}  // namespace
}  // namespace swage::testing_support
