// Plugins that go wrong while they are called: what the command answers. None takes the host along
// without a word, none ends in success.
#include <gmock/gmock.h>

#include "tests/abi/support.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kPlugin = static_cast<int>(ExitCode::kPlugin);
using Words = std::vector<std::string>;

class Misbehaving : public CommandTest {
 protected:
  void write(const std::string& rest, const std::string& run = "") {
    std::ostringstream text;
    text << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
         << "\nsamples = 3\nlength = 24\n[scheme]\nweight = { bits = 4, group = 32 }\n"
         << rest << "[run]\nwork = \"work\"\n"
         << run;
    pipeline_ = text.str();
  }
  static void clean() {
    fs::remove_all("work");
    fs::remove_all("packed");
    for (const auto& entry : fs::directory_iterator(".")) {
      if (entry.path().extension() == ".part") fs::remove_all(entry.path());
    }
  }
  // In a process of its own, as a user does.
  Answer run() const {
    clean();
    std::ofstream("pipeline.toml") << pipeline_;
    return swage({"--plugin-path", folder("abi_faults"), "run", "pipeline.toml"});
  }
  // In this one, which takes a tenth of the time: for faults that are told as errors.
  Answer run_here() {
    clean();
    const absl::Status status = RunTest::run(pipeline_, {}, {folder("abi_faults")});
    return {exit_code(status), "", "error: " + std::string(status.message())};
  }
  Answer run_as(bool ends) { return ends ? run() : run_here(); }
  // Ways of ends.h in which a call ends its process.
  static bool ends(const std::string& fault) {
    const std::string how = fault.substr(fault.rfind(':') + 1);
    const char* const all[] = {"exit", "_exit",     "_Exit",     "quick_exit", "abort",
                               "segv", "terminate", "recursion", "handler",    "last word"};
    return fault.rfind("destructor", 0) == 0 || how.rfind("thread", 0) == 0 ||
           std::find(std::begin(all), std::end(all), how) != std::end(all);
  }

  // Exit 5; component, plugin, version and file are said, and what the case asks for.
  static void expect_fault(const Answer& answer, const std::string& component, const Words& words) {
    EXPECT_EQ(answer.code, kPlugin) << answer.err;
    EXPECT_THAT(answer.err,
                AllOf(HasSubstr("error: "), HasSubstr(component),
                      HasSubstr("plugin org.example.faults 3.2.1, " + file("abi_faults"))));
    for (const std::string& word : words) EXPECT_THAT(answer.err, HasSubstr(word));
  }

  static std::string step(const std::string& fault, const std::string& stream = "original") {
    return "[[step]]\nuse = \"faulty-step\"\nname = \"first\"\nfault = \"" + fault +
           "\"\nstream = \"" + stream + "\"\n";
  }
  void expect_step(const std::string& fault, Words words, const std::string& before = "") {
    SCOPED_TRACE(fault);
    write(before + step(fault));
    words.push_back("step \"first\"");
    expect_fault(run_as(ends(fault)), "faulty-step", words);
  }
  void expect_measure(const std::string& fault, const Words& words) {
    SCOPED_TRACE(fault);
    write("[[step]]\nuse = \"rtn\"\n[[evaluate]]\nuse = \"faulty-measure\"\nfault = \"" + fault +
          "\"\n");
    expect_fault(run_as(ends(fault)), "faulty-measure", words);
  }
  void expect_format(const std::string& fault, const Words& words) {
    SCOPED_TRACE(fault);
    write(
        "[[step]]\nuse = \"rtn\"\n[[export]]\nuse = \"faulty-format\"\npath = \"packed\"\nfault = "
        "\"" +
        fault + "\"\n");
    expect_fault(run_as(ends(fault)), "faulty-format", words);
  }
  void expect_model(const std::string& fault, const Words& words) {
    SCOPED_TRACE(fault);
    Value config = must(parse_json(read_text(test_data() / "parity/llama/config.json"), "config"));
    (*config.table())["architectures"] = Value(Value::List{Value("FaultyForCausalLM")});
    (*config.table())["model_type"] = "faulty";
    (*config.table())["fault"] = fault;
    std::ofstream("model/config.json") << to_json(config);
    write(
        "[[step]]\nuse = \"gptq\"\n[[evaluate]]\nuse = \"perplexity\"\nlength = 24\nwindows = 2\n"
        "source = \"" +
        data("evaluation.txt").string() + "\"\n");
    expect_fault(run_as(ends(fault)), "faulty-model", words);
  }
  std::string metric(const std::string& name) const {
    const Value result = must(parse_json(read_text("work/result.json"), "result.json"));
    return to_json(result["metrics"][name]);
  }

