// Checkpoints of known families that say or spell things otherwise: the same network, or a refusal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "swage/io/safetensors.h"
#include "tiny_model.h"

namespace swage {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_support::config_of;
using testing_support::loader;
using testing_support::must;
using testing_support::tensors_of;
using testing_support::Tiny;

using Config = Value::Table;
using Tensors = std::map<std::string, at::Tensor>;

// A small model of the reference data with another config.json or other tensors.
class Changed {
 public:
  explicit Changed(
      const std::string& name, const std::function<void(Config&)>& config = [](Config&) {},
      const std::function<void(Tensors&)>& tensors = [](Tensors&) {})
      : folder_(fs::temp_directory_path() / ("swage-changed-" + std::to_string(getpid()))) {
    const fs::path origin = testing_support::test_data() / "parity" / name;
    fs::create_directories(folder_);
    Value values = config_of(origin / "config_min.json");
    config(*values.table());
    std::ofstream(folder_ / "config.json") << to_json(values);
    Tensors all;
    const auto stored = tensors_of(origin / "model.safetensors");
    for (const std::string& tensor : stored->names()) all[tensor] = must(stored->read(tensor));
    tensors(all);
    testing_support::check(
        io::write_safetensors((folder_ / "model.safetensors").string(), {all.begin(), all.end()}));
    fs::copy_file(origin / "io.safetensors", folder_ / "io.safetensors",
                  fs::copy_options::overwrite_existing);
  }
  ~Changed() { fs::remove_all(folder_); }

  // How far logits are off those of the unchanged model.
  double difference() const {
    const Tiny tiny(folder_.string());
    const at::Tensor found =
        tiny.run(tiny.ids, {tiny.ids.size(0)}, at::kFloat, {}, tiny.inputs).back();
    const auto reference = tensors_of(folder_ / "io.safetensors");
    const at::Tensor expected = must(reference->read("logits")).squeeze(0);
    return (found - expected).abs().max().item<double>();
  }
  std::string refusal() const {
    try {
      const Tiny tiny(folder_.string());
    } catch (const std::exception& error) {
      return error.what();
    }
    return "none";
  }
  const fs::path& folder() const { return folder_; }

