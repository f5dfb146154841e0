// `swage check` goes the way of `swage run` up to the first byte that a run writes.
#include <gmock/gmock.h>

#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

class CheckTest : public CommandTest {
 protected:
  // What `check` answers; `run` gives the same code, and the same message where there is one.
  Answer both(const std::string& steps, const std::string& model = "model") {
    std::ofstream("pipeline.toml")
        << pipeline(steps + "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n");
    const std::vector<std::string> rest = {"pipeline.toml", "--set", "model.path=" + model};
    const Answer checked = swage({"check", rest[0], rest[1], rest[2]});
    EXPECT_FALSE(fs::exists("runs")) << "check writes nothing";
    const Answer ran = swage({"run", rest[0], rest[1], rest[2], "--quiet"});
    EXPECT_EQ(checked.code, ran.code) << ran.err;
    if (ran.code != 0) {
      EXPECT_EQ(checked.err, ran.err);
    }
    fs::remove_all("runs");
    fs::remove_all("packed");
    return checked;
  }
  static std::string rtn(const std::string& weight) {
    return "[[step]]\nuse = \"rtn\"\nweight = { " + weight + " }\n";
  }
};

TEST_F(CheckTest, WhatItPassesRuns) {
  const Answer answer = both("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n");
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("pipeline.toml holds\n  model     llama: 14 linears"));
}

TEST_F(CheckTest, RefusesWhatAFormatCannotHold) {
  EXPECT_EQ(both(rtn("bits = 4, group = 64, group_tail = \"short\"")).code, 3);
  EXPECT_EQ(both(rtn("format = \"fp8-e5m2\", granularity = \"channel\"")).code, 3);
}

TEST_F(CheckTest, RefusesTextThatTheModelCannotRead) {
  fs::remove("model/tokenizer.json");
  const Answer answer = both("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n");
  EXPECT_EQ(answer.code, 4);
  EXPECT_THAT(answer.err, HasSubstr("tokenizer.json"));
}

TEST_F(CheckTest, RefusesAnExportFolderThatIsFilled) {
  fs::create_directories("packed");
  std::ofstream("packed/mine.txt") << "mine";
  const Answer answer = both(rtn("bits = 4, group = 32"));
  EXPECT_EQ(answer.code, 3);
  EXPECT_THAT(answer.err, HasSubstr("exists already"));
}

TEST_F(CheckTest, RefusesWhatIsNoModel) {
  fs::create_directories("lora");
  std::ofstream("lora/adapter_config.json") << "{}";
  const Answer adapter = both(rtn("bits = 4, group = 32"), "lora");
  EXPECT_EQ(adapter.code, 4);
  EXPECT_THAT(adapter.err, HasSubstr("merge it into its base model"));
  std::ofstream("model/model.safetensors")
      << "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  const Answer pointer = both(rtn("bits = 4, group = 32"));
  EXPECT_EQ(pointer.code, 4);
  EXPECT_THAT(pointer.err, HasSubstr("git lfs pull"));
}

TEST_F(CheckTest, NamesTheKeyOfConfigThatHasAnotherType) {
  Value config = must(parse_json(read_text("model/config.json"), "config.json"));
  (*config.table())["rope_theta"] = "10000.0";
  std::ofstream("model/config.json") << to_json(config);
  const Answer answer = both(rtn("bits = 4, group = 32"));
  EXPECT_EQ(answer.code, 4);
  EXPECT_THAT(answer.err, HasSubstr("config.json: \"rope_theta\" is a"));
}

}  // namespace
}  // namespace swage::testing_support
