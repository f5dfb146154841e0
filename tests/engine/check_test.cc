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

TEST_F(CheckTest, TellsProgramsWhatItFound) {
  std::ofstream("pipeline.toml") << pipeline(rtn("bits = 4, group = 32") + perplexity());
  const Answer good = swage({"check", "pipeline.toml", "--json"});
  EXPECT_EQ(good.code, 0) << good.err;
  const Value report = must(parse_json(good.out, "stdout"));
  EXPECT_TRUE(report.flag("ok", false));
  EXPECT_EQ(report["problems"].list()->size(), 0u);
  EXPECT_EQ(report["model"].i64("linears", 0), 14);
  EXPECT_EQ((*report["steps"].list())[0].str("weight", ""), "w4 g32 symmetric");
  EXPECT_EQ(report["data"]["evaluate"]["perplexity"].i64("windows", 0), 4);
  EXPECT_EQ(report["pipeline"]["run"].i64("seed", -1), 0);
}

TEST_F(CheckTest, TellsProgramsEveryProblemWithItsPlace) {
  const auto problems = [](const Answer& answer, int code) {
    EXPECT_EQ(answer.code, code);
    EXPECT_EQ(answer.err, "");
    const Value report = must(parse_json(answer.out, "stdout"));
    EXPECT_FALSE(report.flag("ok", true));
    EXPECT_EQ(report.i64("exit_code", 0), code);
    return *report["problems"].list();
  };
  // Found by the launcher, then by the engine.
  std::ofstream("a.toml") << "[model]\npath = \"model\"\nfoo = 1\n[run]\nthread = 2\n";
  const auto early = problems(swage({"check", "a.toml", "--json"}), 3);
  ASSERT_EQ(early.size(), 3u);
  EXPECT_EQ(early[0].str("file", ""), "a.toml");
  EXPECT_EQ(early[0].i64("line", 0), 3);
  EXPECT_EQ(early[0].i64("column", 0), 1);
  EXPECT_EQ(early[0].str("message", ""),
            "\"foo\" is no key of [model]; known are adapter, path, start, "
            "towers");
  EXPECT_EQ(early[2].str("file", ""), "a.toml");
  EXPECT_TRUE(early[2]["line"].is_null());
  std::ofstream("b.toml") << pipeline(rtn("bits = 4, group = 7"));
  const auto late = problems(swage({"check", "b.toml", "--json"}), 3);
  ASSERT_FALSE(late.empty());
  EXPECT_EQ(late[0].i64("line", 0), 7);
  EXPECT_THAT(late[0].str("message", ""), HasSubstr("does not divide the input width"));
  EXPECT_EQ(problems(swage({"check", "gone.toml", "--json"}), 3).size(), 1u);
  EXPECT_EQ(problems(swage({"check", "--json"}), 2).size(), 1u);
  EXPECT_EQ(problems(swage({"check", "b.toml", "--json", "--work"}), 2).size(), 1u);
}

TEST_F(CheckTest, RefusesWhatAFormatCannotHold) {
  EXPECT_EQ(both(rtn("bits = 4, group = 64, group_tail = \"short\"")).code, 3);
  EXPECT_EQ(both(rtn("format = \"fp8-e5m2\", granularity = \"channel\"")).code, 3);
}

// Of a family that it does not know, before any work: nothing of it is left to the end of a run.
TEST_F(CheckTest, RefusesAFamilyThatTheEngineDoesNotKnow) {
  fs::copy(test_data() / "parity/bloom/config.json", "model", fs::copy_options::overwrite_existing);
  fs::copy(test_data() / "parity/bloom/model.safetensors", "model",
           fs::copy_options::overwrite_existing);
  for (const char* use : {"mlc", "ppl", "trtllm"}) {
    SCOPED_TRACE(use);
    std::ofstream("pipeline.toml")
        << "[model]\npath = \"model\"\n[[export]]\nuse = \"" << use << "\"\npath = \"out\"\n";
    const Answer answer = swage({"check", "pipeline.toml"});
    EXPECT_EQ(answer.code, 3) << answer.out;
    EXPECT_THAT(answer.err, HasSubstr("check_source"));
    EXPECT_THAT(answer.err, HasSubstr("bloom"));
  }
}

TEST_F(CheckTest, RefusesATokenizerThatHasNoPlaceInTheFile) {
  std::ofstream("pipeline.toml")
      << "[model]\npath = \"model\"\n[[export]]\nuse = \"gguf\"\npath = \"out\"\n";
  EXPECT_EQ(swage({"check", "pipeline.toml"}).code, 0);
  std::ofstream("model/tokenizer.json") << "{\"model\": {\"type\": \"WordLevel\"}}";
  const Answer answer = swage({"check", "pipeline.toml"});
  EXPECT_EQ(answer.code, 3) << answer.out;
  EXPECT_THAT(answer.err, HasSubstr("gguf: check_source"));
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
