// Every algorithm on every family: the run ends with each linear compressed or kept by a named
// rule, and its exports verify.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "run_support.h"
#include "swage/io/safetensors.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using testing_support::RunTest;
using testing_support::test_data;

struct Recipe {
  const char* name;
  const char* steps;
};

constexpr const char* kWeights = "[scheme]\nweight = { bits = 4, group = 8, symmetric = false }\n";
const Recipe kRecipes[] = {
    {"rtn", "[[step]]\nuse = \"rtn\"\n"},
    {"gptq", "[[step]]\nuse = \"gptq\"\n"},
    {"awq", "[[step]]\nuse = \"awq\"\n"},
    {"awq-gptq", "[[step]]\nuse = \"awq\"\n[[step]]\nuse = \"gptq\"\n"},
    {"smoothquant-rtn", "[[step]]\nuse = \"smoothquant\"\n[[step]]\nuse = \"rtn\"\n"},
    {"omniquant", "[[step]]\nuse = \"omniquant\"\nepochs = 2\n"},
    {"rescale-rtn", "[[step]]\nuse = \"rescale\"\n[[step]]\nuse = \"rtn\"\n"},
};
constexpr const char* kRotated = "quarot-rtn";
constexpr const char* kExports =
    "[[export]]\nuse = \"compressed-tensors\"\npath = \"packed\"\n[[export]]\nuse = "
    "\"huggingface\"\npath = \"dense\"\n";

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(test_data() / "parity"))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// What became of every recipe on every family; stands in docs/compatibility.md.
class Matrix : public ::testing::Environment {
 public:
  void add(const std::string& family, const std::string& recipe, const std::string& outcome) {
    cells_[family][recipe] = outcome;
  }

  void TearDown() override {
    const size_t recipes = std::size(kRecipes) + 1;
    for (const std::string& family : families()) {
      if (cells_[family].size() != recipes) return;  // not all tests were run, or one failed
    }
    const fs::path page = test_data() / "../../docs/compatibility.md";
    if (std::getenv("SWAGE_WRITE_DOCS") != nullptr) std::ofstream(page) << text();
    EXPECT_EQ(testing_support::read_text(page), text())
        << "write the page anew: SWAGE_WRITE_DOCS=1 engine_tests --gtest_filter=*FamiliesTest*";
  }

 private:
  std::string text() {
    std::string table = "| model |";
    std::string rule = "\n|---|";
    for (const Recipe& recipe : kRecipes) {
      absl::StrAppend(&table, " `", recipe.name, "` |");
      rule += "---|";
    }
    absl::StrAppend(&table, " `", kRotated, "` |", rule, "---|\n");
    for (const std::string& family : families()) {
      absl::StrAppend(&table, "| ", family, " |");
      for (const Recipe& recipe : kRecipes)
        absl::StrAppend(&table, " ", cells_[family][recipe.name], " |");
      absl::StrAppend(&table, " ", cells_[family][kRotated], " |\n");
    }
    return "# Algorithms and models\n\n"
           "Written by a test that runs each recipe on a small model of every family and form: `14 "
           "+ 2` means "
           "that 14 linears\nwere compressed and 2 kept by a named rule (routers, towers of images "
           "that "
           "`[model] towers` leaves out), that no\nlinear was left over, and that both exports "
           "(`compressed-tensors`, `huggingface`) were read back equal. `values` means\nthat the "
           "residual stream "
           "was refused by name and the values alone were rotated.\n\n" +
           table;
  }

  std::map<std::string, std::map<std::string, std::string>> cells_;
};
Matrix* const kMatrix = static_cast<Matrix*>(::testing::AddGlobalTestEnvironment(new Matrix));

class FamiliesTest : public RunTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    for (const char* file : {"config.json", "model.safetensors"}) {
      fs::copy(test_data() / "parity" / GetParam() / file, root_ / "model",
               fs::copy_options::overwrite_existing);
    }
    std::ofstream ids("ids.json");
    ids << "{\"input_ids\": [";
    for (int window = 0; window < 6; ++window) {
      ids << (window > 0 ? ", [" : "[");
      for (int i = 0; i < 24; ++i)
        ids << (i > 0 ? ", " : "") << (window * 53 + i * i * 7 + 3) % 112;  // no image token
      ids << "]";
    }
    ids << "]}";
  }

  absl::Status run_steps(const std::string& steps, const std::string& model = "",
                         const std::string& source = "ids.json") {
    for (const char* folder : {"packed", "dense", "work"}) fs::remove_all(folder);
    return run("[model]\npath = \"model\"\n" + model + "[calibration]\nsource = \"" + source +
               "\"\nsamples = 4\nlength = 24\nexpert_tokens = 4\n" + kWeights + steps + kExports +
               "[run]\nwork = \"work\"\nthreads = 1\n");
  }

  // The reference's own sequence with its images; false where the model reads none.
  bool write_images(const std::string& file) {
    const auto source = testing_support::must(
        io::open_safetensors({(test_data() / "parity" / GetParam() / "io.safetensors").string()}));
    if (!source->has("pixel_values")) return false;
    std::vector<std::pair<std::string, at::Tensor>> inputs;
    for (const std::string& name : source->names()) {
      if (name.rfind("hidden_", 0) != 0 && name != "logits")
        inputs.emplace_back(name, testing_support::must(source->read(name)));
    }
    return io::write_safetensors(file, inputs).ok();
  }

  void expect_all_accounted_for(bool all_towers = false) {
    const Value outcome = result();
    EXPECT_GT(outcome.i64("linears_compressed", 0), 0);
    for (const Value& linear : *outcome["linears"].list()) {
      const std::string rule = linear.str("kept_by", "");
      const bool tower = rule == "the vision tower is not among [model] towers" ||
                         rule == "the projector tower is not among [model] towers";
      const bool end = linear.has("place") && rule.find("unless a step names it") != rule.npos;
      EXPECT_TRUE(linear.has("weight") || rule == "a router keeps its precision" || end ||
                  (tower && !all_towers))
          << linear.str("name", "") << ": " << rule;
    }
    for (const Value& written : *outcome["exports"].list())
      EXPECT_EQ(written.str("verdict", ""), "ok") << written.str("use", "");
  }

  // "14 + 2": compressed, and kept by a rule; of blocks.
  std::string counts() {
    const Value outcome = result();
    int64_t kept = 0;
    for (const Value& linear : *outcome["linears"].list())
      kept += linear.has("kept_by") && !linear.has("place") ? 1 : 0;
    return absl::StrCat(outcome.i64("linears_compressed", 0),
                        kept > 0 ? absl::StrCat(" + ", kept) : "");
  }
};