  std::string pipeline_;
};

TEST_F(Misbehaving, AStepThatEndsTheProcessEndsItWithItsNameAndExitFive) {
  const std::pair<const char*, const char*> ways[] = {{"exit", "calls exit(0)"},
                                                      {"_exit", "calls _exit(0)"},
                                                      {"_Exit", "calls _exit(0)"},
                                                      {"quick_exit", "calls quick_exit"},
                                                      {"abort", "signal 6"},
                                                      {"terminate", "signal 6"},
                                                      {"segv", "signal 11"},
                                                      {"recursion", "no stack left"},
                                                      {"thread-exit", "calls exit(0)"},
                                                      {"thread-throws", "signal 6"},
                                                      {"thread-segv", "signal 11"},
                                                      {"handler", "calls exit(0)"}};
  for (const auto& [way, words] : ways) {
    expect_step(way, {"faulty-step: block 0", words});
    EXPECT_TRUE(fs::exists("work/run.db"));
  }
}

TEST_F(Misbehaving, AStepIsNamedWithItsSubset) {
  for (const char* way : {"subset:exit", "subset:segv", "subset:recursion", "subset:throw"})
    expect_step(way, {"faulty-step: block 0: attention.input"});
}

TEST_F(Misbehaving, EveryCallOfAStepIsWithinTheBorder) {
  expect_step("create:exit", {"faulty-step: create"});
  expect_step("create:throw", {"faulty-step: create: exception"});
  expect_step("needs:exit", {"faulty-step: needs"});
  expect_step("needs:throw", {"faulty-step: needs: exception"});
  expect_step("destructor:exit", {"faulty-step: destructor"});
  expect_step("destructor:throw", {"faulty-step: destructor", "signal 6"});
  expect_step("Internal", {"an invariant of the plugin is broken"});
  expect_step("Unknown", {});
  expect_step("int", {"an exception that is no std::exception"});
}

TEST_F(Misbehaving, NeedsThatNobodyCanServeAreAFault) {
  expect_step("no stream", {"asks for statistics without calibrate_on()"});
  expect_step("sample", {"asks for a sample of -5 tokens"});
}

TEST_F(Misbehaving, WeightsAndNormsAreCheckedBehindEveryCall) {
  const std::pair<const char*, const char*> cases[] = {
      {"short weight", "q_proj.weight was left [64, 16], expected [64, 64]"},
      {"short rows", "q_proj.weight was left [8, 64], expected [64, 64]"},
      {"double weight", "q_proj.weight was left Double, expected Float"},
      {"no weight", "q_proj.weight was left undefined"},
      {"nan weight", "not finite"},
      {"nan quantized", "not finite"},
      {"short norm", "norm.weight was left [7], expected [64]"},
      {"infinite norm", "not finite"},
      {"new bias", "q_proj.bias was left defined"}};
  for (const auto& [fault, words] : cases)
    expect_step(fault, {"faulty-step: block 0: attention.input", words});
}

TEST_F(Misbehaving, ABlockIsLeftWithItsLinearsAndSubsets) {
  expect_step("clears subsets", {"the subsets of the block were changed"});
  expect_step("one linear less", {"added to the block or removed"});
  expect_step("renames", {"its name, rule or storage was changed"});
  expect_step("quantizer", {"with an input quantizer"});
  expect_step("short embedding", {"model_transform", "was left with another name or shape"});
  expect_step("nested walk", {"for_each_subset() is called while it runs"});
}

