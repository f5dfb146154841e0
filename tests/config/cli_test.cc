// Runs the command itself, as a user does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include "swage/value.h"
#include "tests/config/test_catalog.h"

namespace swage {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Answer {
  int code = -1;
  std::string out;  // stdout and stderr
};

class Command : public testing_support::FolderTest {
 protected:
  void SetUp() override {
    FolderTest::SetUp();
    const char* build = std::getenv("SWAGE_BUILD_DIR");
    ASSERT_NE(build, nullptr) << "SWAGE_BUILD_DIR names the build folder";
    command_ = std::string("cd '") + folder_.string() + "' && '" + build + "/bin/swage' ";
  }
  Answer swage(const std::string& arguments) {
    Answer answer;
    FILE* pipe = popen((command_ + arguments + " 2>&1").c_str(), "r");
    for (int c; (c = std::fgetc(pipe)) != EOF;) answer.out += static_cast<char>(c);
    answer.code = WEXITSTATUS(pclose(pipe));
    return answer;
  }

 private:
  std::string command_;
};

TEST_F(Command, TeachesTheFirstRun) {
  for (const char* arguments : {"", "help", "--help"}) {
    const Answer answer = swage(arguments);
    EXPECT_EQ(answer.code, 0);
    EXPECT_THAT(answer.out, HasSubstr("A first run:"));
    EXPECT_THAT(answer.out, HasSubstr("swage run pipeline.toml"));
  }
}

TEST_F(Command, ExplainsVerbsAndTheFile) {
  EXPECT_THAT(swage("help run").out, HasSubstr("Usage: swage run [OPTIONS] FILE"));
  const Answer keys = swage("help pipeline");
  EXPECT_EQ(keys.code, 0);
  EXPECT_THAT(keys.out, HasSubstr("  samples: an integer, 1 to 1048576; default 128\n"));
  const Answer unknown = swage("help pipline");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.out, "error: there is no help on \"pipline\"; did you mean \"pipeline\"?\n");
}

TEST_F(Command, RefusesAnUnknownVerb) {
  const Answer answer = swage("rnu p.toml");
  EXPECT_EQ(answer.code, 2);
  EXPECT_EQ(answer.out, "error: \"rnu\" is no verb of swage; did you mean \"run\"?\n");
}

TEST_F(Command, FailsOnABadFileBeforeAnythingIsComputed) {
  write("p.toml", "[model]\npath = \"model\"\n[run]\nthread = 2\ndevice = \"gpu\"\n");
  for (const char* verb : {"check", "run"}) {
    const Answer answer = swage(std::string(verb) + " p.toml");
    EXPECT_EQ(answer.code, 3);
    EXPECT_EQ(
        answer.out,
        "error: p.toml:4:1: \"thread\" is no key of [run]; did you mean \"threads\"?\n"
        "error: p.toml:5:10: \"device\" is \"gpu\"; expected \"cpu\", \"cuda\" or \"cuda:1\"\n"
        "error: p.toml: nothing to do: there is no [[step]], no [[evaluate]] and no [[export]]\n");
  }
  EXPECT_EQ(swage("check p.toml --set run=3").code, 3);
  EXPECT_EQ(swage("check gone.toml").out,
            "error: \"gone.toml\" is no file; expected a pipeline in TOML\n");
}

TEST_F(Command, ChecksTheInputsOfEveryComputingVerb) {
  const Answer resume = swage("resume model");
  EXPECT_EQ(resume.code, 4);
  EXPECT_EQ(resume.out,
            "error: work directory \"model\" holds no run.db; expected the [run] work folder of an "
            "earlier `swage run`\n");
  EXPECT_EQ(swage("verify model").code, 4);
  EXPECT_EQ(swage("inspect gone").out, "error: model \"gone\" does not exist\n");
  EXPECT_EQ(swage("forward model --input gone --output out").out,
            "error: file \"gone\" does not exist\n");
  write("e.toml", "[[step]]\nuse = \"rtn\"\n[model]\npath = \"model\"\n");
  EXPECT_EQ(swage("eval model e.toml").code, 3);
}

TEST_F(Command, PrintsPluginsAndSchemaAsJson) {
  const auto plugins =
      parse_json(swage("plugins --json --plugin-path '" + path("none") + "'").out, "plugins");
  ASSERT_TRUE(plugins.ok()) << plugins.status();
  EXPECT_NE((*plugins)["plugins"].list(), nullptr);
  const auto schema = parse_json(swage("schema").out, "schema");
  ASSERT_TRUE(schema.ok()) << schema.status();
  EXPECT_TRUE((*schema)["properties"].has("step"));
}

#ifndef __SANITIZE_ADDRESS__
TEST_F(Command, AnswersWithinFiftyMilliseconds) {
  write("p.toml", "[model]\npath = \"model\"\n");
  for (const char* arguments : {"plugins", "check p.toml", "help"}) {
    rusage before, after;
    getrusage(RUSAGE_CHILDREN, &before);
    swage(arguments);
    getrusage(RUSAGE_CHILDREN, &after);
    const auto milliseconds = [](const rusage& use) {
      return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e3 +
             (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e3;
    };
    EXPECT_LT(milliseconds(after) - milliseconds(before), 50)
        << arguments << " (CPU time, whatever else the machine does)";
  }
}
#endif

}  // namespace
}  // namespace swage
