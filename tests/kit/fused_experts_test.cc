#include "swage/io/fused_experts.h"

#include <ATen/ops/randn.h>
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

class FusedExpertsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("swage-fused-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "config.json") << "{\"model_type\": \"qwen3_moe\"}";
    const absl::Status written = io::write_safetensors((folder_ / "model.safetensors").string(),
                                                       {{"m.experts.down_proj", down_},
                                                        {"m.experts.gate_up_proj", gate_up_},
                                                        {"m.gate.weight", router_}});
    EXPECT_TRUE(written.ok()) << written;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  const at::Tensor gate_up_ = at::randn({2, 6, 5}), down_ = at::randn({2, 5, 3}),
                   router_ = at::randn({2, 5});
};

TEST_F(FusedExpertsTest, AreReadExpertByExpert) {
  const auto model = io::open_checkpoint(folder_.string());
  ASSERT_TRUE(model.ok()) << model.status();
  const WeightSource& weights = (*model)->weights();
  EXPECT_THAT(
      weights.names(),
      ElementsAre("m.experts.0.down_proj.weight", "m.experts.0.gate_proj.weight",
                  "m.experts.0.up_proj.weight", "m.experts.1.down_proj.weight",
                  "m.experts.1.gate_proj.weight", "m.experts.1.up_proj.weight", "m.gate.weight"));
  EXPECT_TRUE(weights.read("m.experts.1.gate_proj.weight")->equal(gate_up_[1].slice(0, 0, 3)));
  EXPECT_TRUE(weights.read("m.experts.0.up_proj.weight")->equal(gate_up_[0].slice(0, 3)));
  EXPECT_TRUE(weights.read("m.experts.1.down_proj.weight")->equal(down_[1]));
  EXPECT_TRUE(
      weights.read_rows("m.experts.1.up_proj.weight", 1, 3)->equal(gate_up_[1].slice(0, 4)));
  EXPECT_THAT(*weights.shape("m.experts.0.down_proj.weight"), ElementsAre(5, 3));
  EXPECT_TRUE(weights.read("m.gate.weight")->equal(router_));
  EXPECT_FALSE(weights.has("m.experts.2.up_proj.weight"));
  EXPECT_FALSE(weights.read("m.experts.2.up_proj.weight").ok());
}

TEST_F(FusedExpertsTest, HeadersShowTheSameMatrices) {
  const auto header = io::read_checkpoint_header(folder_.string());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_TRUE(io::has_fused_experts(*header));
  const io::Header matrices = io::header_by_expert(*header);
  EXPECT_EQ(matrices.size(), 7u);
  EXPECT_THAT(matrices.at("m.experts.1.up_proj.weight").shape, ElementsAre(3, 5));
  EXPECT_FALSE(io::has_fused_experts(matrices));
}

}  // namespace
}  // namespace swage
