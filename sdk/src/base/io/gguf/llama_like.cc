// Llama and what differs from it in a few places.
#include <cmath>

#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int kBoth = kWeight | kBias;
constexpr const char* kScaled = "linear yarn llama3";

int64_t experts_of(const Value& config) {
  return config.i64(config.has("num_experts") ? "num_experts" : "num_local_experts", 0);
}

Names llama(const Value& config) {
  Names names = llama_names(true, kBoth, kBoth);
  if (experts_of(config) == 0) return names;
  names.all.resize(names.all.size() - 3);  // the MLP
  names += {{".ffn_gate_inp", ".block_sparse_moe.gate"}};
  return add_experts(names, ".block_sparse_moe.experts", "w1", "w3", "w2");
}

absl::Status check_silu(const Value& config) {
  return expect_activation(config, {"silu", "swish"});
}

absl::Status write_llama(const Value& config, KeyWriter* keys) {
  if (experts_of(config) == 0) return absl::OkStatus();
  keys->count("expert_count", experts_of(config));
  keys->count("expert_used_count", config.i64("num_experts_per_tok", 2));
  return absl::OkStatus();
}

bool has_tensor(const Metadata& metadata, const char* name) {
  return metadata.contents().tensors.count(name) > 0;
}

absl::Status read_llama(const Metadata& metadata, Value::Table* config) {
  const auto become = [&](const char* name, const char* type) {
    (*config)["architectures"] = Value::List{name};
    (*config)["model_type"] = type;
  };
  (*config)["hidden_act"] = "silu";
  const bool query = has_tensor(metadata, "blk.0.attn_q.bias");
  const bool output = has_tensor(metadata, "blk.0.attn_output.bias");
  const bool mlp = has_tensor(metadata, "blk.0.ffn_gate.bias");
  const int64_t experts = metadata.count("expert_count", int64_t{0});
  if (experts > 0) {
    become("MixtralForCausalLM", "mixtral");
    (*config)["num_local_experts"] = experts;
    SWAGE_ASSIGN_OR_RETURN((*config)["num_experts_per_tok"], metadata.count("expert_used_count"));
    (*config)["sliding_window"] = Value();
  } else if (query != output) {
    become("InternLM3ForCausalLM", "internlm3");
    (*config)["qkv_bias"] = query;
    (*config)["bias"] = output;
  } else {
    (*config)["attention_bias"] = query;
    (*config)["mlp_bias"] = mlp;
  }
  return absl::OkStatus();
}

Architecture make_llama() {
  Architecture a;
  a.name = "llama";
  a.families = {
      {"LlamaForCausalLM", "llama", R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6})"},
      {"MistralForCausalLM", "mistral",
       R"({"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096,
           "rms_norm_eps": 1e-6})"},
      {"MixtralForCausalLM", "mixtral",
       R"({"num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
           "rope_theta": 1e6, "num_local_experts": 8, "num_experts_per_tok": 2})"},
      {"InternLM3ForCausalLM", "internlm3",
       R"({"num_key_value_heads": 32, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6})"}};
  a.rotary = kScaled;
  a.names = llama;
  a.check = check_silu;
  a.write = write_llama;
  a.read = read_llama;
  return a;
}

Architecture make_internlm2() {
  Architecture a;
  a.name = "internlm2";
  a.families = {{"InternLM2ForCausalLM", "internlm2",
                 R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6})"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.tok_embeddings"},
              {"output_norm", "model.norm"},
              {"output", "output"},
              {".attn_norm", ".attention_norm"},
              {".attn_q", ".attention.wqkv", Move::kGroupsQuery},
              {".attn_k", ".attention.wqkv", Move::kGroupsKey},
              {".attn_v", ".attention.wqkv", Move::kGroupsValue},
              {".attn_output", ".attention.wo"},
              {".ffn_norm", ".ffn_norm"},
              {".ffn_gate", ".feed_forward.w1"},
              {".ffn_up", ".feed_forward.w3"},
              {".ffn_down", ".feed_forward.w2"}};
    return names;
  };
  a.check = check_silu;
  a.read = read_llama;
  a.read_as = "llama";
  return a;
}

Architecture make_arcee() {
  Architecture a;
  a.name = "arcee";
  a.families = {
      {"ArceeForCausalLM", "arcee", R"({"max_position_embeddings": 4096, "rms_norm_eps": 1e-5})"}};
  a.rotary = kScaled;
  a.names = [](const Value&) {
    Names names = llama_names(true, kWeight, kWeight);
    names.all.erase(names.all.end() - 3);  // the gate
    return names;
  };
  a.check = [](const Value& config) { return expect_activation(config, {"relu2"}); };
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "relu2";
    return absl::OkStatus();
  };
  return a;
}

// Blocks 4, 8, 12 … do not rotate.
absl::Status check_smollm3(const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_silu(config));
  const int64_t interval = config.i64("no_rope_layer_interval", 4);
  const Value::List* layers = config["no_rope_layers"].list();
  bool usual = layers != nullptr || interval == 4;
  for (size_t i = 0; layers != nullptr && i < layers->size(); ++i) {
    const int64_t* rotates = (*layers)[i].integer();
    usual &= rotates != nullptr && (*rotates != 0) == ((i + 1) % 4 != 0);
  }
  if (usual) return absl::OkStatus();
  return refuse("no_rope_layers; in llama.cpp every fourth block goes without rotation");
}

