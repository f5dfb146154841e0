// Exports are compared with what the run holds, whatever the exporter says of them.
#include <gmock/gmock.h>

#include <cstdlib>

#include "core/base/exit_codes.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

class VerdictRun : public RunTest {
 protected:
  absl::Status export_with(const std::string& how, const std::string& match = "*") {
    return run(pipeline("[[step]]\nuse = \"rtn\"\nmatch = \"" + match +
                        "\"\nweight = { bits = 4, group = 32 }\n[[export]]\nuse = \"liar\"\n"
                        "path = \"out\"\nhow = \"" +
                        how + "\"\n" + perplexity()),
               {}, {std::string(std::getenv("SWAGE_BUILD_DIR")) + "/abi/abi_liar"});
  }
  void expect_failed(const std::string& how, const std::string& said,
                     const std::string& match = "*") {
    SCOPED_TRACE(how);
    const absl::Status status = export_with(how, match);
    EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kVerdictFailed)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(said));
    fs::remove_all("out");
    fs::remove_all(work_);
  }
};

TEST_F(VerdictRun, TakesFloatsThatHoldWhatTheRunComputed) {
  ASSERT_OK(export_with("honest"));
  const Value result = this->result();
  const Value& item = (*result["exports"].list())[0];
  EXPECT_TRUE(item.flag("exact", false));
  EXPECT_EQ(item.i64("rounded", -1), 0);
}

TEST_F(VerdictRun, BoundsWhatRoundedValuesChange) {
  ASSERT_OK(export_with("bf16"));
  const Value result = this->result();
  const Value& item = (*result["exports"].list())[0];
  EXPECT_FALSE(item.flag("exact", true));
  EXPECT_GT(item.i64("rounded", 0), 0);
  EXPECT_EQ(item.f64("window_bound", 0), 0.01);
  EXPECT_GT(item.f64("window_relative", 0), 0);
  EXPECT_LT(item.f64("window_relative", 1), 0.01);
}

TEST_F(VerdictRun, NamesWhatAnExporterDroppedChangedOrAdded) {
  expect_failed("no_norms", "model.layers.0.input_layernorm.weight cannot be read back");
  expect_failed("norms", "model.layers.0.input_layernorm.weight holds other values");
  expect_failed("one_norm",
                "1 differences to what the run computed: "
                "model.layers.1.input_layernorm.weight holds other values");
  expect_failed("more", "model.extra.weight is no tensor of the run");
  expect_failed("renamed", "model.layers.0.input_layernorm.weight cannot be read back");
  expect_failed("kept", "self_attn.q_proj.weight holds other values", "*.mlp.*");
}

TEST_F(VerdictRun, BelievesNoStoredForm) {
  expect_failed("stored_form", "_proj holds other values");
  expect_failed("other_form", "holds other values");
}

TEST_F(VerdictRun, SaysThatAnExportIsGone) {
  ASSERT_OK(export_with("honest"));
  ASSERT_OK(resume());
  fs::remove("out/model.safetensors");
  EXPECT_FALSE(resume().ok());
  fs::remove_all("out");
  const absl::Status status = resume();
  EXPECT_EQ(exit_code(status), static_cast<int>(ExitCode::kVerdictFailed)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("wrote this export and it is gone"));
}

}  // namespace
}  // namespace swage::testing_support
