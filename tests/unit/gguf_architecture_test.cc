// Tables of llama.cpp's architectures against the small models of every family: each row of each
// tensor has one place, and the way back leads to the same rows and the same metadata.
#include "swage/io/gguf_architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "swage/io/safetensors_header.h"

namespace swage::io {
namespace {

using ::testing::HasSubstr;

std::filesystem::path folder_of(const std::string& name) {
  return std::filesystem::path(std::getenv("SWAGE_SOURCE_DIR")) / "tests/data/parity" / name;
}

struct Model {
  Value config;
  TensorShapes shapes;
};

Value read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path.string()).value(), path.string()).value();
}

Model model_of(const std::string& name, const std::string& config = "config.json") {
  Model model;
  model.config = read_json(folder_of(name) / config);
  const Header header = read_header((folder_of(name) / "model.safetensors").string()).value();
  for (const auto& [tensor, info] : header) model.shapes[tensor] = info.shape;
  return model;
}

void set(Model* model, const std::string& key, Value value) {
  (*model->config.table())[key] = std::move(value);
}

// What llama.cpp's graphs do not compute is changed to what they do; names and shapes stay.
Model computable(const std::string& name, const std::string& config = "config.json") {
  Model model = model_of(name, config);
  if (name == "gemma2" || name.rfind("gemma3", 0) == 0) set(&model, "query_pre_attn_scalar", 32);
  if (name == "olmo3") set(&model, "layer_types", Value());
  if (name == "qwen2_moe" || name == "qwen3_moe") {
    set(&model, "mlp_only_layers", Value::List());
    for (auto it = model.shapes.begin(); it != model.shapes.end();) {
      const bool dense = it->first.find(".mlp.gate_proj") != std::string::npos ||
                         it->first.find(".mlp.up_proj") != std::string::npos ||
                         it->first.find(".mlp.down_proj") != std::string::npos;
      it = dense ? model.shapes.erase(it) : std::next(it);
    }
  }
  // Biases and norms that llama.cpp has no place for.
  const auto drop = [&](const std::string& ending) {
    for (auto it = model.shapes.begin(); it != model.shapes.end();)
      it = it->first.find(ending) != std::string::npos ? model.shapes.erase(it) : std::next(it);
  };
  if (name == "arcee") {
    drop(".bias");
    set(&model, "attention_bias", false);
    set(&model, "mlp_bias", false);
  }
  if (name == "cohere") {
    drop("_norm.");
    set(&model, "use_qk_norm", false);
  }
  if (name == "exaone4") set(&model, "sliding_window", Value());
  if (name == "deepseek_v2_lite") set(&model, "num_hidden_layers", 27);
  if (name == "deepseek_v2") set(&model, "topk_method", "greedy");
  return model;
}

int64_t rows_of(const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i + (shape.size() > 1 ? 1 : 0) < shape.size(); ++i) rows *= shape[i];
  return rows;
}

using Place = std::pair<std::string, int64_t>;  // tensor, row

std::vector<Place> places(const GgufPlan& plan) {
  std::vector<Place> result;
  for (const GgufRows& rows : plan.rows) {
    for (int64_t i = 0; i < rows.count; ++i)
      result.emplace_back(plan.sources[rows.source].name, rows.begin + i);
  }
  return result;
}

GgufContents contents_of(const GgufPlans& plans, const std::vector<GgufKey>& keys) {
  GgufContents contents;
  Value::Table metadata;
  std::map<std::string, std::vector<float>> values;
  for (const GgufKey& key : keys) {
    double number = 0;
    const bool rounded = key.type == GgufType::kF32 && key.value.number(&number);
    metadata[key.name] =
        rounded ? Value(static_cast<double>(static_cast<float>(number))) : key.value;
  }
  for (const GgufPlan& plan : plans.tensors) {
    contents.tensors[plan.name] = plan.shape;
    values[plan.name] = plan.values;
  }
  contents.metadata = std::move(metadata);
  contents.values = [values](const std::string& name) -> absl::StatusOr<std::vector<float>> {
    return values.at(name);
  };
  return contents;
}