Architecture make_smollm3() {
  Architecture a;
  a.name = "smollm3";
  a.families = {{"SmolLM3ForCausalLM", "smollm3",
                 R"({"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 2e6,
                     "rms_norm_eps": 1e-6, "use_sliding_window": false})"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) { return llama_names(true, kWeight, kWeight); };
  a.check = check_smollm3;
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["no_rope_layer_interval"] = 4;
    return absl::OkStatus();
  };
  return a;
}

Architecture make_granite() {
  Architecture a;
  a.name = "granite";
  a.families = {{"GraniteForCausalLM", "granite",
                 R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
                     "attention_multiplier": 1.0, "embedding_multiplier": 1.0,
                     "residual_multiplier": 1.0, "logits_scaling": 1.0})"}};
  a.rotary = kScaled;
  a.names = [](const Value&) { return llama_names(true, kBoth, kBoth); };
  a.check = check_silu;
  a.keys = {{"attention.scale", GgufType::kF32, "attention_multiplier"},
            {"embedding_scale", GgufType::kF32, "embedding_multiplier", 1.0},
            {"residual_scale", GgufType::kF32, "residual_multiplier", 1.0},
            {"logit_scale", GgufType::kF32, "logits_scaling", 1.0}};
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["attention_bias"] = has_tensor(metadata, "blk.0.attn_q.bias");
    (*config)["mlp_bias"] = has_tensor(metadata, "blk.0.ffn_gate.bias");
    if (config->count("attention_multiplier") > 0) return absl::OkStatus();
    SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
    (*config)["attention_multiplier"] = 1 / std::sqrt(static_cast<double>(sizes.head_dim));
    return absl::OkStatus();
  };
  return a;
}

absl::Status write_minicpm(const Value& config, KeyWriter* keys) {
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(config));
  keys->number("embedding_scale", config.f64("scale_emb", 1.0));
  keys->number("residual_scale",
               config.f64("scale_depth", 1.0) / std::sqrt(static_cast<double>(sizes.blocks)));
  keys->number("logit_scale",
               static_cast<double>(sizes.hidden) / config.f64("dim_model_base", 1.0));
  return absl::OkStatus();
}

absl::Status read_minicpm(const Metadata& metadata, Value::Table* config) {
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
  SWAGE_ASSIGN_OR_RETURN(const double embedding, metadata.number("embedding_scale"));
  SWAGE_ASSIGN_OR_RETURN(const double residual, metadata.number("residual_scale"));
  SWAGE_ASSIGN_OR_RETURN(const double logits, metadata.number("logit_scale"));
  (*config)["hidden_act"] = "silu";
  (*config)["scale_emb"] = embedding;
  (*config)["scale_depth"] = shortest(residual * std::sqrt(static_cast<double>(sizes.blocks)));
  (*config)["dim_model_base"] = shortest(static_cast<double>(sizes.hidden) / logits);
  return absl::OkStatus();
}

Architecture make_minicpm() {
  Architecture a;
  a.name = "minicpm";
  a.families = {{"MiniCPMForCausalLM", "minicpm",
                 R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6})"}};
  a.rotary = "linear";
  a.names = [](const Value&) { return llama_names(true, kWeight, kWeight); };
  a.check = check_silu;
  a.write = write_minicpm;
  a.read = read_minicpm;
  return a;
}

Architecture make_ernie() {
  Architecture a;
  a.name = "ernie4_5";
  a.families = {{"Ernie4_5ForCausalLM", "ernie4_5",
                 R"({"num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072,
                     "rms_norm_eps": 1e-5, "rope_theta": 5e5})"},
                {"Ernie4_5_ForCausalLM", "ernie4_5",
                 R"({"num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072,
                     "rms_norm_eps": 1e-5, "rope_theta": 5e5})"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) { return llama_names(false, kWeight, kWeight); };
  a.check = check_silu;
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["use_bias"] = false;
    SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
    (*config)["head_dim"] = sizes.head_dim;
    return absl::OkStatus();
  };
  return a;
}

Architecture make_seed() {
  Architecture a;
  a.name = "seed_oss";
  a.families = {{"SeedOssForCausalLM", "seed_oss",
                 R"({"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 524288,
                     "rms_norm_eps": 1e-6})"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) {
    Names names = llama_names(false, kBoth, kWeight);
    for (Name& name : names.all) {
      if (name.gguf == ".ffn_norm") name.gguf = ".post_attention_norm";
      if (name.gguf == ".attn_output") name.suffixes = kWeight;
    }
    return names;
  };
  a.check = check_silu;
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["attention_bias"] = has_tensor(metadata, "blk.0.attn_q.bias");
    SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
    (*config)["head_dim"] = sizes.head_dim;
    return absl::OkStatus();
  };
  return a;
}

}  // namespace

std::vector<Architecture> llama_like() {
  return {make_llama(),   make_internlm2(), make_arcee(), make_smollm3(),
          make_granite(), make_minicpm(),   make_ernie(), make_seed()};
}

}  // namespace swage::io::gguf
