// Runs on a model that looks at images from blocks of its own.
#include <gmock/gmock.h>

#include "run_support.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_support::RunTest;
using testing_support::test_data;

class SightTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy(test_data() / "parity" / "mllama" / file, root_ / "model",
               fs::copy_options::overwrite_existing);
    }
    std::ofstream("ids.json") << R"({"input_ids": [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7]]})";
  }

  absl::Status compress(const std::string& use) {
    fs::remove_all("work");
    return run(
        "[model]\npath = \"model\"\n[calibration]\nsource = \"ids.json\"\nlength = 8\n"
        "expert_tokens = 0\n[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"" +
        use + "\"\n[run]\nwork = \"work\"\nthreads = 1\n");
  }
};

TEST_F(SightTest, LinearsThatNoTokenReachesAreRoundedToNearestAndNotesSaySo) {
  ASSERT_OK(compress("gptq"));
  const Value outcome = result();
  int64_t rounded = 0;
  for (const Value& linear : *outcome["linears"].list()) {
    const std::string name = linear.str("name", "");
    if (name.rfind("language_model.", 0) != 0 || linear.has("place")) continue;
    const bool looks = name.find(".layers.1.") != std::string::npos ||
                       name.find(".layers.3.") != std::string::npos;
    const std::string provenance = linear.str("provenance", "");
    EXPECT_EQ(provenance.rfind("round to nearest, in place of gptq", 0) == 0, looks) << name;
    rounded += looks ? 1 : 0;
  }
  EXPECT_EQ(rounded, 14);
  std::string notes;
  for (const Value& note : *outcome["notes"].list()) notes += *note.text() + "\n";
  EXPECT_THAT(notes, HasSubstr("block 1: gptq: attention.features: 0 tokens reach it, fewer than "
                               "1: rounded to nearest"));
}

TEST_F(SightTest, TensorsUnderTheNamesOfTransformers5AreRead) {
  ASSERT_OK(compress("rtn"));
  const int64_t compressed = result().i64("linears_compressed", 0);
  const auto source =
      testing_support::must(io::open_safetensors({(root_ / "model/model.safetensors").string()}));
  std::vector<std::pair<std::string, at::Tensor>> renamed;
  for (const std::string& name : source->names()) {
    std::string now = "model." + name;
    if (name.rfind("language_model.lm_head", 0) == 0) now = name.substr(15);
    if (name.rfind("language_model.model.", 0) == 0)
      now = "model.language_model." + name.substr(21);
    renamed.emplace_back(now, testing_support::must(source->read(name)).clone());
  }
  ASSERT_OK(io::write_safetensors((root_ / "model/model.safetensors").string(), renamed));
  ASSERT_OK(compress("rtn"));
  EXPECT_EQ(result().i64("linears_compressed", 0), compressed);
  EXPECT_EQ((*result()["linears"].list())[0].str("name", "").rfind("model.", 0), 0);
}

}  // namespace
}  // namespace swage
