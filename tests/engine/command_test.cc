// The verbs that compute, as the command answers them.
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <cmath>
#include <sstream>

#include "core/base/exit_codes.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kUsage = static_cast<int>(ExitCode::kUsage);
constexpr int kPipeline = static_cast<int>(ExitCode::kPipeline);
constexpr int kInput = static_cast<int>(ExitCode::kInput);

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class Verb : public CommandTest {
 protected:
  void write_pipeline() const {
    std::ofstream("pipeline.toml")
        << pipeline("[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n" + perplexity() +
                    "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n");
  }
  static Answer run_pipeline(std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"run", "pipeline.toml"});
    const Answer answer = swage(options);
    EXPECT_EQ(answer.code, 0) << answer.err;
    return answer;
  }
  static double figure(const std::string& work, const char* side) {
    const Value result = must(parse_json(read_text(work + "/result.json"), "result.json"));
    return result["metrics"]["perplexity"][side].f64("perplexity", -1);
  }
  static void write_ids(const char* file, const at::Tensor& ids) {
    ASSERT_OK(io::write_safetensors(file, {{"input_ids", ids}}));
  }
  static void expect_refused(const Answer& answer, int code, const std::string& words) {
    EXPECT_EQ(answer.code, code) << answer.err;
    EXPECT_THAT(answer.err, AllOf(HasSubstr("error: "), HasSubstr(words)));
  }
};

TEST_F(Verb, ForwardAgreesWithTransformersOnEveryFixture) {
  for (const char* name :
       {"llama", "llama31", "llama_linear", "llama_yarn", "mistral_sw", "llava_layers"}) {
    SCOPED_TRACE(name);
    const std::string model = (test_data() / "parity" / name).string();
    const std::string reference = model + "/io.safetensors";
    const Answer answer = swage({"forward", model, "--input", reference, "--output",
                                 "out.safetensors", "--compare", reference});
    ASSERT_EQ(answer.code, 0) << answer.err;
    std::vector<std::string> compared;
    for (const std::string& line : lines_of(answer.out)) {
      char tensor[64] = "";
      double difference = 1;
      ASSERT_EQ(std::sscanf(line.c_str(), "%63s largest difference %lf", tensor, &difference), 2)
          << line;
      EXPECT_LT(difference, 2e-5) << line;
      compared.emplace_back(tensor);
    }
    EXPECT_THAT(compared, ElementsAre("hidden_0", "hidden_1", "hidden_2", "logits"));
    EXPECT_THAT(must(io::open_safetensors({"out.safetensors"}))->names(),
                ElementsAre("hidden_0", "hidden_1", "hidden_2", "logits"));
  }
}

