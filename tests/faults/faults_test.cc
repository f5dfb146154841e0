#include "killed_runs.h"

namespace swage::faults {
namespace {

std::string quoted(const fs::path& path) { return "\"" + path.string() + "\""; }

// GPTQ on text, of groups of this size.
struct Text {
  fs::path model;
  int group;
};

class KilledText : public KilledRuns {
 protected:
  void write(const Text& text) {
    const fs::path data = fs::path(environment("SWAGE_SOURCE_DIR")) / "configs/data";
    write_pipeline(
        "path = " + quoted(text.model) + "\n",
        "source = " + quoted(data / "calibration.txt") + "\nsamples = 16\nlength = 128\n",
        "[scheme]\nweight = { bits = 4, group = " + std::to_string(text.group) +
            " }\n[[step]]\nuse = \"gptq\"\n",
        "source = " + quoted(data / "evaluation.txt") + "\nlength = 128\nwindows = 16\n");
  }
};

TEST_F(KilledText, OfASmallModelEndInTheSameBytes) {
  const fs::path source = environment("SWAGE_SOURCE_DIR");
  fs::create_directories(root_ / "model");
  for (const char* file :
       {"parity/llama/config.json", "parity/llama/model.safetensors", "bytes/tokenizer.json"}) {
    fs::copy(source / "tests/data" / file, root_ / "model");
  }
  write({"model", 32});
  expect_equal_bytes_after_kills(runs(12), 3);
}

TEST_F(KilledText, OfSmolLm2EndInTheSameBytes) {
  const std::string model = environment("SWAGE_TEST_MODEL");
  if (model.empty()) GTEST_SKIP() << "SWAGE_TEST_MODEL names no model";
  write({model, 64});
  expect_equal_bytes_after_kills(runs(1), 2);
}

}  // namespace
}  // namespace swage::faults