std::map<std::string, Value> by_name(const std::vector<GgufKey>& keys) {
  std::map<std::string, Value> result;
  for (const GgufKey& key : keys) {
    double number = 0;
    const bool rounded = key.type == GgufType::kF32 && key.value.number(&number);
    result[key.name] = rounded ? Value(static_cast<double>(static_cast<float>(number))) : key.value;
  }
  return result;
}

class GgufFamilies : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufFamilies, EveryRowHasOnePlaceAndComesBack) {
  const Model model = computable(GetParam());
  const auto plans = plan_gguf(model.config, model.shapes);
  ASSERT_TRUE(plans.ok()) << plans.status();
  std::map<Place, std::set<Place>> there;
  std::map<std::string, const GgufPlan*> stored;
  for (const GgufPlan& plan : plans->tensors) {
    EXPECT_TRUE(stored.emplace(plan.name, &plan).second) << plan.name;
    EXPECT_LE(plan.name.size(), 63u);
    const std::vector<Place> rows = places(plan);
    const bool vectors = plan.name.find("attn_q_norm") != std::string::npos ||
                         plan.name.find("attn_k_norm") != std::string::npos;
    if (!plan.sources.empty() && plan.transposed == 0 && !vectors) {
      EXPECT_EQ(static_cast<int64_t>(rows.size()), rows_of(plan.shape)) << plan.name;
    }
    for (size_t i = 0; i < rows.size(); ++i)
      there[rows[i]].emplace(plan.name, static_cast<int64_t>(i));
  }
  const std::set<std::string> left(plans->left_out.begin(), plans->left_out.end());
  for (const auto& [name, shape] : model.shapes) {
    for (int64_t row = 0; left.count(name) == 0 && row < rows_of(shape); ++row)
      EXPECT_GE(there[Place(name, row)].size(), 1u) << name << " " << row;
  }
  // The way back, where it leads to the same family.
  const auto keys = gguf_keys(model.config, model.shapes);
  ASSERT_TRUE(keys.ok()) << keys.status();
  const GgufContents contents = contents_of(*plans, *keys);
  const auto config = config_of_gguf(contents);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto back = plan_hugging_face(contents, *config);
  ASSERT_TRUE(back.ok()) << back.status();
  if (std::string(GetParam()) == "internlm2") return;  // read as Llama, with q, k and v apart
  std::set<std::string> found;
  for (const GgufPlan& plan : *back) {
    if (model.shapes.count(plan.name) == 0) {
      EXPECT_EQ(plan.name, "lm_head.weight");  // a tied head that the graph needs
      continue;
    }
    found.insert(plan.name);
    EXPECT_EQ(plan.shape, model.shapes.at(plan.name)) << plan.name;
    const std::vector<Place> rows = places(plan);
    // The norm of one head is one row of a matrix.
    if (rows.size() == 1 && plan.shape[0] > 1) continue;
    ASSERT_EQ(static_cast<int64_t>(rows.size()), rows_of(plan.shape)) << plan.name;
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(there[Place(plan.name, static_cast<int64_t>(i))].count(rows[i]), 1u)
          << plan.name << " " << i;
    }
    for (const GgufSource& source : plan.sources) {
      EXPECT_EQ(source.transposed, stored.at(source.name)->transposed);
      EXPECT_EQ(plan.added, -stored.at(source.name)->added);
    }
  }
  EXPECT_EQ(found.size() + left.size(), model.shapes.size());
}