TEST_F(Verb, ForwardGivesTheSameBytesForEveryMicroBatchAndThreadCount) {
  write_ids("ids.safetensors", at::arange(60, at::kLong).view({5, 12}));
  std::string first;
  for (const std::vector<std::string>& options :
       {std::vector<std::string>{}, {"--micro-batch", "2"}, {"--threads", "1"}}) {
    std::vector<std::string> arguments = {"forward",         "model",    "--input",
                                          "ids.safetensors", "--output", "out.safetensors"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    ASSERT_EQ(swage(arguments).code, 0);
    if (first.empty()) first = read_text("out.safetensors");
    EXPECT_TRUE(read_text("out.safetensors") == first);
  }
}

TEST_F(Verb, ForwardRefusesInputsThatTheModelDoesNotKnow) {
  const auto forward = [](const std::string& input) {
    return swage({"forward", "model", "--input", input, "--output", "out.safetensors"});
  };
  const at::Tensor ids = at::full({1, 4}, 7, at::kLong);
  ASSERT_OK(io::write_safetensors("pixels.safetensors",
                                  {{"input_ids", ids}, {"pixel_values", at::ones({1, 3})}}));
  expect_refused(forward("pixels.safetensors"), kInput,
                 "input \"pixel_values\" is not known to this model");
  write_ids("beyond.safetensors", at::full({1, 4}, 256, at::kLong));
  expect_refused(forward("beyond.safetensors"), kInput, "the model knows 0 to 255");
  write_ids("floats.safetensors", at::ones({1, 4}));
  expect_refused(forward("floats.safetensors"), kInput, "expected integers [batch, tokens]");
  expect_refused(forward("gone.safetensors"), kInput, "\"gone.safetensors\" does not exist");
  expect_refused(forward("model/config.json"), kInput, "model/config.json");
  expect_refused(swage({"forward", "model"}), kUsage, "--input");
  // Nothing that is read is written over; beside the weights there is room.
  for (const char* output :
       {"model/model.safetensors", "model/config.json", "floats.safetensors"}) {
    expect_refused(swage({"forward", "model", "--input", "floats.safetensors", "--output", output}),
                   kUsage, "would be written over");
  }
  EXPECT_FALSE(fs::exists("out.safetensors"));
}

TEST_F(Verb, ForwardJudgesDifferencesByATolerance) {
  const std::string reference = (test_data() / "parity/llama/io.safetensors").string();
  const auto compare = [&](const std::string& file, const std::string& tolerance) {
    return swage({"forward", "model", "--input", reference, "--output", "out.safetensors",
                  "--compare", file, "--tolerance", tolerance});
  };
  EXPECT_EQ(compare(reference, "2e-5").code, 0);
  const Answer beyond = compare(reference, "0");
  expect_refused(beyond, static_cast<int>(ExitCode::kVerdictFailed),
                 "differs by more than --tolerance 0: hidden_1 by up to ");
  EXPECT_THAT(beyond.out, HasSubstr("logits       largest difference"));  // as without it
  fs::copy_file("out.safetensors", "own.safetensors");
  EXPECT_EQ(compare("own.safetensors", "0").code, 0);
  const auto computed = must(io::open_safetensors({"out.safetensors"}));
  ASSERT_OK(io::write_safetensors("nan.safetensors",
                                  {{"logits", must(computed->read("logits")).mul(std::nan(""))}}));
  EXPECT_EQ(compare("nan.safetensors", "1e9").code, static_cast<int>(ExitCode::kVerdictFailed));
  expect_refused(swage({"forward", "model", "--input", reference, "--output", "out.safetensors",
                        "--tolerance", "1"}),
                 kUsage, "--compare FILE");
}

TEST_F(Verb, AnAdapterIsChosenByItsName) {
  Value config = must(parse_json(read_text("model/config.json"), "config.json"));
  (*config.table())["architectures"] = Value(Value::List{"LamaForCausalLM"});
  (*config.table())["model_type"] = "lama";
  std::ofstream("model/config.json") << to_json(config);
  write_ids("ids.safetensors", at::arange(8, at::kLong).view({1, 8}));
  const Answer without = swage({"inspect", "model"});
  expect_refused(without, kInput, "the nearest that are served: LlamaForCausalLM");
  EXPECT_THAT(without.err, HasSubstr("`swage help architectures` lists all"));
  EXPECT_LT(without.err.size(), 700u);
  EXPECT_EQ(swage({"inspect", "model", "--adapter", "llama"}).code, 0);
  EXPECT_EQ(swage({"forward", "model", "--input", "ids.safetensors", "--output", "out.safetensors",
                   "--adapter", "llama"})
                .code,
            0);
  expect_refused(swage({"inspect", "model", "--adapter", "lama"}), kUsage,
                 "did you mean \"llama\"?");
}

TEST_F(Verb, InspectPrintsTheSameForPrograms) {
  const Answer answer = swage({"inspect", "model", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Value report = must(parse_json(answer.out, "stdout"));
  EXPECT_TRUE(report.flag("ok", false));
  EXPECT_EQ(report["adapter"].str("name", ""), "llama");
  EXPECT_EQ(report.i64("parameters", 0), 94528);
  const Value& blocks = (*(*report["towers"].list())[0]["alike"].list())[0];
  EXPECT_EQ(blocks.str("prefix", ""), "model.layers.");
  EXPECT_EQ(to_json(blocks["indices"], -1), "[0,1]");
  const Value& linear = (*(*blocks["subsets"].list())[0]["linears"].list())[0];
  EXPECT_EQ(linear.str("name", ""), "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(to_json(linear["shape"], -1), "[64,64]");
  EXPECT_EQ(report["problems"].list()->size(), 0u);
  const Answer gone = swage({"inspect", "gone", "--json"});
  EXPECT_EQ(gone.code, kInput);
  EXPECT_THAT(gone.err, IsEmpty());
  const Value error = must(parse_json(gone.out, "stdout"));
  EXPECT_FALSE(error.flag("ok", true));
  EXPECT_EQ(error.i64("exit_code", 0), kInput);
  EXPECT_THAT((*error["problems"].list())[0].str("message", ""), HasSubstr("does not exist"));
}

TEST_F(Verb, EvalOfAnExportGivesTheFigureOfTheRun) {
  write_pipeline();
  EXPECT_THAT(run_pipeline().out, HasSubstr("perplexity"));
  const double compressed = figure("runs/pipeline", "compressed");
  EXPECT_GT(compressed, 1);
  for (int time = 0; time < 2; ++time) {  // a measurement replaces the one before
    const Answer answer = swage({"eval", "packed", "pipeline.toml"});
    ASSERT_EQ(answer.code, 0) << answer.err;
    EXPECT_EQ(figure("runs/eval-packed", "checkpoint"), compressed);
    EXPECT_EQ(figure("runs/eval-packed", "original"), compressed);  // as it was called before
    EXPECT_EQ(figure("runs/eval-packed", "compressed"), -1);
    EXPECT_EQ(lines_of(answer.out).at(0).find_last_not_of(' '), answer.out.find("checkpoint") + 9);
  }
  ASSERT_EQ(swage({"eval", "model/", "pipeline.toml", "--work", "measured"}).code, 0);
  EXPECT_EQ(figure("measured", "checkpoint"), figure("runs/pipeline", "original"));
}

TEST_F(Verb, EvalKeepsAnEarlierMeasurementWhereItsChecksFail) {
  write_pipeline();
  ASSERT_EQ(swage({"eval", "model", "pipeline.toml"}).code, 0);
  const std::string measured = read_text("runs/eval-model/result.json");
  ASSERT_FALSE(measured.empty());
  const std::vector<std::vector<std::string>> failing = {
      {"--set", "evaluate.perplexity.source=gone.txt"},
      {"--set", "evaluate.perplexity.windows=-1"},
      {"--set", "evaluate.perplexity.nothing=1"}};
  for (const auto& words : failing) {
    std::vector<std::string> command = {"eval", "model", "pipeline.toml"};
    command.insert(command.end(), words.begin(), words.end());
    EXPECT_NE(swage(command).code, 0) << words[1];
    EXPECT_EQ(read_text("runs/eval-model/result.json"), measured) << words[1];
  }
  fs::resize_file("model/model.safetensors", 1000);
  EXPECT_EQ(swage({"eval", "model", "pipeline.toml"}).code, kInput);
  EXPECT_EQ(read_text("runs/eval-model/result.json"), measured);
}

TEST_F(Verb, EvalNeedsAnEvaluationAndACheckpoint) {
  std::ofstream("nothing.toml") << pipeline("[[step]]\nuse = \"rtn\"\n");
  expect_refused(swage({"eval", "model", "nothing.toml"}), kPipeline, "there is no [[evaluate]]");
  write_pipeline();
  expect_refused(swage({"eval", "gone", "pipeline.toml"}), kPipeline, "gone");
  EXPECT_FALSE(fs::exists("runs/eval-gone"));
}

TEST_F(Verb, VerifyDecodesAFinishedRunAgain) {
  write_pipeline();
  run_pipeline();
  const Answer answer = swage({"verify", "runs/pipeline"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("packed: decodes to what the run computed"));
  flip_bit("packed/model.safetensors", 1);
  expect_refused(swage({"verify", "runs/pipeline"}), static_cast<int>(ExitCode::kVerdictFailed),
                 "1 differences to what the run computed");
  expect_refused(swage({"verify", "packed"}), static_cast<int>(ExitCode::kVerdictFailed),
                 "holds other bytes than swage wrote");
  expect_refused(swage({"verify", "runs"}), kInput, "neither run.db nor config.json");
}

TEST_F(Verb, InspectShowsWhatAModelIsMadeOf) {
  const Answer answer = swage({"inspect", "model"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr("llama of plugin"), HasSubstr("LlamaForCausalLM"),
                                HasSubstr("self_attn.q_proj"), HasSubstr("folds into")));
  expect_refused(swage({"inspect", "gone"}), kInput, "\"gone\" does not exist");
  std::ofstream("no_model.gguf") << "GGUF";
  expect_refused(swage({"inspect", "no_model.gguf"}), kInput, "no_model.gguf");
}

TEST_F(Verb, RunWritesEventsThatAProgramCanRead) {
  write_pipeline();
  run_pipeline({"--events", "events.jsonl"});
  std::map<std::string, int> count;
  for (const std::string& line : lines_of(read_text("events.jsonl"))) {
    const Value event = must(parse_json(line, "events.jsonl"));
    EXPECT_FALSE(event.str("time", "").empty()) << line;
    ++count[event.str("event", "")];
    if (event.str("event", "") != "result") continue;
    EXPECT_EQ(event["metrics"]["perplexity"]["compressed"].f64("perplexity", 0),
              figure("runs/pipeline", "compressed"));
  }
  EXPECT_GE(count["phase_begin"], 3);  // compress, evaluate, verify
  EXPECT_EQ(count["phase_begin"], count["phase_end"]);
  EXPECT_GE(count["unit"], 4);
  EXPECT_EQ(count["result"], 1);
}

TEST_F(Verb, QuietSaysNothingWhereAllIsWell) {
  write_pipeline();
  const Answer answer = run_pipeline({"--quiet"});
  EXPECT_THAT(answer.out + answer.err, IsEmpty());
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"resume", "runs/pipeline", "--quiet"},
        {"verify", "runs/pipeline", "--quiet"},
        {"eval", "packed", "pipeline.toml", "--quiet"}}) {
    const Answer again = swage(arguments);
    EXPECT_EQ(again.code, 0) << arguments[0];
    EXPECT_THAT(again.out + again.err, IsEmpty()) << arguments[0];
  }
  EXPECT_THAT(swage({"resume", "runs/pipeline"}).out, HasSubstr("perplexity"));
  expect_refused(swage({"run", "pipeline.toml", "--quiet"}), kUsage, "holds an earlier run");
}

// It could be run, but never resumed: its journal is JSON.
TEST_F(Verb, RunRefusesPathsThatAJournalCannotHold) {
  write_pipeline();
  for (const char* verb : {"check", "run"})
    expect_refused(swage({verb, "pipeline.toml", "--set", "run.work=w\xff"}), kPipeline,
                   "this path is not UTF-8");
  EXPECT_FALSE(fs::exists("w\xff"));
}

TEST_F(Verb, RunRefusesToWriteOverWhatIsThere) {
  write_pipeline();
  run_pipeline();
  expect_refused(swage({"run", "pipeline.toml", "--work", "other"}), kPipeline, "exists already");
  fs::remove_all("packed");
  const Answer answer = swage({"run", "pipeline.toml"});
  EXPECT_NE(answer.code, 0);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("resume"), HasSubstr("--work")));
}

}  // namespace
}  // namespace swage::testing_support
