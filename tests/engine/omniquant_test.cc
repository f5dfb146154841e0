// Learned range limits on a small model: what they gain, and what they never change.
#include <gmock/gmock.h>

#include "run_support.h"

namespace swage {
namespace {

using testing_support::read_folder;
using testing_support::RunTest;

constexpr const char* kExport =
    "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n[run]\nwork = \"work\"\n";

class OmniQuantTest : public RunTest {
 protected:
  // Files of the export, divergence in result().
  std::map<std::string, std::string> files_of(const std::string& scheme, const std::string& step,
                                              const std::string& run_keys = "") {
    for (const char* folder : {"packed", "work"}) std::filesystem::remove_all(folder);
    std::ostringstream evaluation;
    evaluation << "[[evaluate]]\nuse = \"divergence\"\nsource = " << data("evaluation.txt")
               << "\nlength = 48\nwindows = 8\n";
    EXPECT_OK(run(pipeline("[scheme]\n" + scheme + "\n[[step]]\n" + step + "\n" + evaluation.str() +
                           kExport + run_keys)));
    return read_folder("packed");
  }
  double divergence() const {
    return result()["metrics"]["divergence"]["compressed"].f64("kl_mean", -1);
  }
};

TEST_F(OmniQuantTest, IsCloserThanRoundingWithAndWithoutActivations) {
  for (const char* scheme :
       {"weight = { bits = 3, group = 32, symmetric = false }",
        "weight = { bits = 3, group = 32, symmetric = true }",
        "weight = { bits = 3, granularity = \"channel\" }\nactivation = { bits = 6 }"}) {
    files_of(scheme, "use = \"rtn\"");
    const double rounded = divergence();
    for (const char* start : {"searched", "wide"}) {
      files_of(scheme,
               std::string("use = \"omniquant\"\nepochs = 6\nlearning_rate = 0.05\nstart = \"") +
                   start + "\"");
      EXPECT_LT(divergence(), rounded) << scheme << ", start " << start;
    }
  }
}

// At eight bits limits of 0.982 are far worse than none, and steps of 1e-6 do not change that.
TEST_F(OmniQuantTest, LeavesEveryByteAsRoundedWhereNothingBetterIsFound) {
  const std::string scheme = "weight = { bits = 8, group = 32, symmetric = false }";
  const auto rounded = files_of(scheme, "use = \"rtn\"");
  const auto learned =
      files_of(scheme, "use = \"omniquant\"\nstart = \"wide\"\nepochs = 1\nlearning_rate = 1e-6");
  EXPECT_EQ(learned.at("model.safetensors"), rounded.at("model.safetensors"));
  EXPECT_THAT(*result()["notes"].list()->front().text(), ::testing::HasSubstr("left as rounded"));
}

TEST_F(OmniQuantTest, BytesDependOnNeitherThreadsNorMicroBatch) {
  const std::string scheme = "weight = { bits = 3, group = 32, symmetric = false }",
                    step = "use = \"omniquant\"\nepochs = 3\nbatch = 2";
  at::set_num_threads(1);
  const auto first = files_of(scheme, step);
  at::set_num_threads(2);
  EXPECT_EQ(files_of(scheme, step), first);
  EXPECT_EQ(files_of(scheme, step, "micro_batch = 1\n"), first);
}

// Weights that fp32 holds, but whose gradients it does not.
TEST_F(OmniQuantTest, WeightsWhoseGradientsOverflowAreRoundedAndNotCalledNaN) {
  const std::string file = "model/model.safetensors";
  const auto source = testing_support::must(io::open_safetensors({file}));
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : source->names()) {
    at::Tensor tensor = testing_support::must(source->read(name));
    const bool large = name.find("layers.0.mlp.down_proj") != std::string::npos;
    tensors.emplace_back(name, large ? tensor.to(at::kFloat) * 1e20 : tensor);
  }
  ASSERT_OK(io::write_safetensors(file, tensors));
  const std::string scheme = "weight = { bits = 4, group = 32 }";
  const auto rounded = files_of(scheme, "use = \"rtn\"");
  const auto learned = files_of(scheme, "use = \"omniquant\"\nepochs = 2");
  EXPECT_THAT(*result()["notes"].list()->front().text(),
              ::testing::HasSubstr("gradients left the range of fp32"));
  EXPECT_FALSE(learned.empty());
}

TEST_F(OmniQuantTest, RoundsWhatHasNoLimitsAndLearnsTheRest) {
  files_of("weight = { bits = 4, group = 32, symmetric = false }",
           "use = \"omniquant\"\nepochs = 1\n[[step.override]]\nmatch = \"*.down_proj\"\n"
           "weight = { format = \"nvfp4\" }");
  int64_t nvfp4 = 0;
  const Value outcome = result();
  for (const Value& linear : *outcome["linears"].list())
    nvfp4 += linear["weight"].str("format", "") == "nvfp4" ? 1 : 0;
  EXPECT_EQ(nvfp4, 2);
  EXPECT_EQ((*outcome["exports"].list())[0].str("verdict", ""), "ok");
}

}  // namespace
}  // namespace swage
