// Whole runs on a small model, in this process.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

const char kPacked[] = "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n";
const char kDense[] = "[[export]]\nuse = \"huggingface\"\npath = \"dense\"\n";
const char kGptq[] = "[[step]]\nuse = \"gptq\"\nweight = { bits = 4, group = 32 }\n";

using SmallRun = RunTest;

double figure(const Value& result, const char* side) {
  return result["metrics"]["perplexity"][side].f64("perplexity", 0);
}

TEST_F(SmallRun, LeavesWhatItPromises) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + perplexity() + kPacked + kDense)));
  const Value result = this->result();
  EXPECT_GT(figure(result, "original"), 1);
  EXPECT_GT(figure(result, "compressed"), 1);
  EXPECT_NE(figure(result, "original"), figure(result, "compressed"));
  EXPECT_DOUBLE_EQ(result.f64("bits_per_weight", 0), 5);  // 32 bits of scale for 32 weights
  EXPECT_GT(result.f64("bits_per_weight_model", 0), 5);
  EXPECT_GT(result["peak_bytes"].i64("host", 0), 1000000);
  ASSERT_EQ(result["exports"].list()->size(), 2u);
  for (const Value& item : *result["exports"].list()) {
    EXPECT_EQ(item.str("verdict", ""), "ok");
    EXPECT_EQ(item.f64("window_difference", 1), 0);
  }
  for (const char* file :
       {"packed/config.json", "packed/model.safetensors", "packed/tokenizer.json",
        "packed/swage_verdict.json", "dense/model.safetensors"})
    EXPECT_TRUE(fs::exists(file)) << file;
  EXPECT_FALSE(fs::exists(fs::path(work_) / "parts" / "compressed-tensors"));
}

TEST_F(SmallRun, MeasuresWhatIsServed) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + perplexity() + kPacked + kDense)));
  const double compressed = figure(result(), "compressed");
  for (const char* checkpoint : {"packed", "dense"}) {
    ASSERT_OK(eval(checkpoint, pipeline(perplexity())));
    EXPECT_EQ(figure(result(), "original"), compressed) << checkpoint;
  }
}

TEST_F(SmallRun, GivesTheSameBytesForEveryMicroBatch) {
  const std::string steps =
      "[scheme]\nweight = { bits = 4, group = 32, symmetric = false }\n"
      "[[step]]\nuse = \"awq\"\n[[step]]\nuse = \"gptq\"\n";
  std::map<std::string, std::string> first;
  for (const char* micro_batch : {"1", "2", "5"}) {
    ASSERT_OK(run(pipeline(steps + perplexity() + kPacked),
                  {std::string("run.micro_batch=") + micro_batch}));
    const auto files = read_folder("packed");
    if (first.empty()) first = files;
    EXPECT_TRUE(files == first) << "micro-batch " << micro_batch;
    fs::remove_all("packed");
    fs::remove_all(work_);
  }
}

TEST_F(SmallRun, GivesTheSameBytesForOneAndTwoThreads) {
  const int threads = at::get_num_threads();
  std::vector<std::map<std::string, std::string>> results;
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    ASSERT_OK(run(pipeline(std::string(kGptq) + perplexity() + kPacked)));
    results.push_back(read_folder("packed"));
    fs::remove_all("packed");
    fs::remove_all(work_);
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(results[0] == results[1]);
}

TEST_F(SmallRun, ComposesScalingAndQuantizingSteps) {
  for (const char* activation : {"{ bits = 8 }", "{ granularity = \"tensor\", dynamic = false }"}) {
    ASSERT_OK(
        run(pipeline(std::string("[scheme]\nweight = { bits = 8, granularity = \"channel\" }\n"
                                 "activation = ") +
                     activation + "\n[[step]]\nuse = \"smoothquant\"\n[[step]]\nuse = \"gptq\"\n" +
                     perplexity() + kPacked)));
    const double original = figure(result(), "original");
    EXPECT_NEAR(figure(result(), "compressed"), original, 0.02 * original) << activation;
    fs::remove_all("packed");
    fs::remove_all(work_);
  }
}

