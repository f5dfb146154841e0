#include "swage/io/fp8.h"

#include <ATen/ops/rand.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "swage/io/checkpoint.h"
#include "swage/io/safetensors.h"

namespace swage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kBlocks =
    R"({"model_type": "deepseek_v3", "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 3]}})";

class Fp8Test : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("swage-fp8-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::unique_ptr<io::Checkpoint>> open(
      const std::string& config, const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
    std::ofstream(folder_ / "config.json") << config;
    const absl::Status written =
        io::write_safetensors((folder_ / "model.safetensors").string(), tensors);
    EXPECT_TRUE(written.ok()) << written;
    return io::open_checkpoint(folder_.string());
  }

  std::filesystem::path folder_;
};

at::Tensor weight(int64_t rows, int64_t columns) {
  return (at::rand({rows, columns}) * 8 - 4).to(at::kFloat8_e4m3fn);
}

TEST_F(Fp8Test, BlocksAreMultipliedByTheirScaleRaggedEdgesIncluded) {
  const at::Tensor w = weight(10, 7), scale = at::rand({3, 3}) + 0.5;
  const auto model = open(kBlocks, {{"a.weight", w}, {"a.weight_scale_inv", scale}});
  ASSERT_TRUE(model.ok()) << model.status();
  const WeightSource& weights = (*model)->weights();
  EXPECT_THAT(weights.names(), ElementsAre("a.weight"));
  EXPECT_EQ(*weights.dtype("a.weight"), at::kBFloat16);
  EXPECT_FALSE((*model)->config().has("quantization_config"));
  at::Tensor expected = w.to(at::kFloat);
  for (int64_t r = 0; r < 10; ++r) {
    for (int64_t c = 0; c < 7; ++c) expected[r][c] *= scale[r / 4][c / 3];
  }
  expected = expected.to(at::kBFloat16);
  EXPECT_TRUE(weights.read("a.weight")->equal(expected));
  EXPECT_TRUE(weights.read_rows("a.weight", 3, 9)->equal(expected.slice(0, 3, 9)));
}

TEST_F(Fp8Test, OneScaleForTheTensorOrForEachRow) {
  const at::Tensor w = weight(4, 6), rows = at::rand({4, 1}) + 0.5;
  const auto model = open(R"({"dtype": "float32", "quantization_config": {"quant_method": "fp8"}})",
                          {{"a.weight", w},
                           {"a.weight_scale", at::full({}, 0.25)},
                           {"a.input_scale", at::full({}, 3.0)},
                           {"b.weight", w},
                           {"b.weight_scale", rows},
                           {"norm.weight", rows}});
  ASSERT_TRUE(model.ok()) << model.status();
  const WeightSource& weights = (*model)->weights();
  EXPECT_THAT(weights.names(), ElementsAre("a.weight", "b.weight", "norm.weight"));
  EXPECT_TRUE(weights.read("a.weight")->equal(w.to(at::kFloat) * 0.25));
  EXPECT_TRUE(weights.read("b.weight")->equal(w.to(at::kFloat) * rows));
  EXPECT_TRUE(weights.read("norm.weight")->equal(rows));
}

TEST_F(Fp8Test, RefusesScalesThatAreMissingOrFitNothing) {
  const at::Tensor w = weight(10, 7);
  EXPECT_THAT(std::string(open(kBlocks, {{"a.weight", w}}).status().message()),
              HasSubstr("a.weight is in fp8, but there is no scale beside it"));
  // Headers tell, so nothing is opened.
  EXPECT_THAT(
      std::string(open(kBlocks, {{"a.weight", w}, {"a.weight_scale_inv", at::rand({3, 2})}})
                      .status()
                      .message()),
      HasSubstr("a.weight_scale_inv has shape [3, 2], which is no scale of a.weight [10, 7]"));
}

}  // namespace
}  // namespace swage
