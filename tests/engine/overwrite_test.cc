// --overwrite replaces what Swage made, and nothing else.
#include <gmock/gmock.h>

#include "core/base/exit_codes.h"
#include "core/engine/earlier.h"
#include "core/engine/export_place.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kPipeline = static_cast<int>(ExitCode::kPipeline);
constexpr int kUsage = static_cast<int>(ExitCode::kUsage);

class OverwriteTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    write(4);
    ASSERT_EQ(swage({"run", "p.toml", "--quiet"}).code, 0);
  }
  void write(int bits) const {
    std::ofstream("p.toml") << pipeline(
        "[[step]]\nuse = \"rtn\"\nweight = { bits = " + std::to_string(bits) +
        ", group = 32 }\n[[export]]\nuse = "
        "\"compressed-tensors\"\npath = \"packed\"\n");
  }
  // check and run refuse alike, and nothing is touched.
  static void expect_refused(const std::string& words) {
    const auto before = read_folder(".");
    for (const char* verb : {"check", "run"}) {
      const Answer answer = swage({verb, "p.toml", "--overwrite"});
      EXPECT_EQ(answer.code, kPipeline) << answer.err;
      EXPECT_THAT(answer.err, HasSubstr(words));
    }
    fs::remove("out.txt");
    fs::remove("err.txt");
    auto after = read_folder(".");
    for (const auto& [name, content] : before) {
      if (name == "out.txt" || name == "err.txt" || name == "runs/p/lock") continue;
      EXPECT_TRUE(after.count(name) > 0 && after[name] == content) << name;
    }
  }
  static std::string bits_of_export() {
    const Value config = must(parse_json(read_text("packed/config.json"), "config.json"));
    return to_json(
        config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"]);
  }
};

TEST_F(OverwriteTest, WithoutItNothingIsReplaced) {
  for (const char* verb : {"check", "run"}) {
    const Answer answer = swage({verb, "p.toml"});
    EXPECT_EQ(answer.code, kUsage);
    EXPECT_THAT(answer.err, AllOf(HasSubstr("holds an earlier run"), HasSubstr("swage resume"),
                                  HasSubstr("--overwrite"), HasSubstr("--work")));
    const Answer other = swage({verb, "p.toml", "--work", "other"});
    EXPECT_EQ(other.code, kPipeline);
    EXPECT_THAT(other.err, AllOf(HasSubstr("exists already"), HasSubstr("--overwrite replaces")));
  }
}