TEST_F(SmallRun, LeavesTheFunctionOfAMerelyTransformedModel) {
  ASSERT_OK(run(pipeline("[[step]]\nuse = \"rescale\"\n" + perplexity() + kDense)));
  const Value result = this->result();
  EXPECT_NEAR(figure(result, "compressed"), figure(result, "original"),
              1e-5 * figure(result, "original"));
  EXPECT_EQ(result.i64("linears_compressed", -1), 0);
  EXPECT_EQ((*result["linears"].list())[0].str("kept_by", ""), "no step quantizes weights");
}

TEST_F(SmallRun, NamesTheRuleOfEveryKeptLinear) {
  ASSERT_OK(
      run(pipeline("[[step]]\nuse = \"rtn\"\nmatch = \"*.mlp.*\"\nweight = { bits = 4, "
                   "group = 32 }\n[[step.override]]\nmatch = \"*.down_proj\"\nkeep = true\n" +
                   std::string(kPacked))));
  std::map<std::string, int> rules;
  const Value result = this->result();
  for (const Value& linear : *result["linears"].list())
    ++rules[linear.str("kept_by", "compressed")];
  const int layers = rules["keep = true in step \"rtn\""];
  EXPECT_GT(layers, 0);
  EXPECT_EQ(rules["compressed"], 2 * layers);
  EXPECT_EQ(rules["no step's match fits it"], 4 * layers);
}

TEST_F(SmallRun, RefusesAWorkFolderAndExportsThatExist) {
  const std::string toml = pipeline(std::string(kGptq) + kPacked);
  ASSERT_OK(run(toml));
  const absl::Status again = run(toml);
  EXPECT_EQ(exit_code(again), static_cast<int>(ExitCode::kUsage));
  EXPECT_THAT(std::string(again.message()), HasSubstr("holds an earlier run"));
  fs::remove_all(work_);
  const absl::Status filled = run(toml);
  EXPECT_EQ(exit_code(filled), static_cast<int>(ExitCode::kPipeline));
  EXPECT_THAT(std::string(filled.message()), HasSubstr("packed\" exists already"));
}

TEST_F(SmallRun, ResumedAfterItsEndChangesNothing) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + perplexity() + kPacked)));
  const auto before = read_folder("packed");
  ASSERT_OK(resume());
  EXPECT_TRUE(read_folder("packed") == before);
}

TEST_F(SmallRun, RefusesToResumeWithAnotherConfiguration) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + kPacked)));
  std::string changed = pipeline(std::string(kGptq) + kPacked);
  changed.replace(changed.find("bits = 4"), 8, "bits = 3");
  std::ofstream("pipeline.toml") << changed;
  const absl::Status status = resume();
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kPipeline));
  EXPECT_THAT(std::string(status.message()), HasSubstr("weight.bits: 4, now 3"));
}

TEST_F(SmallRun, VerificationFindsOneFlippedBit) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + kPacked)));
  ASSERT_OK(resume(true));
  flip_bit("packed/model.safetensors", 1);
  const absl::Status status = resume(true);
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kVerdictFailed));
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 differences"));
}

TEST_F(SmallRun, VerificationNamesATruncatedExport) {
  ASSERT_OK(run(pipeline(std::string(kGptq) + kPacked)));
  fs::resize_file("packed/model.safetensors", fs::file_size("packed/model.safetensors") - 1);
  EXPECT_THAT(std::string(resume(true).message()), HasSubstr("model.safetensors"));
}

TEST_F(SmallRun, KeepsOriginalsApartThatDifferInOneWeight) {
  const std::string toml = pipeline(std::string(kGptq) + perplexity() + "[run]\n");
  const std::vector<std::string> cached = {"run.reference_cache=cache"};
  const auto original = [&](const std::vector<std::string>& sets) {
    fs::remove_all(fs::absolute("runs"));
    EXPECT_OK(run(toml, sets));
    return figure(result(), "original");
  };
  const double first = original(cached);
  EXPECT_EQ(original(cached), first);
  flip_bit("model/model.safetensors", 2);  // of the last tensor's last float
  const double second = original({});
  EXPECT_NE(second, first);
  EXPECT_EQ(original(cached), second);
}

}  // namespace
}  // namespace swage::testing_support
