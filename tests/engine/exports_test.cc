// Runs that end in checkpoints of engines: verified from disk, measured as they are served, and
// what is wrong with one is found.
#include <gmock/gmock.h>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

struct Kind {
  const char* name;
  const char* exporter;
  const char* scheme;
  const char* weights;  // a file
};

const char kTensor[] =
    "weight = { format = \"fp8-e4m3\", granularity = \"tensor\", share = \"fused\" }\n"
    "activation = { format = \"fp8-e4m3\", granularity = \"tensor\", dynamic = false }\n";
const char kBlocks[] =
    "weight = { format = \"fp8-e4m3\", granularity = \"block\", block_rows = 32, block_columns = "
    "32 "
    "}\nactivation = { format = \"fp8-e4m3\", granularity = \"group\", group = 32 }\n";
const char kNvfp4[] =
    "weight = { format = \"nvfp4\", tensor_scale = \"multiplies\" }\n"
    "activation = { format = \"nvfp4\", tensor_scale = \"multiplies\" }\n";
const char kInt4[] = "weight = { bits = 4, group = 16, scale_dtype = \"fp16\" }\n";
const char kInt8[] =
    "weight = { bits = 8, granularity = \"channel\" }\nactivation = { bits = 8 }\n";

class ExportRun : public RunTest, public ::testing::WithParamInterface<Kind> {
 protected:
  std::string recipe() const {
    return pipeline(std::string("[scheme]\n") + GetParam().scheme +
                    "[[step]]\nuse = \"rtn\"\n[[export]]\npath = \"out\"\n" + GetParam().exporter +
                    "\n" + perplexity());
  }
  double figure(const char* side) const {
    return result()["metrics"]["perplexity"][side].f64("perplexity", 0);
  }
  bool is_folder_of_ranks() const { return fs::exists("out/rank0.safetensors"); }
};

TEST_P(ExportRun, HoldsTheRunToTheLastBitAndServesWhatWasMeasured) {
  ASSERT_OK(run(recipe()));
  const Value item = result()["exports"].list()->front();
  EXPECT_EQ(item.str("verdict", ""), "ok");
  EXPECT_TRUE(item.flag("exact", false));
  EXPECT_GT(item.i64("windows", 0), 0);
  EXPECT_EQ(item.f64("window_difference", 1), 0);
  const double compressed = figure("compressed");
  EXPECT_NE(compressed, figure("original"));
  if (is_folder_of_ranks()) return;
  ASSERT_OK(eval("out", pipeline(perplexity())));
  EXPECT_EQ(figure("original"), compressed);
}

TEST_P(ExportRun, FindsOneBitThatIsAnother) {
  ASSERT_OK(run(recipe()));
  flip_bit(fs::path("out") / GetParam().weights, 1);
  const absl::Status status = resume(true);
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kVerdictFailed)) << status;
}

INSTANTIATE_TEST_SUITE_P(
    Formats, ExportRun,
    ::testing::Values(
        Kind{"Fp8", "use = \"fp8\"", kTensor, "model.safetensors"},
        Kind{"Fp8Blocks", "use = \"fp8\"", kBlocks, "model.safetensors"},
        Kind{"ModelOptFp8", "use = \"modelopt\"", kTensor, "model.safetensors"},
        Kind{"ModelOptNvfp4", "use = \"modelopt\"", kNvfp4, "model.safetensors"},
        Kind{"ModelOptInt4", "use = \"modelopt\"", kInt4, "model.safetensors"},
        Kind{"TrtLlmFp8", "use = \"trtllm\"\nranks = 2", kTensor, "rank1.safetensors"},
        Kind{"TrtLlmInt4", "use = \"trtllm\"", kInt4, "rank0.safetensors"},
        Kind{"TrtLlmInt8", "use = \"trtllm\"\nranks = 2", kInt8, "rank0.safetensors"}),
    [](const auto& kind) { return std::string(kind.param.name); });

// A run may start from an fp8 checkpoint, which is then one in floats; measured it is what engines
// serve of it.
using Fp8Run = RunTest;
TEST_F(Fp8Run, StartsFromFp8AsFromFloats) {
  ASSERT_OK(run(pipeline(std::string("[scheme]\n") + kBlocks +
                         "[[step]]\nuse = \"rtn\"\n[[export]]\nuse = \"fp8\"\npath = \"out\"\n")));
  fs::remove_all(work_);
  ASSERT_OK(run(pipeline("[[step]]\nuse = \"rtn\"\nweight = { bits = 8, group = 32 }\n"
                         "[[export]]\nuse = \"compressed-tensors\"\npath = \"again\"\n" +
                         perplexity()),
                {"model.path=out"}));
  const Value metrics = result()["metrics"]["perplexity"];
  const double floats = metrics["original"].f64("perplexity", 0);
  ASSERT_OK(eval("out", pipeline(perplexity())));
  const double served = result()["metrics"]["perplexity"]["original"].f64("perplexity", 0);
  EXPECT_NE(served, floats);
  EXPECT_NEAR(served, floats, 0.05 * floats);
}

}  // namespace
}  // namespace swage::testing_support
