// Recipes of every kind on models of several kinds, a mixture and one that reads images among them.
#include "killed_runs.h"
#include "swage/io/safetensors.h"

namespace swage::faults {
namespace {

struct Recipe {
  const char* name;
  const char* model;  // of tests/data/parity
  const char* steps;
  bool images = false;
};

const Recipe kRecipes[] = {
    {"Fp8", "qwen3",
     "[scheme]\nweight = { format = \"fp8-e4m3\", granularity = \"channel\" }\nactivation = { "
     "format "
     "= \"fp8-e4m3\", granularity = \"token\" }\n[[step]]\nuse = \"rtn\"\n"},
    {"AwqGptq", "granite",
     "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"awq\"\n[[step]]\nuse = "
     "\"gptq\"\n"},
    {"SmoothQuant", "starcoder2",
     "[scheme]\nweight = { bits = 8, granularity = \"channel\" }\nactivation = { bits = 8, "
     "granularity = \"token\" }\n[[step]]\nuse = \"smoothquant\"\n[[step]]\nuse = \"rtn\"\n"},
    {"OmniQuant", "phi3",
     "[scheme]\nweight = { bits = 4, group = 8, symmetric = false }\n[[step]]\nuse = "
     "\"omniquant\"\nepochs = 2\n"},
    {"QuarotGptq", "llama",
     "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"quarot\"\n[[step]]\nuse = "
     "\"gptq\"\n"},
    {"GptqOfAMixture", "deepseek_v3",
     "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"gptq\"\n"},
    {"GptqOfTowers", "qwen2_5_vl_images",
     "[scheme]\nweight = { bits = 4, group = 8 }\n[[step]]\nuse = \"gptq\"\n", true},
};

void PrintTo(const Recipe& recipe, std::ostream* out) { *out << recipe.name; }

class KilledRecipes : public KilledRuns, public ::testing::WithParamInterface<Recipe> {
 protected:
  fs::path source() const {
    return fs::path(environment("SWAGE_SOURCE_DIR")) / "tests/data/parity" / GetParam().model;
  }
  // The reference's own sequence with its images.
  void write_images() {
    const auto stored = io::open_safetensors({(source() / "io.safetensors").string()});
    ASSERT_TRUE(stored.ok()) << stored.status();
    std::vector<std::pair<std::string, at::Tensor>> inputs;
    for (const std::string& name : (*stored)->names()) {
      if (name.rfind("hidden_", 0) != 0 && name != "logits")
        inputs.emplace_back(name, *(*stored)->read(name));
    }
    ASSERT_TRUE(io::write_safetensors((root_ / "images.safetensors").string(), inputs).ok());
  }
  void write_ids() {
    std::ofstream ids(root_ / "ids.json");
    ids << "{\"input_ids\": [";
    for (int window = 0; window < 6; ++window) {
      ids << (window > 0 ? ", [" : "[");
      for (int i = 0; i < 24; ++i)
        ids << (i > 0 ? ", " : "") << (window * 53 + i * i * 7 + 3) % 112;
      ids << "]";
    }
    ids << "]}";
  }
};

TEST_P(KilledRecipes, EndInTheSameBytes) {
  fs::create_directories(root_ / "model");
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy(source() / file, root_ / "model");
  fs::copy(source() / "../../bytes/tokenizer.json", root_ / "model");
  write_ids();
  if (GetParam().images) {
    ASSERT_NO_FATAL_FAILURE(write_images());
  }
  const std::string towers = "towers = [\"vision\", \"projector\", \"language\"]\n";
  const std::string drawn = GetParam().images ? "images.safetensors" : "ids.json";
  write_pipeline("path = \"model\"\n" + (GetParam().images ? towers : ""),
                 "source = \"" + drawn + "\"\nsamples = 4\nlength = 24\nexpert_tokens = 4\n",
                 GetParam().steps, "source = \"ids.json\"\nlength = 24\n");
  expect_equal_bytes_after_kills(runs(2), 3);
}

INSTANTIATE_TEST_SUITE_P(All, KilledRecipes, ::testing::ValuesIn(kRecipes),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace swage::faults