TEST_F(Misbehaving, EmittedResultsAreHeldAgainstTheLinear) {
  expect_step("foreign", {"none of this block's"});
  expect_step("twice", {"emitted twice by one step"});
  expect_step("another name", {"emitted under the name model.layers.9.mlp.down_proj"});
  expect_step("past emit", {"its result was set past emit()"});
  expect_step("bad scales", {"scales is not finite everywhere"});
  expect_step("codes of another shape", {"codes is [1, 64], expected [64, 64]"});
  expect_step("transform", {"which needs() does not announce"});
  const std::string before = "[[step]]\nuse = \"rtn\"\n";
  for (const char* fault : {"weight of an emitted linear", "raw weight of an emitted linear"}) {
    write(before + "[[step]]\nuse = \"faulty-step\"\nmatch = \"*.mlp.down_proj\"\nfault = \"" +
          std::string(fault) + "\"\n");
    expect_fault(run_here(), "faulty-step",
                 {"written after rtn", "come before those that quantize"});
  }
}

TEST_F(Misbehaving, AResultIsOfTheSchemeThatThePipelineAsksFor) {
  expect_step("other bits", {"emitted as w8 g32 symmetric", "asks for w4 g32 symmetric"});
  expect_step("other zero point", {"emitted as w4 g32 asymmetric", "asks for w4 g32 symmetric"});
}

TEST_F(Misbehaving, AResultIsTheRunsOnceItIsEmitted) {
  const auto exported = [&](const std::string& fault) {
    write(step(fault) + "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n");
    const Answer answer = run_here();
    EXPECT_EQ(answer.code, 0) << answer.err;
    return fs::exists("packed") ? read_result("packed") : std::map<std::string, std::string>();
  };
  const auto expected = exported("");
  EXPECT_TRUE(exported("writes into what it emitted") == expected);
  expect_step("writes into a result", {"its result was written into"});
}

// Whatever a step does to the process around it, the run ends as if it had not.
TEST_F(Misbehaving, AStepSpoilsNothingOfTheProcess) {
  const auto outcome = [&](const std::string& fault) {
    SCOPED_TRACE(fault);
    write(step(fault) + "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n");
    const Answer answer = run();
    EXPECT_EQ(answer.code, 0) << answer.err;
    EXPECT_THAT(answer.out, HasSubstr("packed (read back: ok"));
    return fs::exists("packed") ? read_result("packed") : std::map<std::string, std::string>();
  };
  const auto expected = outcome("");
  for (const char* fault : {"process", "standard files", "limit", "timer", "fork"})
    EXPECT_TRUE(outcome(fault) == expected) << fault;
  EXPECT_THAT(read_text("err.txt"),
              HasSubstr("faulty-step: block 0 (step \"first\", plugin org.example.faults"));
  EXPECT_THAT(read_text("err.txt"), HasSubstr("a process that it forked came back"));
}

TEST_F(Misbehaving, AStepThatClosesTheRunsFilesEndsIt) {
  write(step("all files") + "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n");
  const Answer answer = run();
  EXPECT_THAT(answer.code, ::testing::AnyOf(4, 5, 7)) << answer.err;
  EXPECT_FALSE(fs::exists("packed"));
}

TEST_F(Misbehaving, NotesAreOfBoundedNumberAndLength) {
  for (const char* fault : {"long note", "many notes"}) {
    SCOPED_TRACE(fault);
    write(step(fault));
    const Answer answer = run();
    EXPECT_EQ(answer.code, 0) << answer.err.substr(0, 2000);
    EXPECT_LT(answer.err.size(), size_t{1} << 20);
    EXPECT_LT(fs::file_size("work/result.json"), size_t{1} << 20);
  }
  EXPECT_THAT(read_text("work/result.json"), HasSubstr("more notes are left out"));
}

TEST_F(Misbehaving, NobodyHasTheLastWordAboutTheExitCode) {
  expect_step("last word", {"thrown"});
  write(step("thread left behind"));
  const Answer answer = run();
  EXPECT_NE(answer.code, 0);
  EXPECT_THAT(answer.err, HasSubstr("signal 11"));
}

TEST_F(Misbehaving, ALinearThatAStepLeavesOutIsAFault) {
  write(step("dropped"));
  const Answer answer = run_here();
  EXPECT_EQ(answer.code, kPlugin) << answer.err;
  EXPECT_THAT(answer.err, HasSubstr("should have compressed it and emitted nothing"));
}

