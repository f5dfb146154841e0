// What a step writes past emit() and fold(): every stream behind it passes the weights as they are.
#include <gmock/gmock.h>

#include "swage/io/safetensors.h"
#include "tests/abi/support.h"
#include "tests/engine/command_support.h"

namespace swage::testing_support {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Files = std::map<std::string, std::string>;

class Stale : public CommandTest {
 protected:
  static std::string step(const std::string& fault, const std::string& stream) {
    return "[[step]]\nuse = \"faulty-step\"\nname = \"" + fault + " step\"\nfault = \"" + fault +
           "\"\nstream = \"" + stream + "\"\n";
  }
  // In this process: nothing here ends it.
  absl::Status run(const std::string& rest, const std::string& settings = "") {
    std::ostringstream text;
    text << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
         << "\nsamples = 7\nlength = 24\n[scheme]\nweight = { bits = 4, group = 32 }\n"
         << rest << "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"
         << "[run]\nwork = \"work\"\n"
         << settings;
    fs::remove_all("work");
    fs::remove_all("packed");
    return RunTest::run(text.str(), {}, {folder("abi_faults")});
  }
  Files exported(const std::string& rest, const std::string& settings = "") {
    EXPECT_OK(run(rest, settings));
    return fs::exists("packed") ? read_result("packed") : Files();
  }
  static std::string digest_of(const std::string& tensor) {
    const auto packed = must(io::open_safetensors({"packed/model.safetensors"}));
    return digest(must(packed->read(tensor)));
  }
};

TEST_F(Stale, CompressedStreamsPassWhatAStepWroteBehindItsWalk) {
  // The norm is written by a step of its own: nothing that was left by a walk can be used there.
  const Files expected = exported(step("", "compressed") + step("norm alone", "none"));
  ASSERT_FALSE(expected.empty());
  for (const char* fault : {"norm after walk", "raw norm after walk", "norm replaced after walk"}) {
    SCOPED_TRACE(fault);
    EXPECT_TRUE(exported(step(fault, "compressed")) == expected);
  }
  EXPECT_FALSE(exported(step("", "compressed")) == expected) << "the norm counts for something";
}

TEST_F(Stale, OriginalStreamsPassWhatAStepWroteBehindTheirWalk) {
  const Files expected = exported(step("", "original") + step("norm alone", "none"));
  ASSERT_FALSE(expected.empty());
  for (const char* fault : {"norm after walk", "raw norm after walk", "norm replaced after walk"}) {
    SCOPED_TRACE(fault);
    EXPECT_TRUE(exported(step(fault, "original")) == expected);
  }
  EXPECT_FALSE(exported(step("", "original")) == expected) << "the norm counts for something";
}

TEST_F(Stale, LaterStagesSeeWhatWasWrittenIntoEarlierOnes) {
  const std::string down = "model.layers.0.mlp.down_proj.weight_packed";
  exported(step("norm before walk", "original"));
  const std::string expected = digest_of(down);
  exported(step("norm in walk", "original"));
  EXPECT_EQ(digest_of(down), expected);
  exported(step("", "original"));
  EXPECT_NE(digest_of(down), expected) << "the norm counts for something";
}

TEST_F(Stale, AStepThatMeasuresBeforeTheModelIsRotatedIsRefusedWithTheOrderThatWorks) {
  const std::string gptq = "[[step]]\nuse = \"gptq\"\n", quarot = "[[step]]\nuse = \"quarot\"\n";
  const std::pair<std::string, std::string> cases[] = {
      {quarot, "put \"quarot\" before \"gptq\""},
      {step("rotates", "none"), "put \"rotates step\" before \"gptq\""}};
  for (const auto& [later, words] : cases) {
    const absl::Status status = run(gptq + later);
    EXPECT_EQ(exit_code(status), 3) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("pipeline.toml:"), HasSubstr(words)));
    EXPECT_FALSE(fs::exists("work/run.db")) << "refused when planned";
  }
  EXPECT_OK(run(quarot + gptq));
}

TEST_F(Stale, AScaleOfAWholeTensorDoesNotDependOnMicroBatches) {
  const std::string measured =
      "[[evaluate]]\nuse = \"perplexity\"\nlength = 24\nwindows = 5\n"
      "source = \"" +
      data("evaluation.txt").string() + "\"\n";
  const std::string recipe =
      "[[step]]\nuse = \"gptq\"\ncalibrate_on = \"compressed\"\nactivation = { bits = 8, "
      "granularity = \"tensor\", dynamic = true }\n";
  const auto outcome = [&](const std::string& settings) {
    std::ostringstream text;
    text << "[model]\npath = \"model\"\n[calibration]\nsource = " << data("calibration.txt")
         << "\nsamples = 7\nlength = 24\n[scheme]\nweight = { bits = 4, group = 32 }\n"
         << recipe << measured << "[run]\nwork = \"work\"\n"
         << settings;
    fs::remove_all("work");
    EXPECT_OK(RunTest::run(text.str(), {}, {folder("abi_faults")}));
    const Value result = must(parse_json(read_text("work/result.json"), "result.json"));
    return to_json(result["metrics"]);
  };
  const std::string one = outcome("micro_batch = 1\n");
  EXPECT_EQ(outcome("micro_batch = 3\n"), one);
  EXPECT_EQ(outcome(""), one);
}

}  // namespace
}  // namespace swage::testing_support