TEST_P(FamiliesTest, EveryAlgorithmEndsWithEveryLinearAccountedFor) {
  for (const Recipe& recipe : kRecipes) {
    SCOPED_TRACE(recipe.name);
    ASSERT_OK(run_steps(recipe.steps));
    expect_all_accounted_for();
    kMatrix->add(GetParam(), recipe.name, counts());
  }
}

TEST_P(FamiliesTest, ImagesMeasureEveryTowerThatIsToBeCompressed) {
  if (!write_images("images.safetensors")) GTEST_SKIP() << "a model of language alone";
  const std::string towers = "towers = [\"vision\", \"projector\", \"language\"]\n";
  for (const Recipe& recipe : kRecipes) {
    SCOPED_TRACE(recipe.name);
    ASSERT_OK(run_steps(recipe.steps, towers, "images.safetensors"));
    expect_all_accounted_for(true);
  }
  ASSERT_OK(run_steps("[[step]]\nuse = \"quarot\"\n[[step]]\nuse = \"gptq\"\n", towers,
                      "images.safetensors"));
  expect_all_accounted_for(true);
  EXPECT_THAT(std::string(run_steps(kRecipes[1].steps, towers).message()),
              ::testing::HasSubstr("but the calibration holds text alone"));
}

// The tied head becomes a matrix of its own, which the exports hold and say.
TEST_P(FamiliesTest, RotatedModelsAreQuantizedAndReadBackOrRefusedByName) {
  const absl::Status status = run_steps("[[step]]\nuse = \"quarot\"\n[[step]]\nuse = \"rtn\"\n");
  for (const char* family : {"gemma", "bloom", "opt_narrow", "olmo", "glm4", "exaone4"}) {
    if (GetParam().rfind(family, 0) != 0 || GetParam() == "glm4_moe") continue;
    EXPECT_THAT(std::string(status.message()),
                ::testing::HasSubstr("the residual stream cannot be rotated: "));
    ASSERT_OK(run_steps("[[step]]\nuse = \"quarot\"\nresidual = false\n[[step]]\nuse = \"rtn\"\n"));
    kMatrix->add(GetParam(), kRotated, counts() + ", values");
    return expect_all_accounted_for();
  }
  ASSERT_OK(status);
  expect_all_accounted_for();
  kMatrix->add(GetParam(), kRotated, counts());
  const Value config = testing_support::must(
      parse_json(testing_support::read_text("packed/config.json"), "config.json"));
  EXPECT_FALSE(config.flag("tie_word_embeddings", false));
}

// No export holds a transform at run time: refused before any work, evaluated without exports. A
// linear that stays in floats loses it again.
TEST_P(FamiliesTest, TransformsAtRunTimeGoIntoResultsAndAreNeverDropped) {
  const std::string quarot = "[[step]]\nuse = \"quarot\"\nresidual = false\nonline = true\n";
  EXPECT_THAT(std::string(run_steps(quarot + "[[step]]\nuse = \"gptq\"\n").message()),
              ::testing::HasSubstr("transformed at run time"));
  fs::remove_all("work");
  const auto divergence_of = [&](const std::string& steps) {
    fs::remove_all("work");
    EXPECT_OK(
        run("[model]\npath = \"model\"\n[calibration]\nsource = \"ids.json\"\nsamples = 4\n"
            "length = 24\nexpert_tokens = 4\n" +
            (kWeights + steps) +
            "[[evaluate]]\nuse = \"divergence\"\nsource = \"ids.json\"\nlength = 24\n"
            "[run]\nwork = \"work\"\nthreads = 1\n"));
    return result()["metrics"]["divergence"]["compressed"].f64("kl_mean", -1);
  };
  EXPECT_GT(divergence_of(quarot + "[[step]]\nuse = \"gptq\"\n"), 0);
  const double kept = divergence_of(quarot);
  EXPECT_LT(kept, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Parity, FamiliesTest, ::testing::ValuesIn(families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace swage