TEST_F(Misbehaving, ScalesThatCannotBeFoldedAreAFault) {
  for (const char* fault : {"fold zero", "fold nan", "fold negative"})
    expect_step(fault, {"the scale of channel 3 is"});
  expect_step("fold short", {"a scale for each of the 64 input channels is needed, found 5"});
  expect_step("fold matrix", {"no vector of scales"});
  expect_step("fold nothing", {"no vector of scales"});
}

TEST_F(Misbehaving, WhatACallWasGivenEndsWithIt) {
  expect_step("holds the context", {"is used after the call that it was given for"});
  expect_step("inputs", {"it wrote into inputs()"});
  expect_step("raw inputs", {"it wrote into inputs()"});
  expect_measure("holds the input", {"report", "is used after the call that it was given for"});
  write(step("writes head later"));
  const Answer answer = run_here();
  EXPECT_EQ(answer.code, kPlugin) << answer.err;
  EXPECT_THAT(answer.err, HasSubstr("written behind model_transform"));
}

TEST_F(Misbehaving, TextOfAPluginIsOneLineWithoutControlBytes) {
  expect_step("throw", {"thrown\\nerror: \\x1b[31mred"});
  write(step("note"));
  const Answer answer = run();
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.err, AllOf(HasSubstr("one\\n\\x1b[2Jtwo\\x07"), Not(HasSubstr("\x1b[2J"))));
  EXPECT_THAT(read_text("work/result.json"), HasSubstr("one\\\\n\\\\x1b[2Jtwo\\\\x07"));
}

TEST_F(Misbehaving, EveryCallOfAnEvaluatorIsWithinTheBorder) {
  for (const char* phase : {"prepare", "wants_original", "consume", "report", "destructor"}) {
    const std::string named = phase == std::string("wants_original") ? "prepare" : phase;
    for (const char* way : {":exit", ":throw"})
      expect_measure(std::string(phase) + way, {"faulty-measure: " + named});
  }
}

TEST_F(Misbehaving, AnEvaluatorsSequencesAndFiguresAreChecked) {
  expect_measure("no sequence", {"gives no sequence"});
  expect_measure("empty sequence", {"a sequence without tokens"});
  expect_measure("ids beyond", {"the token id 256"});
  expect_measure("negative id", {"the token id -1"});
  expect_measure("inputs of fewer", {"3 sequences and inputs of 1"});
  expect_measure("nan", {"\"rows\" that is not a number"});
  expect_measure("empty name", {"names a figure \"\""});
  expect_measure("escapes", {"names a figure \"\\x1b[2J\\nrows\""});
  expect_measure("long name", {"1 to 80 bytes"});
  expect_measure("no utf-8", {"\\xff\\xfe"});
}

TEST_F(Misbehaving, AnEvaluatorSpoilsNobodyElsesLogits) {
  const std::string figure = "[[evaluate]]\nuse = \"faulty-measure\"\nname = \"plain\"\n";
  const std::string measured =
      "[[evaluate]]\nuse = \"perplexity\"\nlength = 24\nwindows = 2\n"
      "source = \"" +
      data("evaluation.txt").string() + "\"\n";
  const auto perplexity = [&](const std::string& first) {
    write("[[step]]\nuse = \"rtn\"\n" + first + measured);
    const Answer answer = run_here();
    EXPECT_EQ(answer.code, 0) << answer.err;
    return metric("perplexity");
  };
  // Both on one set of sequences: the spoiler sees them first.
  const std::string spoiler = figure + "fault = \"spoils\"\n";
  EXPECT_EQ(perplexity(spoiler), perplexity(figure));
}

TEST_F(Misbehaving, EveryCallOfAnExporterIsWithinTheBorder) {
  for (const char* phase : {"check", "encode", "parameter", "finish", "decode"}) {
    const std::string named = phase == std::string("parameter") ? "encode" : phase;
    for (const char* way : {":segv", ":throw"})
      expect_format(std::string(phase) + way, {"faulty-format: " + named, "export \""});
  }
}

