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
using testing::Not;
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
    command_ = std::string("'") + build + "/bin/swage' ";
  }
  Answer swage(const std::string& arguments) {
    Answer answer;
    const std::string line =
        "cd '" + folder_.string() + "' && " + environment_ + " " + command_ + arguments + " 2>&1";
    FILE* pipe = popen(line.c_str(), "r");
    for (int c; (c = std::fgetc(pipe)) != EOF;) answer.out += static_cast<char>(c);
    answer.code = WEXITSTATUS(pclose(pipe));
    return answer;
  }

  std::string environment_;  // "LC_ALL=C"

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
  EXPECT_THAT(keys.out, HasSubstr("Tables of a number format and its keys: swage help scheme"));
  const Answer unknown = swage("help pipline");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.out, "error: there is no help on \"pipline\"; did you mean \"pipeline\"?\n");
}

TEST_F(Command, ExplainsNumberFormats) {
  const Answer formats = swage("help scheme");
  EXPECT_EQ(formats.code, 0);
  EXPECT_THAT(formats.out, HasSubstr("\n  int          weight, activation   Integers of 2 to 8"));
  EXPECT_THAT(formats.out, HasSubstr("\n  fp8-e4m3 "));
  const std::string integers = swage("help int").out;
  EXPECT_THAT(integers, StartsWith("int: format of swage itself"));
  EXPECT_THAT(integers, HasSubstr("Keys of weight = { format = \"int\", ... }\n"
                                  "  bits: an integer, 2 to 8; default 4\n"));
  EXPECT_THAT(integers, HasSubstr("Keys of activation = { format = \"int\", ... }\n"
                                  "  bits: an integer, 2 to 8; default 8\n"));
  EXPECT_THAT(integers, HasSubstr("      Only with granularity = \"group\".\n"));
  EXPECT_THAT(integers, HasSubstr("      \"full-range\" needs symmetric = true.\n"));
  EXPECT_THAT(integers,
              HasSubstr("      \"weighted\" is measured: the file needs [calibration].\n"));
  EXPECT_THAT(
      swage("plugins").out,
      HasSubstr("format     int                  swage.formats 1.0.0 (built in): Integers"));
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
        "error: p.toml:5:10: \"device\" is \"gpu\"; expected \"cpu\"\n"
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

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

TEST_F(Command, RefusesDeepFilesInAMoment) {
  const std::string deep[] = {"a" + repeated(".a", 100000) + " = 1\n",
                              "[" + repeated("a.", 100000) + "a]\n", "a = " + repeated("[", 100000),
                              "a = " + repeated("{a=", 100000),
                              "a = " + repeated("{a.b.c.d=", 100)};
  for (const std::string& text : deep) {
    write("p.toml", text);
    const Answer answer = swage("check p.toml");
    EXPECT_EQ(answer.code, 3) << text.substr(0, 20);
    EXPECT_THAT(answer.out, StartsWith("error: p.toml:1:")) << text.substr(0, 20);
    EXPECT_THAT(answer.out, HasSubstr("go deeper than 32 levels")) << text.substr(0, 20);
  }
  EXPECT_EQ(swage("check p.toml --set a" + repeated(".a", 10000) + "=1").code, 3);
}

TEST_F(Command, BoundsWhatAFileIncludes) {
  for (int i = 0; i < 100; ++i)
    write("chain" + std::to_string(i) + ".toml",
          "include = [\"chain" + std::to_string(i + 1) + ".toml\"]\n");
  for (int i = 0; i < 30; ++i) {
    const std::string next = "twice" + std::to_string(i + 1) + ".toml";
    write("twice" + std::to_string(i) + ".toml",
          "include = [\"" + next + "\", \"" + next + "\"]\n");
  }
  write("twice30.toml", "[model]\npath = \"model\"\n");
  for (const char* file : {"chain0.toml", "twice0.toml"}) {
    const Answer answer = swage(std::string("check ") + file);
    EXPECT_EQ(answer.code, 3) << file;
    EXPECT_THAT(answer.out, HasSubstr("has more than 64 files or 16 MB")) << file;
  }
}

TEST_F(Command, AnswersWhatTheFileSystemRefuses) {
  std::filesystem::create_symlink("b", folder_ / "a");
  std::filesystem::create_symlink("a", folder_ / "b");
  const std::string step = "[[step]]\nuse = \"rtn\"\n";
  write("loop.toml", "[model]\npath = \"a\"\n" + step);
  write("empty.toml", "[model]\npath = \"\"\n" + step);
  write("long.toml", "[model]\npath = \"" + repeated("n", 300) + "\"\n" + step);
  write("p.toml", "[model]\npath = \"model\"\n" + step);
  for (const char* arguments :
       {"check loop.toml", "check a", "check empty.toml", "check long.toml", "check model",
        "check p.toml --set include=x", "check p.toml --set 'include=[\"x\"]'",
        "check p.toml --set run.seed=1e999", "check ''", "check p.toml --set =1"}) {
    const Answer answer = swage(arguments);
    EXPECT_EQ(answer.code, 3) << arguments << ": " << answer.out;
    EXPECT_THAT(answer.out, StartsWith("error: ")) << arguments;
    EXPECT_THAT(answer.out, Not(HasSubstr("bug of swage"))) << arguments;
  }
  for (const std::string& arguments :
       {std::string("inspect a"), std::string("resume a"), std::string("verify a"),
        std::string("forward a --input a --output x"), "inspect " + repeated("n", 300)}) {
    const Answer answer = swage(arguments);
    EXPECT_EQ(answer.code, 4) << arguments << ": " << answer.out;
    EXPECT_THAT(answer.out, StartsWith("error: ")) << arguments;
  }
  EXPECT_EQ(swage("plugins --plugin-path a").code, 0);
}

TEST_F(Command, ShowsControlBytesAsText) {
  const Answer answer = swage("check \"$(printf 'p\\033[31m.toml')\"");
  EXPECT_EQ(answer.out, "error: \"p\\x1b[31m.toml\" is no file; expected a pipeline in TOML\n");
  EXPECT_EQ(swage("\"$(printf 'a\\033]0;b')\"").out.find('\033'), std::string::npos);
}

TEST_F(Command, SaysWhichVerbAnArgumentIsFor) {
  write("p.toml", "[model]\npath = \"model\"\n");
  write("model/config.json", "{}");
  std::filesystem::create_directories(folder_ / "it's work");
  write("it's work/run.db", "");
  EXPECT_THAT(swage("run model").out, HasSubstr("`swage inspect model`"));
  EXPECT_THAT(swage("run \"it's work\"").out, HasSubstr("`swage resume 'it'\\''s work'`"));
  EXPECT_THAT(swage("resume p.toml").out, HasSubstr("is started with `swage run p.toml`"));
  for (const char* arguments : {"run '~/p.toml'", "resume '~/run'", "inspect '~/m'",
                                "forward model --input '~/x' --output y"})
    EXPECT_THAT(swage(arguments).out, HasSubstr("is a word of the shell")) << arguments;
}

TEST_F(Command, KnowsTheWordsOfOtherPrograms) {
  write("p.toml",
        "[model]\npath = \"meta-llama/Llama-3.1-8B\"\n[calibration]\nsource = \"wikitext2\"\n"
        "nsamples = 8\nseqlen = 16\n[[export]]\nuse = \"vllm\"\npath = \"out\"\n");
  const Answer answer = swage("check p.toml");
  EXPECT_EQ(answer.code, 3);
  EXPECT_THAT(answer.out, HasSubstr("swage reads folders and fetches nothing"));
  EXPECT_THAT(answer.out, HasSubstr("data sets are not fetched"));
  EXPECT_THAT(answer.out, HasSubstr("\"nsamples\" is no key of [calibration]; here it is called "
                                    "\"samples\""));
  EXPECT_THAT(answer.out, HasSubstr("here it is called \"length\""));
  EXPECT_THAT(answer.out, HasSubstr("write use = \"compressed-tensors\""));
  write("recipe.yaml", "quant_stage:\n");
  const Answer yaml = swage("check recipe.yaml");
  EXPECT_EQ(yaml.code, 3);
  EXPECT_THAT(yaml.out, HasSubstr("a pipeline is written in TOML, and this is YAML"));
  EXPECT_THAT(swage("inspect '~/model'").out, HasSubstr("is a word of the shell"));
}

TEST_F(Command, ListsArchitectures) {
  EXPECT_EQ(swage("help architectures").code, 0);
  EXPECT_THAT(swage("help").out, HasSubstr("swage help architectures"));
}

// What bash offers for the words of a command line, the last of which is being typed.
TEST_F(Command, CompletesInBash) {
  ASSERT_EQ(swage("completion bash > c.bash").code, 0);
  const auto offered = [&](const std::string& words, int word) {
    const std::string file = write("t.bash", "source ./c.bash\ncompopt() { :; }\nCOMP_WORDS=(" +
                                                 words + ")\nCOMP_CWORD=" + std::to_string(word) +
                                                 "\n_swage\necho \"${COMPREPLY[*]}\"\n");
    FILE* pipe = popen(("cd '" + folder_.string() + "' && bash '" + file + "' 2>&1").c_str(), "r");
    std::string out;
    for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
    pclose(pipe);
    return out;
  };
  EXPECT_EQ(offered("swage re", 1), "resume\n");
  EXPECT_EQ(offered("swage --pl", 1), "--plugin-path\n");
  EXPECT_EQ(offered("swage run --ov", 2), "--overwrite\n");
  EXPECT_EQ(offered("swage check --mic", 2), "\n");  // an option of other verbs
  EXPECT_EQ(offered("swage --plugin-path x forward --tol", 4), "--tolerance\n");
  EXPECT_EQ(offered("swage run te", 2), "text.txt\n");
  EXPECT_EQ(offered("swage resume m", 2), "model\n");
  EXPECT_EQ(offered("swage run p --work mo", 4), "model\n");
  EXPECT_EQ(offered("swage run p --set run.thr", 4), "run.threads=\n");
  EXPECT_EQ(offered("swage run p --set scheme.weight.gran", 4), "scheme.weight.granularity=\n");
  EXPECT_EQ(offered("swage help pipe", 2), "pipeline\n");
  EXPECT_EQ(offered("swage help sche", 2), "scheme schema\n");
  EXPECT_EQ(offered("swage completion f", 2), "fish\n");
}

TEST_F(Command, DescribesEveryOptionToShellsAndManual) {
  const std::string bash = swage("completion bash").out, zsh = swage("completion zsh").out,
                    fish = swage("completion fish").out, man = swage("man").out;
  EXPECT_THAT(zsh, StartsWith("#compdef swage\n"));
  EXPECT_THAT(man, StartsWith(".TH SWAGE 1 "));
  int options = 0;
  for (const char* verb : {"run", "resume", "check", "eval", "verify", "convert", "forward",
                           "inspect", "plugins", "help", "schema", "completion", "man"}) {
    // The options that --help names.
    const std::string help = swage(std::string(verb) + " --help").out;
    const std::string name = verb;
    EXPECT_THAT(man, HasSubstr("\\fBswage " + name + "\\fR"));
    EXPECT_THAT(zsh, HasSubstr("    " + name + ") _arguments"));
    EXPECT_THAT(fish, HasSubstr("__fish_use_subcommand -a " + name + " "));
    for (size_t at = help.find("\n  --"); at != std::string::npos;
         at = help.find("\n  --", at + 1)) {
      const std::string option = help.substr(at + 3, help.find_first_of(" ,\n", at + 3) - at - 3);
      const std::string dashed = option.substr(2);
      std::string escaped;
      for (const char c : option) escaped += c == '-' ? std::string("\\-") : std::string(1, c);
      EXPECT_THAT(bash, HasSubstr(option)) << verb;
      EXPECT_THAT(zsh, HasSubstr(option + "[")) << verb;
      EXPECT_THAT(fish, HasSubstr(" -l " + dashed)) << verb;
      EXPECT_THAT(man, HasSubstr(escaped)) << verb;
      ++options;
    }
  }
  EXPECT_GT(options, 30);
}

TEST_F(Command, PrintsPlainTextWhereNoTerminalDraws) {
  for (const char* locale : {"LC_ALL=C", "LC_ALL=C.UTF-8 TERM=dumb", "LC_ALL=C.UTF-8 NO_COLOR=1"}) {
    for (const char* arguments : {"help", "help pipeline", "forward --help", "plugins", "schema"}) {
      environment_ = locale;
      const std::string out = swage(arguments).out;
      EXPECT_THAT(out, testing::Each(testing::AllOf(testing::Ge('\n'), testing::Le('~')))) << out;
    }
  }
  const std::string name = "gr\xc3\xbc\xc3\x9f.toml";
  environment_ = "LC_ALL=C";
  EXPECT_THAT(swage("check " + name).out, StartsWith("error: \"gr\\xc3\\xbc\\xc3\\x9f.toml\""));
  environment_ = "LC_ALL=C.UTF-8";
  EXPECT_THAT(swage("check " + name).out, StartsWith("error: \"" + name + "\""));
  // JSON says the same in both.
  environment_ = "LC_ALL=C";
  const auto json = parse_json(swage("check " + name + " --json").out, "stdout");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_THAT((*(*json)["problems"].list())[0].str("message", ""), HasSubstr(name));
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
