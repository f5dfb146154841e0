#include "killed_runs.h"

namespace swage::faults {
namespace {

std::string quoted(const fs::path& path) { return "\"" + path.string() + "\""; }

// GPTQ on text, of groups of this size.
struct Text {
  fs::path model;
  int group, windows;
  std::string match;  // linears
};

class KilledText : public KilledRuns {
 protected:
  void write(const Text& text) {
    const std::string windows = std::to_string(text.windows) + "\n";
    const fs::path data = fs::path(environment("SWAGE_SOURCE_DIR")) / "configs/data";
    write_pipeline(
        "path = " + quoted(text.model) + "\n",
        "source = " + quoted(data / "calibration.txt") + "\nlength = 128\nsamples = " + windows,
        "[scheme]\nweight = { bits = 4, group = " + std::to_string(text.group) +
            " }\n[[step]]\nuse = \"gptq\"\nmatch = \"" + text.match + "\"\n",
        "source = " + quoted(data / "evaluation.txt") + "\nlength = 128\nwindows = " + windows);
  }
};

TEST_F(KilledText, OfASmallModelEndInTheSameBytes) {
  const fs::path source = environment("SWAGE_SOURCE_DIR");
  fs::create_directories(root_ / "model");
  for (const char* file :
       {"parity/llama/config.json", "parity/llama/model.safetensors", "bytes/tokenizer.json"}) {
    fs::copy(source / "tests/data" / file, root_ / "model");
  }
  write({"model", 32, 16, "*"});
  expect_equal_bytes_after_kills(runs(12), 3);
}

TEST_F(KilledText, OfSmolLm2EndInTheSameBytes) {
  const std::string model = environment("SWAGE_TEST_MODEL");
  if (model.empty()) GTEST_SKIP() << "SWAGE_TEST_MODEL names no model";
  // Real sizes, and blocks of every kind: some are compressed, some only pass. How long a step
  // works is nothing that a kill could tell.
  write({model, 64, 4, "model.layers.{0,1,2,29}.*"});
  expect_equal_bytes_after_kills(runs(1), 2);
}

}  // namespace
}  // namespace swage::faults
