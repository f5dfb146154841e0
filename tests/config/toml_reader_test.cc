#include "core/config/toml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace swage {
namespace {

std::string parse_error(std::string_view text) {
  return std::string(parse_toml(text, "p.toml").status().message());
}

class TomlFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::filesystem::path folder_;
};

TEST(TomlReader, KeepsThePlaceOfEveryKeyAndValue) {
  const auto document = parse_toml(
      "[run]\nthreads = 2\n\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4 }\n", "p.toml");
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->root["run"].i64("threads", 0), 2);
  EXPECT_EQ(document->place("run.threads").key.text(), "p.toml:2:1");
  EXPECT_EQ(document->place("run.threads").value.text(), "p.toml:2:11");
  EXPECT_EQ(document->place("step[0]").value.text(), "p.toml:4:1");
  EXPECT_EQ(document->place("step[0].weight.bits").value.text(), "p.toml:6:19");
  EXPECT_EQ(document->place("step[0].weight.group").value.text(), "p.toml:6:10")
      << "the nearest table";
  EXPECT_EQ(document->place("").value.text(), "p.toml");
}

TEST(TomlReader, NamesLineAndColumnOfASyntaxError) {
  EXPECT_EQ(parse_error("[run]\nthreads = \n").substr(0, 11), "p.toml:2:11");
  EXPECT_EQ(parse_error("a = 1\na = 2\n").substr(0, 10), "p.toml:2:5");
  EXPECT_EQ(parse_error("a = \"\xff\xfe\""),
            "p.toml:1:5: this is not valid TOML: it holds bytes that are no UTF-8");
  EXPECT_EQ(parse_error("a = \"b\x01\""),
            "p.toml:1:7: this is not valid TOML: a line end or another control character stands "
            "within a text: is its closing quote missing?");
}

TEST(TomlReader, SaysMistakesInItsOwnWords) {
  for (const auto& [text, words] :
       {std::pair("a = \"b\n", "is its closing quote missing?"),
        {"a = 1\na = 2\n", "\"a\" is given twice"},
        {"a = word\n", "texts stand in quotes"},
        {"a = ", "the file ends too early"},
        {"a = { b = 1, }\n", "a comma too many"},
        {"a = [1 2]\n", "a comma or the closing ] is missing"},
        {"[a\nb = 1\n", "a closing ] is missing"},
        {"a 1\n", "a = is missing behind the key"},
        {"a = \"C:\\dir\"\n", "a text holds a \\ that TOML does not know"},
        {"a = 1 b = 2\n", "a line holds one key"},
        {"= 1\n", "a key is expected here"},
        {"a = 1__0\n", "a number is written as TOML has none"},
        {"a = \"\xff\"\n", "bytes that are no UTF-8"}}) {
    EXPECT_THAT(parse_error(text), testing::HasSubstr(std::string("this is not valid TOML: ")));
    EXPECT_THAT(parse_error(text), testing::HasSubstr(words)) << text;
  }
}

TEST(TomlReader, RefusesDatesAndInfiniteNumbers) {
  EXPECT_EQ(parse_error("a = 2024-01-01"),
            "p.toml:1:5: dates and times are not used here; write a string");
  EXPECT_EQ(parse_error("[run]\na = nan"), "p.toml:2:5: numbers must be finite");
  EXPECT_EQ(parse_error("a = [1.0, inf]"), "p.toml:1:11: numbers must be finite");
}

TEST(TomlReader, SurvivesDeepNesting) {
  EXPECT_FALSE(parse_toml("a = " + std::string(100000, '['), "p.toml").ok());
}

TEST_F(TomlFiles, MergesIncludedFilesUnderTheIncludingOne) {
  write("base.toml", "[run]\nthreads = 1\ndevice = \"cpu\"\n[[step]]\nuse = \"a\"\n");
  const auto document = read_toml(
      write("top.toml", "include = [\"base.toml\"]\n[run]\nthreads = 2\n[[step]]\nuse = \"b\"\n"));
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ(document->root["run"].i64("threads", 0), 2);
  EXPECT_EQ(document->root["run"].str("device", ""), "cpu");
  EXPECT_FALSE(document->root.has("include"));
  ASSERT_EQ(document->root["step"].list()->size(), 2u);
  EXPECT_EQ((*document->root["step"].list())[1].str("use", ""), "b");
  EXPECT_EQ(document->place("step[0].use").key.text(), (folder_ / "base.toml").string() + ":5:1");
  EXPECT_EQ(document->place("step[1].use").key.text(), (folder_ / "top.toml").string() + ":5:1");
}

