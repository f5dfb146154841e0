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
  // The model as this step and this export make it, in "packed".
  void make(const std::string& weight, const std::string& exporter) {
    ASSERT_OK(run("[model]\npath = \"model\"\n[[step]]\nuse = \"rtn\"\n" + weight +
                  "\n[[export]]\nuse = \"" + exporter + "\"\npath = \"packed\"\n"));
  }
  void start(const std::string& folder) {
    folder_ = folder;
    original_.emplace(must(open("model")));
    record_ = must(parse_json(read_text(folder + "/swage_export.json"), "record"));
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
    const auto model = open(folder_);
    if (!model.ok()) return true;
    CheckpointVerdict verdict;
    const auto reporter = must(Reporter::create({"", true}));
    if (!check_checkpoint(*model, *reporter, &verdict).ok()) return true;
    return !check_against(*model, *original_, built_plugins().storage_keys(), *reporter, &verdict)
                .ok() ||
           !verdict.ok();
  }

  // The first bytes are headers, which then come up as often as all the weights.
  void flip(int rounds) {
    const auto files = read_folder(folder_);
    ASSERT_FALSE(is_found());
    std::vector<std::string> names;
    for (const auto& [name, content] : files) {
      if (name != "swage_verdict.json") names.push_back(name);  // the run's word, not the model's
    }
    std::mt19937_64 random(11);
    int64_t missed = 0;
    for (int round = 0; round < rounds; ++round) {
      const std::string& name = names[random() % names.size()];
      std::string content = files.at(name);
      const size_t reach = round % 2 == 0 ? std::min<size_t>(content.size(), 3000) : content.size();
      const size_t at = random() % reach;
      content[at] = static_cast<char>(content[at] ^ (1 << random() % 8));
      write(name, content);
      // Without the digests most flips of codes are other numbers, no faults.
      if (round % 4 == 3) {
        fs::remove(folder_ + "/swage_export.json");
        is_found();
        write("swage_export.json", files.at("swage_export.json"));
      } else if (!is_found() && !(name == kExportRecord && same_record(content))) {
        ++missed;
        ADD_FAILURE() << name << ", byte " << at << " of " << content.size();
      }
      write(name, files.at(name));
    }
    EXPECT_EQ(missed, 0);
    EXPECT_FALSE(is_found());
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }

  std::string folder_;
  std::optional<OpenedModel> original_;
  Value record_;
};

TEST_F(Flips, AreFoundAndNoneEndsTheProcess) {
  make("weight = { bits = 4, group = 32 }", "compressed-tensors");
  split_into_shards();
  ASSERT_TRUE(fs::exists("shards/model.safetensors.index.json"));
  start("shards");
  flip(1000);
}

struct Format {
  const char* exporter;
  const char* weight;
};
class FlipsOf : public Flips, public ::testing::WithParamInterface<Format> {};

TEST_P(FlipsOf, OtherFormatsAreFoundAndNoneEndsTheProcess) {
  make(GetParam().weight, GetParam().exporter);
  start("packed");
  flip(100);
}

constexpr char kHalves[] = "weight = { bits = 4, group = 32, scale_dtype = \"fp16\" }";
INSTANTIATE_TEST_SUITE_P(Formats, FlipsOf,
                         ::testing::Values(Format{"gptq", kHalves}, Format{"awq", kHalves},
                                           Format{"auto_round", kHalves},
                                           Format{"modelopt", "weight = { bits = 4, group = 32 }"}),
                         [](const auto& format) { return std::string(format.param.exporter); });

}  // namespace
}  // namespace swage::testing_support
