// Exports are compared with what the run holds, whatever the exporter says of them.
#include <gmock/gmock.h>

#include <cstdlib>

#include "core/base/exit_codes.h"
#include "core/engine/result.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

using ::testing::HasSubstr;

class VerdictRun : public RunTest {
 protected:
  absl::Status export_with(const std::string& how, const std::string& match = "*",
                           const std::string& settings = "") {
    return run(pipeline("[[step]]\nuse = \"rtn\"\nmatch = \"" + match +
                        "\"\nweight = { bits = 4, group = 32 }\n[[export]]\nuse = \"liar\"\n"
                        "path = \"out\"\nhow = \"" +
                        how + "\"\n" + perplexity() + settings),
               {}, {std::string(std::getenv("SWAGE_BUILD_DIR")) + "/abi/abi_liar"});
  }
  Value exported() const { return result()["exports"].list()->front(); }
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

TEST_F(VerdictRun, NamesTensorsThatChangedPlaces) {
  expect_failed("swapped", "model.layers.0.mlp.gate_proj holds other values");
}

TEST_F(VerdictRun, BelievesNoDecodeThatDoesNotLookIntoTheFiles) {
  expect_failed("remembers", "decode() gives the run's values, whatever the files hold");
  expect_failed("unread", "_proj.offset is there, but decode() does not read it");
}

TEST_F(VerdictRun, FilesBesideTheWeightsAreThoseOfTheModel) {
  expect_failed("no_tokenizer", "tokenizer.json is missing");
  expect_failed("other_tokenizer", "tokenizer.json holds other bytes");
  expect_failed("template", "chat_template.jinja is there");
  ASSERT_OK(export_with("readme"));  // no program serves a model with it
}

TEST_F(VerdictRun, ConfigIsThatOfTheModel) {
  expect_failed("config", "config.json: rope_theta: ");
  expect_failed("no_key", "config.json: rms_norm_eps: ");
  expect_failed("more_keys", "config.json: sliding_window: null, now 8");
}

TEST_F(VerdictRun, SaysWhyNoWindowWasRun) {
  ASSERT_OK(export_with("honest"));
  EXPECT_EQ(exported().i64("windows", 0), 1);
  EXPECT_FALSE(exported().has("why_no_windows"));
  fs::remove_all("out");
  fs::remove_all(work_);
  ASSERT_OK(export_with("honest", "*", "[run]\nverify_windows = 0\n"));
  EXPECT_EQ(exported().i64("windows", 1), 0);
  EXPECT_EQ(exported().str("why_no_windows", ""), "[run] verify_windows is 0");
  EXPECT_THAT(result_table(result(), work_),
              HasSubstr("(read back: ok; windows: none, because [run] verify_windows is 0)"));
  fs::remove_all("out");
  ASSERT_OK(
      run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group = 32 }\n"
          "[[export]]\nuse = \"huggingface\"\npath = \"out\"\n[run]\nwork = \"other\"\n"));
  EXPECT_EQ(exported().str("why_no_windows", ""),
            "neither an evaluation nor a calibration draws any");
}

TEST_F(VerdictRun, AnExportThatIsGoneIsWrittenAgainWhileItsPartsAreThere) {
  EXPECT_EQ(exit_code(export_with("norms")), static_cast<int>(ExitCode::kVerdictFailed));
  const auto written = read_folder("out");
  fs::remove_all("out");
  EXPECT_EQ(exit_code(resume()), static_cast<int>(ExitCode::kVerdictFailed));
  EXPECT_TRUE(read_folder("out") == written);
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
