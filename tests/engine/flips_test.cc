// Bits flipped in an export: every flip is found when the checkpoint is opened or verified, and
// none ends the process.
#include <optional>
#include <random>

#include "core/engine/checkpoint_check.h"
#include "core/engine/earlier.h"
#include "tests/engine/run_support.h"

namespace swage::testing_support {
namespace {

class Flips : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    ASSERT_OK(
        run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\nweight = { bits = 4, group "
            "= 32 }\n[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n"));
    split_into_shards();
    original_.emplace(must(open("model")));
    record_ = must(parse_json(read_text("shards/swage_export.json"), "record"));
  }
  static absl::StatusOr<OpenedModel> open(const std::string& folder) {
    SWAGE_ASSIGN_OR_RETURN(OpenedModel model,
                           OpenedModel::open(folder, built_plugins(), loader(), {}));
    SWAGE_RETURN_IF_ERROR(model.check_whole());
    return model;
  }
  // So that there is an index.
  static void split_into_shards() {
    const auto checkpoint = must(io::open_checkpoint("packed"));
    const auto beside = must(checkpoint->side_files());
    ASSERT_OK(io::write_hf_checkpoint("shards", checkpoint->weights(), checkpoint->config(), beside,
                                      60000));
    ASSERT_OK(write_export_record("shards"));
  }
  // But for the version that wrote it.
  bool same_record(const std::string& content) const {
    const auto record = parse_json(content, "record");
    return record.ok() && (*record)["files"] == record_["files"];
  }
  // Is anything wrong with the checkpoint, by opening or by looking?
  bool is_found() const {
    const auto model = open("shards");
    if (!model.ok()) return true;
    CheckpointVerdict verdict;
    const auto reporter = must(Reporter::create({"", true}));
    if (!check_checkpoint(*model, *reporter, &verdict).ok()) return true;
    return !check_against(*model, *original_, built_plugins().storage_keys(), *reporter, &verdict)
                .ok() ||
           !verdict.ok();
  }

  std::optional<OpenedModel> original_;
  Value record_;
};

// The first bytes are headers, which then come up as often as all the weights.
TEST_F(Flips, AreFoundAndNoneEndsTheProcess) {
  const auto files = read_folder("shards");
  ASSERT_TRUE(files.count("model.safetensors.index.json") > 0);
  ASSERT_FALSE(is_found());
  std::vector<std::string> names;
  for (const auto& [name, content] : files) names.push_back(name);
  std::mt19937_64 random(11);
  int64_t missed = 0;
  for (int round = 0; round < 1000; ++round) {
    const std::string& name = names[random() % names.size()];
    std::string content = files.at(name);
    const size_t reach = round % 2 == 0 ? std::min<size_t>(content.size(), 3000) : content.size();
    const size_t at = random() % reach;
    content[at] = static_cast<char>(content[at] ^ (1 << random() % 8));
    std::ofstream("shards/" + name, std::ios::binary) << content;
    // Without the digests most flips of codes are other numbers, no faults.
    if (round % 4 == 3) {
      fs::remove("shards/swage_export.json");
      is_found();
      std::ofstream("shards/swage_export.json", std::ios::binary) << files.at("swage_export.json");
    } else if (!is_found() && !(name == kExportRecord && same_record(content))) {
      ++missed;
      ADD_FAILURE() << name << ", byte " << at << " of " << content.size();
    }
    std::ofstream("shards/" + name, std::ios::binary) << files.at(name);
  }
  EXPECT_EQ(missed, 0);
  EXPECT_FALSE(is_found());
}

}  // namespace
}  // namespace swage::testing_support