TEST_F(OverwriteTest, ReplacesTheEarlierRunAndItsExport) {
  EXPECT_EQ(swage({"check", "p.toml", "--overwrite"}).code, 0);
  write(8);
  const Answer answer = swage({"run", "p.toml", "--overwrite"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(bits_of_export(), "8");
  EXPECT_EQ(swage({"verify", "runs/p"}).code, 0);
  for (const auto& entry : fs::directory_iterator("."))
    EXPECT_EQ(entry.path().string().find(".part"), std::string::npos) << entry.path();
  // And again: the new one is an earlier run by now, also for another work folder.
  EXPECT_EQ(swage({"run", "p.toml", "--overwrite", "--work", "other"}).code, 0);
}

TEST_F(OverwriteTest, GivesTheBytesOfAFirstRun) {
  const auto first = read_folder("packed");
  ASSERT_EQ(swage({"run", "p.toml", "--overwrite"}).code, 0);
  EXPECT_EQ(read_folder("packed"), first);
}

TEST_F(OverwriteTest, FilesOfTheUserKeepAFolder) {
  std::ofstream("packed/notes.txt") << "mine";
  expect_refused("holds notes.txt, which swage did not make");
  fs::remove("packed/notes.txt");
  fs::create_directory("packed/empty");
  expect_refused("holds empty, a folder that no export of swage has");
  fs::remove("packed/empty");
  fs::create_symlink("../model", "packed/link");
  expect_refused("holds link, which is no file");
  fs::remove("packed/link");
  std::ofstream("runs/p/notes.txt") << "mine";
  expect_refused("holds notes.txt, which no run of swage makes");
  fs::rename("runs/p/notes.txt", "runs/p/state/notes.txt");
  expect_refused("holds state/notes.txt");
}

TEST_F(OverwriteTest, AFileThatWasChangedKeepsTheFolder) {
  flip_bit("packed/model.safetensors", 1);
  expect_refused("holds model.safetensors, which was changed");
  flip_bit("packed/model.safetensors", 1);
  std::ofstream("packed/config.json", std::ios::app) << "\n";
  expect_refused("holds config.json, which was changed");
}

TEST_F(OverwriteTest, WhatHasNoRecordIsNotSwages) {
  fs::remove("packed/swage_export.json");
  expect_refused("holds no swage_export.json");
  fs::remove_all("packed");
  fs::create_directory("elsewhere");
  fs::create_symlink("elsewhere", "packed");
  expect_refused("is a link");
  fs::remove("packed");
  std::ofstream("packed") << "mine";
  expect_refused("is no folder");
  fs::remove("packed");
  std::ofstream("runs/p/run.db") << std::string(4096, 'x');
  expect_refused("run.db that is no journal of swage");
}

TEST_F(OverwriteTest, ARunThatFailsLeavesTheEarlierExport) {
  const auto before = read_folder("packed");
  const pid_t child = start({"run", "p.toml", "--overwrite"}, 20 << 10);  // no room for parts
  EXPECT_EQ(finish(child).code, static_cast<int>(ExitCode::kResources));
  EXPECT_EQ(read_folder("packed"), before);
  const Answer answer = swage({"resume", "runs/p"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_EQ(read_folder("packed"), before);  // the same bytes, of the new run
  EXPECT_EQ(swage({"verify", "runs/p"}).code, 0);
}

TEST_F(OverwriteTest, WhatAnEarlierRunWasFillingGoes) {
  ExportPlace place(fs::absolute("packed").string(), fs::absolute("runs/p").string());
  const std::string unfinished = place.begin(Value()).value();
  fs::remove(unfinished);
  fs::rename("packed", unfinished);  // as if the run had been killed before it gave the name
  const Answer answer = swage({"run", "p.toml", "--overwrite"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_FALSE(fs::exists(unfinished));
  EXPECT_EQ(swage({"verify", "runs/p"}).code, 0);
  // One that no journal tells of is found before any work.
  fs::create_directory(unfinished);
  std::ofstream(unfinished + "/x") << "mine";
  const Answer refused = swage({"run", "p.toml", "--overwrite"});
  EXPECT_EQ(refused.code, kPipeline);
  EXPECT_THAT(refused.err, HasSubstr("no earlier run tells of"));
  EXPECT_TRUE(fs::exists(unfinished + "/x"));
  EXPECT_TRUE(fs::exists("runs/p/run.db"));
}

TEST_F(OverwriteTest, WhatIsPutThereMeanwhileIsKept) {
  ExportPlace place(fs::absolute("packed").string(), "work");
  ASSERT_OK(place.reserve(true));
  const std::string unfinished = place.begin(Value()).value();
  std::ofstream(unfinished + "/new") << "new";
  std::ofstream("packed/notes.txt") << "mine";
  EXPECT_THAT(place.publish().message(), HasSubstr("was changed while the run worked"));
  EXPECT_TRUE(fs::exists("packed/notes.txt"));
  fs::remove("packed/notes.txt");
  ASSERT_OK(place.publish());
  EXPECT_TRUE(fs::exists("packed/new"));
  std::ofstream(unfinished + "/late.txt") << "mine";  // into the old one, beside the new one now
  EXPECT_THAT(place.drop(place.replaced()), HasSubstr("is kept as"));
  EXPECT_EQ(read_text(unfinished + "/late.txt"), "mine");
  fs::remove(unfinished + "/late.txt");
  EXPECT_EQ(place.drop(place.replaced()), "");
  EXPECT_FALSE(fs::exists(unfinished));
}

TEST_F(OverwriteTest, AnInterruptedRemovalGoesOn) {
  ExportPlace place(fs::absolute("packed").string(), "work");
  ASSERT_OK(place.reserve(true));
  const std::string unfinished = place.begin(Value()).value();
  std::ofstream(unfinished + "/new") << "new";
  const Value replaced = place.replaced();
  ASSERT_OK(place.publish());
  fs::remove(unfinished + "/config.json");  // as far as it had come
  ExportPlace resumed(fs::absolute("packed").string(), "work");
  EXPECT_EQ(resumed.drop(Value("1:2")), "");  // another folder's
  EXPECT_TRUE(fs::exists(unfinished));
  EXPECT_EQ(resumed.drop(replaced), "");
  EXPECT_FALSE(fs::exists(unfinished));
}

}  // namespace
}  // namespace swage::testing_support
