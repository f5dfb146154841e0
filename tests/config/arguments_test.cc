#include "core/cli/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/exit_codes.h"

namespace swage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "swage");
  return parse_arguments(static_cast<int>(words.size()), words.data());
}

std::string refusal(std::vector<const char*> words) {
  const auto arguments = parse(std::move(words));
  EXPECT_EQ(exit_code(arguments.status()), 2);
  return std::string(arguments.status().message());
}

TEST(Arguments, TurnOptionsOfARunIntoPipelineValues) {
  const auto arguments =
      parse({"run", "p.toml", "--set", "run.seed=1", "--set=step.a.bits=[1]", "--work", "a \"b\"",
             "--threads", "2", "--micro-batch", "4", "--events", "e.jsonl", "--quiet"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->verb, "run");
  EXPECT_EQ(arguments->pipeline, "p.toml");
  EXPECT_THAT(arguments->sets,
              ElementsAre("run.seed=1", "step.a.bits=[1]", "run.work=\"a \\\"b\\\"\"",
                          "run.threads=2", "run.micro_batch=4"));
  EXPECT_EQ(arguments->threads, 2);
  EXPECT_EQ(arguments->events, "e.jsonl");
  EXPECT_TRUE(arguments->quiet);
}

TEST(Arguments, MeasureTheCheckpointInsteadOfTheModelOfTheFile) {
  const auto arguments = parse({"eval", "out/w4", "p.toml"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->target, "out/w4");
  EXPECT_EQ(arguments->pipeline, "p.toml");
  EXPECT_THAT(arguments->sets, ElementsAre("model.path=\"out/w4\""));
}

TEST(Arguments, MakeAPipelineOfAConversion) {
  const auto arguments = parse({"convert", "/a/w4.gguf", "--to", "gptq", "--set", "shard_size=2",
                                "--set", "run.seed=1", "--requantize", "nvfp4"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->pipeline, "swage convert");
  EXPECT_THAT(arguments->sets, ElementsAre("export.gptq.shard_size=2", "run.seed=1"));
  for (const char* line :
       {"path = \"/a/w4.gguf\"\nstart = \"decoded\"", "/runs/convert-w4-gptq\"",
        "use = \"rtn\"\nweight = { format = \"nvfp4\" }", "use = \"gptq\"", "/w4-gptq\""})
    EXPECT_THAT(arguments->recipe, HasSubstr(line));
  EXPECT_THAT(parse({"convert", "m", "--to", "a", "--requantize", " {bits = 4} "})->recipe,
              HasSubstr("weight = { bits = 4 }\n"));
}

TEST(Arguments, LeaveTheRecordedPipelineOfAResumedRunAlone) {
  const auto arguments = parse({"resume", "runs/a", "--threads", "1"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_EQ(arguments->target, "runs/a");
  EXPECT_EQ(arguments->threads, 1);
  EXPECT_TRUE(arguments->sets.empty());
}

TEST(Arguments, TakeThePluginPathBeforeAndAfterTheVerb) {
  const auto arguments = parse({"--plugin-path", "a", "plugins", "--plugin-path", "b", "--json"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_THAT(arguments->plugin_path, ElementsAre("a", "b"));
  EXPECT_TRUE(arguments->json);
}

TEST(Arguments, AreHelpWhenThereIsNoVerb) {
  EXPECT_EQ(parse({})->verb, "help");
  EXPECT_EQ(parse({"--help"})->verb, "help");
  EXPECT_THAT(parse({"forward", "--help"})->text, HasSubstr("--compare FILE"));
  EXPECT_THAT(parse({"--version"})->text, testing::StartsWith("swage 1."));
}

TEST(Arguments, RefuseUnknownVerbsAndOptionsByName) {
  EXPECT_EQ(refusal({"rnu", "p.toml"}), "\"rnu\" is no verb of swage; did you mean \"run\"?");
  EXPECT_EQ(
      refusal({"serve"}),
      "\"serve\" is no verb of swage; known are check, completion, convert, eval, forward, help, "
      "inspect, man, plugins, resume, run, schema, verify");
  EXPECT_EQ(refusal({"run", "p.toml", "--thread", "3"}),
            "\"--thread\" is not expected here; did you mean \"--threads\"?");
  EXPECT_EQ(refusal({"run", "p.toml", "q.toml"}), "\"q.toml\" is not expected here");
}

TEST(Arguments, SayWhatIsWrongInTheirOwnWords) {
  EXPECT_EQ(refusal({"run"}), "FILE is missing: Pipeline file; see `swage run --help`");
  EXPECT_EQ(refusal({"forward", "m", "--input", "a"}),
            "--output is missing: safetensors to write: hidden_0 … hidden_L, logits; see `swage "
            "forward --help`");
  EXPECT_EQ(refusal({"run", "p.toml", "--threads", "-1"}),
            "--threads: \"-1\" is given; expected a whole number, 0 to 4096; see `swage run "
            "--help`");
  EXPECT_THAT(refusal({"run", "p.toml", "--threads", "two"}), HasSubstr("\"two\" is given"));
  EXPECT_THAT(refusal({"run", "p.toml", "--threads", "1.5"}), HasSubstr("expected a whole number"));
  EXPECT_EQ(refusal({"run", "p.toml", "--work"}), "--work needs a value; see `swage run --help`");
  EXPECT_EQ(refusal({"run", "p.toml", "--work", "a", "--work", "b"}),
            "--work is given twice; see `swage run --help`");
  EXPECT_EQ(refusal({"run", "p.toml", "--quiet=3"}),
            "--quiet takes no value; see `swage run --help`");
  EXPECT_THAT(refusal({"completion", "tcsh"}), HasSubstr("expected bash, zsh or fish"));
  EXPECT_THAT(refusal({"completion"}), HasSubstr("SHELL is missing: bash, zsh or fish"));
  const std::vector<const char*> forward = {"forward", "m", "--input", "a", "--output", "b"};
  for (const char* tolerance : {"-1", "nan", "inf", "much"}) {
    auto words = forward;
    words.insert(words.end(), {"--compare", "c", "--tolerance", tolerance});
    EXPECT_THAT(refusal(words), HasSubstr("expected a number, 0 or more")) << tolerance;
  }
  auto alone = forward;
  alone.insert(alone.end(), {"--tolerance", "1"});
  EXPECT_EQ(refusal(alone), "--tolerance judges what --compare FILE finds; give both");
}

}  // namespace
}  // namespace swage