TEST_F(Misbehaving, AnExportThatHoldsNothingOrLinksIsAFault) {
  expect_format("nothing", {"finish() leaves no file"});
  expect_format("elsewhere", {"finish() leaves no file"});
  expect_format("link", {"neither a file nor a folder"});
  expect_format("undefined", {"is put undefined"});
}

TEST_F(Misbehaving, AnExporterSpoilsNothingOfTheRun) {
  const std::string other =
      "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\nname = \"packed\"\n";
  fs::remove_all("spoilt");
  write("[[step]]\nuse = \"rtn\"\n" + other);
  ASSERT_EQ(run_here().code, 0);
  const auto expected = read_result("packed");
  write(
      "[[step]]\nuse = \"rtn\"\n[[export]]\nuse = \"faulty-format\"\npath = \"spoilt\"\nfault = "
      "\"spoils\"\n" +
      other);
  const Answer answer = run_here();
  EXPECT_EQ(read_result("packed") == expected, true) << answer.err;
}

TEST_F(Misbehaving, EveryCallOfAnAdapterIsWithinTheBorder) {
  const std::pair<const char*, const char*> calls[] = {
      {"open", ""},
      {"shape", ""},
      {"load", "load the shapes of block 0"},
      {"stage", "block 0"},
      {"destructor", "load the shapes of block 0"}};
  for (const auto& [phase, named] : calls) {
    expect_model(std::string(phase) + ":exit", {named});
  }
  // The next block is loaded on a thread of its own.
  expect_model("load:recursion", {"load the shapes of block 0"});
  expect_model("open:throw", {"exception: thrown"});
  expect_model("load:throw", {"load the shapes of block 0: exception: thrown"});
}

TEST_F(Misbehaving, WhatAnAdapterLoadsIsChecked) {
  expect_model("null block", {"block 0: null instead of"});
  expect_model("null embedding", {"embedding: null instead of"});
  expect_model("null head", {"head: null instead of"});
  expect_model("another block", {"answers with block 1 where block 0 was asked for"});
  expect_model("null linear", {"has a null linear"});
  expect_model("foreign linear", {"a linear that is not the block's"});
  expect_model("cycle", {"stands in two places of the stages"});
  expect_model("fold ahead", {"is no linear of a stage before it"});
  expect_model("fold rows", {"has rows that do not exist"});
  expect_model("no input", {"has no input or no linear"});
  expect_model("short bias", {".bias is Float [3], expected floats [64]"});
  expect_model("no weight", {".weight is undefined"});
  expect_model("one name", {"two tensors of the name"});
  expect_model("no norm", {"is undefined, expected floats"});
}

TEST_F(Misbehaving, WhatAnAdapterLoadsIsWhatTheCheckpointHolds) {
  expect_model("scaled weight", {"o_proj.weight was loaded with other values"});
  expect_model("scaled norm", {"norm.weight was loaded with other values"});
  expect_model("scaled embedding", {"embed_tokens.weight was loaded with other values"});
  expect_model("first block's values", {"load block 1", "model.layers.1.", "with other values"});
}

TEST_F(Misbehaving, WhatAnAdapterComputesIsChecked) {
  expect_model("no slot", {"the stage leaves no slot \"x\""});
  expect_model("narrow slot", {"slot \"x\" is Float [72, 8]"});
  expect_model("fewer rows", {"slot \"x\" is Float ["});
  expect_model("wide output", {"the block's output is Float ["});
  expect_model("fewer tokens", {"the block's output is Float [1, 64]"});
  expect_model("no output", {"hidden"});
  expect_model("wide logits", {"logits is Float ["});
}

TEST_F(Misbehaving, SizesOfAnAdapterAreChecked) {
  expect_model("negative count", {"shape() asks for -3 blocks of language"});
  expect_model("huge count", {"shape() asks for 1152921504606846976 blocks"});
  expect_model("no tower", {"no tower \"language\""});
  expect_model("hidden size", {"slot \"hidden\" is Float [", ", 64], expected floats [", ", 72]"});
  expect_model("no hidden size", {"hidden_size 0"});
}

}  // namespace
}  // namespace swage::testing_support