TEST_P(GgufFamilies, MetadataTellsTheSameConfiguration) {
  for (const char* file : {"config.json", "config_min.json"}) {
    const Model model = computable(GetParam(), file);
    const auto plans = plan_gguf(model.config, model.shapes);
    const auto keys = gguf_keys(model.config, model.shapes);
    ASSERT_TRUE(plans.ok() && keys.ok()) << keys.status();
    const GgufContents contents = contents_of(*plans, *keys);
    const auto config = config_of_gguf(contents);
    ASSERT_TRUE(config.ok()) << config.status();
    TensorShapes shapes;
    const auto tensors = plan_hugging_face(contents, *config);
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    for (const GgufPlan& plan : *tensors) shapes[plan.name] = plan.shape;
    const auto again = gguf_keys(*config, shapes);
    ASSERT_TRUE(again.ok()) << again.status();
    auto first = by_name(*keys), second = by_name(*again);
    if (std::string(GetParam()) == "internlm2") {
      std::map<std::string, Value> renamed;
      for (const auto& [name, value] : second)
        renamed[name.rfind("llama.", 0) == 0 ? "internlm2" + name.substr(5) : name] = value;
      second = std::move(renamed);
      second["general.architecture"] = "internlm2";
    }
    for (const auto& [name, value] : first)
      EXPECT_EQ(to_json(value), to_json(second[name])) << name << " with " << file;
    EXPECT_EQ(first.size(), second.size());
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufFamilies,
                         ::testing::Values("arcee", "bloom", "bloom_six_heads", "cohere",
                                           "deepseek_v2", "deepseek_v2_lite", "deepseek_v3",
                                           "ernie4_5", "exaone4", "falcon40b", "falcon7b",
                                           "falcon_one_norm", "gemma2", "gemma3_text", "glm",
                                           "glm4", "glm4_moe", "gpt_neox", "granite", "internlm2",
                                           "llama", "llama31", "llama_biased", "llama_linear",
                                           "llama_yarn", "minicpm", "mixtral", "nemotron", "olmo",
                                           "olmo2", "phi", "phi3", "phi4_mini", "qwen2",
                                           "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3",
                                           "stablelm", "stablelm_parallel", "starcoder2"),
                         [](const auto& info) { return std::string(info.param); });

std::string refusal(const std::string& name, const std::string& key = "", Value value = Value()) {
  Model model = key.empty() ? model_of(name) : computable(name);
  if (!key.empty()) set(&model, key, std::move(value));
  const auto architecture = gguf_architecture(model.config);
  return architecture.ok() ? "none" : std::string(architecture.status().message());
}

TEST(GgufArchitecture, RefusesByNameWhatLlamaCppDoesNotCompute) {
  EXPECT_THAT(refusal("opt"), HasSubstr("\"OPTForCausalLM\""));
  EXPECT_THAT(refusal("llava"), HasSubstr("reads images"));
  EXPECT_THAT(refusal("falcon_rw"), HasSubstr("alibi is true"));
  EXPECT_THAT(refusal("gemma2"), HasSubstr("query_pre_attn_scalar is 24; llama.cpp takes 32"));
  EXPECT_THAT(refusal("qwen2_moe"), HasSubstr("blocks without experts"));
  EXPECT_THAT(refusal("bloom_residual"), HasSubstr("apply_residual_connection_post_layernorm"));
  EXPECT_THAT(refusal("phi_head_norms"), HasSubstr("qk_layernorm is true"));
  EXPECT_THAT(refusal("deepseek_v2"), HasSubstr("group_limited_greedy"));
  EXPECT_THAT(refusal("deepseek_v2_lite"), HasSubstr("3 blocks without q_lora_rank"));
  EXPECT_THAT(refusal("exaone4"), HasSubstr("in the model of 64 blocks and in no other"));
  EXPECT_THAT(refusal("llama", "hidden_act", "gelu"), HasSubstr("hidden_act is \"gelu\""));
  EXPECT_THAT(refusal("qwen2", "head_dim", 32), HasSubstr("are not hidden_size"));
  EXPECT_THAT(refusal("qwen2", "rope_scaling", Value::Table{{"rope_type", "llama3"}}),
              HasSubstr("\"llama3\" is unknown"));
  EXPECT_THAT(refusal("qwen3_moe", "norm_topk_prob", false), HasSubstr("norm_topk_prob is false"));
  EXPECT_THAT(refusal("smollm3", "no_rope_layers", Value::List{1, 0, 1, 0}),
              HasSubstr("no_rope_layers"));
}

TEST(GgufArchitecture, NamesTensorsThatHaveNoPlace) {
  Model model = model_of("llama");
  model.shapes["model.layers.0.self_attn.q_norm.weight"] = {16};
  EXPECT_THAT(std::string(plan_gguf(model.config, model.shapes).status().message()),
              HasSubstr("\"model.layers.0.self_attn.q_norm.weight\" has no place"));
  model = model_of("llama");
  model.shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = {8};
  model.shapes["model.layers.9.eh_proj.weight"] = {8, 8};
  EXPECT_EQ(plan_gguf(model.config, model.shapes).value().left_out.size(), 2u);
}

const GgufPlan* find(const GgufPlans& plans, const std::string& name) {
  for (const GgufPlan& plan : plans.tensors)
    if (plan.name == name) return &plan;
  return nullptr;
}

TEST(GgufArchitecture, InterleavesTheHalvesOfHeads) {
  const Model model = model_of("llama");  // 4 heads of 16 channels, 2 of keys
  const GgufPlans plans = plan_gguf(model.config, model.shapes).value();
  const auto rows = places(*find(plans, "blk.1.attn_k.weight"));
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  EXPECT_EQ(rows[0], Place(name, 0));
  EXPECT_EQ(rows[1], Place(name, 8));
  EXPECT_EQ(rows[2], Place(name, 1));
  EXPECT_EQ(rows[15], Place(name, 15));
  EXPECT_EQ(rows[16], Place(name, 16));
  EXPECT_TRUE(find(plans, "blk.1.attn_v.weight")->is_copy());
  EXPECT_FALSE(find(plans, "blk.1.attn_k.weight")->is_copy());
}

TEST(GgufArchitecture, ScaledRotationsBecomeFactors) {
  const Model model = model_of("llama31");  // theta 5e5, 16 channels, factor 8 over 64 positions
  const GgufPlans plans = plan_gguf(model.config, model.shapes).value();
  const std::vector<float>& factors = find(plans, "rope_freqs.weight")->values;
  ASSERT_EQ(factors.size(), 8u);
  EXPECT_EQ(factors[0], 1.0f);  // a wavelength of 6.28, below 64 / 4
  EXPECT_EQ(factors[7], 8.0f);
  const double share = (64 / (2 * M_PI * std::pow(5e5, 0.125)) - 1) / 3;
  EXPECT_NEAR(static_cast<double>(factors[1]), 1 / ((1 - share) / 8 + share), 1e-6);
}

TEST(GgufArchitecture, EndsTheContextWhereAWindowWouldBegin) {
  const auto keys = by_name(gguf_keys(model_of("mistral_sw").config, {}).value());
  EXPECT_EQ(*keys.at("llama.context_length").integer(), 8);
  const auto gemma = by_name(gguf_keys(computable("gemma2").config, {}).value());
  EXPECT_EQ(*gemma.at("gemma2.context_length").integer(), 512);
}

TEST(GgufArchitecture, KeepsTheWindowsThatTheContextWasCutTo) {
  const Model model = model_of("qwen2_windows");
  const GgufPlans plans = plan_gguf(model.config, model.shapes).value();
  GgufContents contents = contents_of(plans, gguf_keys(model.config, model.shapes).value());
  const Value config = config_of_gguf(contents).value();
  for (const char* key : {"model_type", "max_position_embeddings", "sliding_window",
                          "use_sliding_window", "max_window_layers", "layer_types"})
    EXPECT_EQ(to_json(config[key]), to_json(model.config[key])) << key;
  (*contents.metadata.table())["qwen2.context_length"] = 16;
  EXPECT_THAT(config_of_gguf(contents).status().message(), HasSubstr("says windows of 8"));
}

TEST(GgufArchitecture, FalconStatesHeadsWhereItHasGroups) {
  for (const auto& [name, stated] : {std::pair("falcon7b", false), std::pair("falcon40b", true)}) {
    const Model model = model_of(name);
    const GgufPlans plans = plan_gguf(model.config, model.shapes).value();
    const Value config =
        config_of_gguf(contents_of(plans, gguf_keys(model.config, model.shapes).value())).value();
    EXPECT_EQ(config.has("num_kv_heads"), stated) << name;
  }
}

TEST(GgufArchitecture, TransposesTheKeysOfLatentAttention) {
  const Model model = model_of("deepseek_v3");
  const GgufPlans plans = plan_gguf(model.config, model.shapes).value();
  const GgufPlan* key = find(plans, "blk.0.attn_k_b.weight");
  EXPECT_EQ(key->transposed, 4);
  EXPECT_EQ(key->shape[1], model.config.i64("kv_lora_rank", 0));
  EXPECT_EQ(find(plans, "blk.0.attn_v_b.weight")->transposed, 0);
}

}  // namespace
}  // namespace swage::io