 private:
  const fs::path folder_;
};

constexpr double kSame = 5e-5;

TEST(ForeignConfig, TheArchitectureDecidesUnderAModelTypeThatNobodyKnows) {
  for (const char* name : {"gemma3_text", "mistral_sw", "olmo", "olmo2", "olmo3", "glm4", "cohere2",
                           "deepseek_v2", "deepseek_v3", "qwen3", "qwen3_moe"}) {
    const Changed model(name, [](Config& config) { config["model_type"] = "foreign"; });
    EXPECT_LT(model.difference(), kSame) << name;
  }
}

TEST(ForeignConfig, AnotherFamilysModelTypeIsRefused) {
  const std::pair<const char*, const char*> pairs[] = {
      {"qwen3", "qwen2"}, {"gemma3_text", "gemma2"}, {"mistral_sw", "llama"}, {"llama", "qwen2"}};
  for (const auto& [name, type] : pairs) {
    const Changed model(name, [t = type](Config& config) { config["model_type"] = t; });
    EXPECT_THAT(model.refusal(), HasSubstr("one of them is wrong")) << name << " as " << type;
  }
}

TEST(ForeignConfig, KeysThatTheAdapterDoesNotReadAreRefusedUnderAForeignModelType) {
  const auto change = [](Config& config) {
    config["model_type"] = "foreign";
    config["attention_dropout"] = 0.3;
    config["embedding_multiplier"] = 1.0;
    config["use_something"] = false;
  };
  EXPECT_LT(Changed("llama", change).difference(), kSame) << "nothing that changes a result";
  const Changed model("llama", [&](Config& config) {
    change(config);
    config["embedding_multiplier"] = 12.0;
  });
  EXPECT_THAT(model.refusal(), HasSubstr("does not read embedding_multiplier"));
}

TEST(ForeignConfig, ASharePartlyRotatedCountsWhereTheFamilyKnowsIt) {
  const auto half = [](Config& config) { config["partial_rotary_factor"] = 0.5; };
  for (const char* name : {"llama", "mistral_sw", "qwen3", "gemma2", "gemma3_text", "olmo2",
                           "cohere", "deepseek_v3", "falcon40b", "seed_oss", "starcoder2"}) {
    // Beside a scaled rope transformers itself cannot compute with such a key.
    const Changed model(name, half);
    const std::string refused = model.refusal();
    if (refused == "none") {
      EXPECT_LT(model.difference(), kSame) << name;
    } else {
      EXPECT_THAT(refused, HasSubstr("partial_rotary_factor")) << name;
    }
  }
  for (const char* name : {"stablelm", "phi3"})
    EXPECT_GT(Changed(name, half).difference(), 100 * kSame) << name;
}

TEST(ForeignConfig, NamesOfTheBareModelAreRead) {
  for (const char* name : {"llama", "mistral_sw", "qwen2", "qwen3", "qwen3_moe", "gemma3_text",
                           "phi", "phi3", "olmo2", "internlm2", "mixtral", "deepseek_v3"}) {
    const Changed model(
        name, [](Config&) {},
        [](Tensors& tensors) {
          Tensors bare;
          for (const auto& [tensor, value] : tensors)
            bare[tensor.rfind("model.", 0) == 0 ? tensor.substr(6) : tensor] = value;
          tensors = bare;
        });
    EXPECT_LT(model.difference(), kSame) << name;
  }
}

TEST(ForeignConfig, ATiedTableMayBeStoredAsTheHead) {
  for (const std::string prefix : {"model.", ""}) {
    const Changed model(
        "llama_biased", [](Config&) {},
        [&](Tensors& tensors) {
          Tensors renamed;
          for (const auto& [tensor, value] : tensors)
            renamed[absl::StrReplaceAll(
                tensor, {{"model.embed_tokens", "lm_head"}, {"model.", prefix}})] = value;
          tensors = renamed;
        });
    EXPECT_LT(model.difference(), kSame);
    const Tiny tiny(model.folder().string());
    const auto embedding = must(tiny.adapter->load_embedding("language", *tiny.weights, {}));
    EXPECT_EQ(embedding->parameters().front().name, prefix + "embed_tokens.weight");
  }
}

TEST(ForeignConfig, ALimitOfQueriesKeysAndValuesIsObeyed) {
  const auto limited = [](double limit) {
    return Changed("olmo", [=](Config& config) { config["clip_qkv"] = limit; }).difference();
  };
  EXPECT_LT(limited(1e6), kSame);
  EXPECT_GT(limited(0.05), 100 * kSame);
  const Changed model("olmo", [](Config& config) { config["clip_qkv"] = -1; });
  EXPECT_THAT(model.refusal(), HasSubstr("clip_qkv must be above 0"));
}

TEST(ForeignConfig, ThePoolingHeadOfASiglipTowerIsCarried) {
  const std::string head = "vision_tower.head.";  // as this fixture spells towers
  const Changed model(
      "llava_siglip", [](Config&) {},
      [&](Tensors& tensors) {
        const bool inner = tensors.begin()->first.rfind("model.", 0) == 0;
        for (const char* part : {"probe", "attention.in_proj_weight", "mlp.fc1.bias"})
          tensors[(inner ? "model." : "") + head + part] = at::full({3}, 2.0);
      });
  EXPECT_LT(model.difference(), kSame);
  const Tiny tiny(model.folder().string());
  const auto selection = must(tiny.adapter->load_embedding("projector", *tiny.weights, {}));
  int64_t carried = 0;
  for (const Parameter& parameter : selection->parameters())
    carried += parameter.name.find("vision_tower.head.") != std::string::npos ? 1 : 0;
  EXPECT_EQ(carried, 3);
}

// The language model of `llava`, replaced by a small model of another family under the names that
// `spelled` gives its own.
Changed behind_llava(const std::string& family,
                     const std::function<std::string(const std::string&)>& spelled) {
  const fs::path origin = testing_support::test_data() / "parity" / family;
  const Value config = config_of(origin / "config_min.json");
  return Changed(
      "llava",
      [&](Config& all) {
        all["text_config"] = config;
        all["tie_word_embeddings"] = config.flag("tie_word_embeddings", false);
      },
      [&](Tensors& tensors) {
        for (auto it = tensors.begin(); it != tensors.end();)
          it = it->first.rfind("language_model.", 0) == 0 ? tensors.erase(it) : std::next(it);
        const auto stored = tensors_of(origin / "model.safetensors");
        for (const std::string& name : stored->names())
          tensors[spelled(name)] = must(stored->read(name));
      });
}

TEST(ForeignConfig, FamiliesWithAPrefixOfTheirOwnStandBehindLlava) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const auto spelled = [](const Pairs& pairs) {
    return [pairs](const std::string& name) {
      for (const auto& [from, to] : pairs)
        if (name.rfind(from, 0) == 0) return to + name.substr(from.size());
      return name;
    };
  };
  const std::tuple<const char*, Pairs> cases[] = {
      {"gpt_neox", {{"gpt_neox.", "model.language_model."}, {"embed_out.", "lm_head."}}},
      {"gpt_neox",
       {{"gpt_neox.", "language_model.model."}, {"embed_out.", "language_model.lm_head."}}},
      {"gpt_neox", {{"", "language_model."}}},
      {"bloom", {{"transformer.", "model.language_model."}}},
      {"falcon7b", {{"transformer.", "model.language_model."}}},
      {"opt", {{"model.", "model.language_model."}}},
  };
  for (const auto& [family, pairs] : cases) {
    const Changed model = behind_llava(family, spelled(pairs));
    const Tiny alone(family), inner(model.folder().string());
    const at::Tensor expected = alone.run(alone.ids, {alone.ids.size(0)}, at::kFloat).back();
    const at::Tensor found = inner.run(alone.ids, {alone.ids.size(0)}, at::kFloat).back();
    EXPECT_LT((found - expected).abs().max().item<double>(), kSame)
        << family << " " << pairs[0].second;
  }
}