TEST_F(TomlFiles, RefusesAnIncludeCycle) {
  const std::string a = write("a.toml", "include = [\"b.toml\"]\n");
  const std::string b = write("b.toml", "\ninclude = \"./a.toml\"\n");
  EXPECT_EQ(std::string(read_toml(a).status().message()),
            b + ":2:11: \"./a.toml\" includes this file in turn; a file cannot include itself");
}

TEST_F(TomlFiles, NamesAMissingFile) {
  const std::string a = write("a.toml", "include = [\"gone.toml\"]\n");
  EXPECT_EQ(
      std::string(read_toml(a).status().message()),
      a + ":1:12: the included file \"" + (folder_ / "gone.toml").string() + "\" does not exist");
  EXPECT_EQ(std::string(read_toml("no-such.toml").status().message()),
            "\"no-such.toml\" is no file; expected a pipeline in TOML");
  EXPECT_EQ(std::string(read_toml(write("c.toml", "include = [3]\n")).status().message()),
            (folder_ / "c.toml").string() + ":1:12: \"include\" is a list of file names");
}

class Set : public testing::Test {
 protected:
  std::string set(const std::string& assignment) {
    return std::string(apply_set(assignment, &document_).message());
  }
  Document document_ = *parse_toml(
      "[run]\nthreads = 1\n[[step]]\nuse = \"gptq\"\n[[step]]\nuse = \"rtn\"\nname = "
      "\"last\"\nweight = { bits = 4 }\n",
      "p.toml");
};

TEST_F(Set, FindsStepsByNameOrUse) {
  EXPECT_EQ(set("step.gptq.weight.bits=3"), "");
  EXPECT_EQ(set("step.last.weight.bits=8"), "");
  EXPECT_EQ((*document_.root["step"].list())[0]["weight"].i64("bits", 0), 3);
  EXPECT_EQ((*document_.root["step"].list())[1]["weight"].i64("bits", 0), 8);
  EXPECT_EQ(document_.place("step[0].weight.bits").value.text(), "--set step.gptq.weight.bits=3");
}

TEST_F(Set, ReadsValuesAsTomlOrElseAsText) {
  EXPECT_EQ(set("run.device=cuda:1"), "");
  EXPECT_EQ(set("run.seed=-7"), "");
  EXPECT_EQ(set("run.fast=true"), "");
  EXPECT_EQ(set("run.text=1\nother = 2"), "");
  EXPECT_EQ(document_.root["run"].str("device", ""), "cuda:1");
  EXPECT_EQ(document_.root["run"].i64("seed", 0), -7);
  EXPECT_TRUE(document_.root["run"].flag("fast", false));
  EXPECT_EQ(document_.root["run"].str("text", ""), "1\nother = 2");
}

TEST_F(Set, RefusesWhatItCannotPlace) {
  EXPECT_EQ(set("run.threads"),
            "--set run.threads: expected KEY=VALUE, for example step.gptq.weight.bits=3");
  EXPECT_EQ(set("step.gptk.bits=3"),
            "--set step.gptk.bits=3: no step is called \"gptk\"; did you mean \"gptq\"?");
  EXPECT_EQ(set("run.threads.x=3"), "--set run.threads.x=3: \"run.threads\" has no member \"x\"");
  EXPECT_EQ(set("step.last.weight=3"),
            "--set step.last.weight=3: \"step[1].weight\" is a table; set one of its keys");
  document_.root = parse_toml("[[step]]\nuse = \"a\"\n[[step]]\nuse = \"a\"\n", "p.toml")->root;
  EXPECT_EQ(set("step.a.x=1"),
            "--set step.a.x=1: two entries of step are called \"a\"; give them a `name`");
}

}  // namespace
}  // namespace swage
