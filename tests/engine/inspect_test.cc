#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/exit_codes.h"
#include "core/engine/verbs/verbs.h"
#include "swage/io/safetensors_header.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class InspectTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* source = std::getenv("SWAGE_SOURCE_DIR");
    ASSERT_NE(source, nullptr) << "SWAGE_SOURCE_DIR names the source tree";
    parity_ = std::string(source) + "/tests/data/parity/";
    folder_ = testing::TempDir() + "/inspect";
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A copy of the fixture whose safetensors header is changed: `from` becomes `to`, which is as
  // long.
  void change_header(const std::string& from, const std::string& to) {
    fs::copy(parity_ + "llama", folder_);
    const std::string file = folder_ + "/model.safetensors";
    auto content = io::read_file(file);
    ASSERT_TRUE(content.ok() && from.size() == to.size());
    const size_t at = content->find(from);
    ASSERT_NE(at, std::string::npos) << from;
    content->replace(at, from.size(), to);
    std::ofstream(file, std::ios::binary) << *content;
  }

  absl::Status inspect_model(const std::string& model, std::string* output) {
    Arguments arguments;
    arguments.target = model;
    testing::internal::CaptureStdout();
    const absl::Status status = inspect(arguments);
    *output = testing::internal::GetCapturedStdout();
    return status;
  }

  std::string printed(const std::string& model) {
    std::string output;
    const absl::Status status = inspect_model(model, &output);
    EXPECT_TRUE(status.ok()) << status;
    return output;
  }

  std::string parity_, folder_;
};

TEST_F(InspectTest, DescribesTheModel) {
  const std::string output = printed(parity_ + "llama");
  EXPECT_THAT(
      output,
      AllOf(HasSubstr("  adapter        llama of plugin llama 1.0.0\n"),
            HasSubstr("  architecture   LlamaForCausalLM\n"), HasSubstr("  parameters     94528\n"),
            HasSubstr("  size           378 kB: F32 378 kB in 21 tensors\n"),
            HasSubstr("  vocabulary     256\n"), HasSubstr("  context        512\n"),
            HasSubstr("  embeddings     apart from the head's weight\n"),
            HasSubstr("  towers         language (2 blocks)\n")));
  EXPECT_THAT(output, Not(HasSubstr("no rule of the adapter")));
}

TEST_F(InspectTest, ShowsBlocksThatAreAlikeOnce) {
  const std::string blocks = R"(
language, blocks 0 to 1: model.layers.N
  attention.input
    self_attn.q_proj [64, 64]
    self_attn.k_proj [32, 64]
    self_attn.v_proj [32, 64]
    folds into     norm input_layernorm.weight
    a search sees  the output of the module
  attention.output
    self_attn.o_proj [64, 64]
    folds into     rows of self_attn.v_proj, 32 for 64 channels
    a search sees  the outputs of the linears
  mlp.input
    mlp.gate_proj [96, 64]
    mlp.up_proj [96, 64]
    folds into     norm post_attention_layernorm.weight
    a search sees  the output of the module
  mlp.output
    mlp.down_proj [64, 96]
    folds into     rows of mlp.up_proj
    a search sees  the outputs of the linears
  others         input_layernorm.weight [64], post_attention_layernorm.weight [64]
)";
  EXPECT_THAT(printed(parity_ + "llama"), HasSubstr(blocks));
}

TEST_F(InspectTest, TellsBlocksApartByTheirHeaders) {
  // Half as many heads of twice the width in block 1 would need another config.json; a tensor that
  // only block 1 has is enough of a difference.
  change_header("\"model.norm.weight\"", "\"model.layers.1.up\"");
  std::string output;
  EXPECT_TRUE(inspect_model(folder_, &output).ok());
  EXPECT_THAT(output, AllOf(HasSubstr("language, block 0: model.layers.N\n"),
                            HasSubstr("language, block 1: model.layers.N\n"),
                            HasSubstr("a run would refuse this checkpoint: "),
                            HasSubstr("there is no tensor \"model.norm.weight\""),
                            HasSubstr("\nmodel.layers.1.up: named by no rule")));
}

TEST_F(InspectTest, WeighsSchemes) {
  // A block has 30720 weights in 448 rows; scales have the 32 bits of the checkpoint.
  EXPECT_THAT(printed(parity_ + "llama"), HasSubstr(R"(
all 14 linears as           bits per weight  model
  w4 g128 symmetric         groups do not divide the input width 96
  w4 g32 symmetric                    5.000  171 kB
  w8 per channel symmetric            8.467  197 kB
  fp8-e4m3 per channel                8.467  197 kB
)"));
}

TEST_F(InspectTest, RefusesWhatIsNoModel) {
  std::string output;
  EXPECT_EQ(exit_code(inspect_model(parity_, &output)), static_cast<int>(ExitCode::kInput));
  fs::create_directories(folder_);
  fs::copy(parity_ + "llama/model.safetensors", folder_ + "/model.safetensors");
  std::ofstream(folder_ + "/config.json") << R"({"architectures": ["Mamba3ForCausalLM"]})";
  const absl::Status status = inspect_model(folder_, &output);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Mamba3ForCausalLM"));
  EXPECT_EQ(output, "");
}

}  // namespace
}  // namespace swage