TEST(ForeignConfig, SizesOfAVisionTowerThatCannotBeAreRefusedByKey) {
  for (const char* name : {"llava", "internvl_hf", "qwen2_vl", "qwen2_5_vl_images", "mllama"}) {
    for (const int64_t size : {int64_t{0}, int64_t{-14}, int64_t{1} << 40}) {
      const Changed model(
          name, [&](Config& config) { (*config["vision_config"].table())["patch_size"] = size; });
      // Where another size is looked at first, it is that one which does not fit.
      EXPECT_THAT(model.refusal(),
                  testing::AnyOf(HasSubstr("patch_size"), HasSubstr("vision_config.")))
          << name << " " << size;
    }
  }
}

TEST(ForeignConfig, ANormThatTakesARootOfANegativeNumberIsRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"llama", "rms_norm_eps"}, {"bloom", "layer_norm_epsilon"}, {"starcoder2", "norm_epsilon"}};
  for (const auto& [name, key] : cases) {
    const Changed model(name, [key = key](Config& config) { config[key] = -1.0; });
    const Tiny tiny(model.folder().string());
    const auto block = tiny.adapter->load_block({"language", 0}, *tiny.weights, {});
    EXPECT_THAT(std::string(block.status().message()), HasSubstr("adds -1 to a variance")) << name;
  }
}

TEST(ForeignConfig, SizesOfMixturesAndLatentAttentionThatCannotBeAreRefusedByKey) {
  const std::tuple<const char*, const char*, int64_t> cases[] = {
      {"deepseek_v3", "n_shared_experts", int64_t{1} << 62},
      {"deepseek_v3", "n_shared_experts", -1},
      {"deepseek_v3", "qk_nope_head_dim", int64_t{1} << 62},
      {"deepseek_v3", "v_head_dim", 0},
      {"deepseek_v2", "kv_lora_rank", int64_t{1} << 40},
      {"deepseek_v2", "q_lora_rank", -1}};
  for (const auto& [name, key, value] : cases) {
    const Changed model(name, [key = key, value = value](Config& config) { config[key] = value; });
    EXPECT_THAT(model.refusal(), HasSubstr(absl::StrCat("config.json: ", key, " is ", value)));
  }
  const Changed groups("deepseek_v3", [](Config& config) { config["topk_group"] = 5; });
  EXPECT_THAT(groups.refusal(), HasSubstr("5 of 4 groups: these sizes do not fit"));
}

TEST(ForeignConfig, AFeatureLayerThatIsNoNumberIsNotTakenForTheDefault) {
  const Changed model("llava", [](Config& config) { config["vision_feature_layer"] = "-1"; });
  EXPECT_THAT(model.refusal(), HasSubstr("vision_feature_layer is a string, expected an integer"));
}

TEST(ForeignConfig, InternLm3HasDefaultsOfItsOwn) {
  const auto adapter = must(loader().model("llama"));
  const Value config = must(parse_json(R"({"architectures": ["InternLM3ForCausalLM"]})", "c"));
  ASSERT_TRUE(adapter->open(config).ok());
  EXPECT_EQ(adapter->shape().vocab_size, 128512);
  EXPECT_EQ(adapter->shape().context_length, 32768);
}

}  // namespace
}  // namespace swage
