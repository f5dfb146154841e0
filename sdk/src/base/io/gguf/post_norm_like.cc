// OLMo, EXAONE 4 and GLM 4.
#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int kBoth = kWeight | kBias;

absl::Status check_silu(const Value& config) { return expect_activation(config, {"silu"}); }

absl::Status read_silu(const Metadata&, Value::Table* config) {
  (*config)["hidden_act"] = "silu";
  (*config)["attention_bias"] = false;
  return absl::OkStatus();
}

Architecture make_olmo() {
  Architecture a;
  a.name = "olmo";
  a.families = {
      {"OlmoForCausalLM", "olmo", R"({"max_position_embeddings": 2048, "layer_norm_eps": 1e-5})"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.names = [](const Value&) {
    Names names;
    for (const Name& name : llama_names(true, kWeight, kWeight).all) {
      if (name.gguf.find("_norm") == std::string::npos) names += {name};
    }
    return names;
  };
  a.keys = {{"attention.clamp_kqv", GgufType::kF32, "clip_qkv"}};
  a.check = check_silu;
  a.read = read_silu;
  return a;
}

// Norms behind the parts.
Names post_norms() {
  Names names;
  for (const Name& name : llama_names(false, kWeight, kWeight).all) {
    if (name.gguf != ".attn_norm" && name.gguf != ".ffn_norm") names += {name};
  }
  return names += {{".attn_q_norm", ".self_attn.q_norm"},
                   {".attn_k_norm", ".self_attn.k_norm"},
                   {".post_attention_norm", ".post_attention_layernorm"},
                   {".post_ffw_norm", ".post_feedforward_layernorm"}};
}

// In llama.cpp every fourth block attends to all.
absl::Status check_fourth(const Value& config) {
  const Value& pattern = config["sliding_window_pattern"];
  const int64_t stated = pattern.text() != nullptr ? static_cast<int64_t>(pattern.text()->size())
                                                   : config.i64("sliding_window_pattern", 4);
  SWAGE_ASSIGN_OR_RETURN(const int64_t period, window_period(config, stated));
  if (period == 4 || period > config.i64("num_hidden_layers", 0)) return absl::OkStatus();
  return refuse(absl::StrCat("block ", period,
                             " is the first that attends to all; in llama.cpp every fourth does"));
}

absl::Status check_olmo2(const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_silu(config));
  if (config.i64("sliding_window", 0) == 0) return absl::OkStatus();
  const Value& local = config["rope_parameters"]["sliding_attention"];
  const double theta = config.f64("rope_theta", 10000.0);
  if (local.f64("rope_theta", theta) != rope_table(config).f64("rope_theta", theta) ||
      local.str("rope_type", "default") != "default") {
    return refuse("blocks with windows have a rotation of another kind than llama.cpp computes");
  }
  return check_fourth(config);
}

Architecture make_olmo2() {
  Architecture a;
  a.name = "olmo2";
  a.families = {
      {"Olmo2ForCausalLM", "olmo2", R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-5})"},
      {"Olmo3ForCausalLM", "olmo3",
       R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 5e5,
                     "sliding_window": 4096})"}};
  a.rotary = "yarn";
  a.free_head_dim = false;
  a.needs_head = true;
  a.windows = true;
  a.names = [](const Value&) { return post_norms(); };
  a.keys = {{"attention.sliding_window", GgufType::kU32, "sliding_window"}};
  a.check = check_olmo2;
  a.read = [](const Metadata& metadata, Value::Table* config) {
    if (metadata.count("attention.sliding_window", int64_t{0}) > 0) {
      (*config)["architectures"] = Value::List{"Olmo3ForCausalLM"};
      (*config)["model_type"] = "olmo3";
      Value::List types;
      for (int64_t block = 1; block <= Value(*config).i64("num_hidden_layers", 0); ++block)
        types.push_back(block % 4 == 0 ? "full_attention" : "sliding_attention");
      (*config)["layer_types"] = std::move(types);
    }
    return read_silu(metadata, config);
  };
  return a;
}

Architecture make_exaone4() {
  Architecture a;
  a.name = "exaone4";
  a.families = {{"Exaone4ForCausalLM", "exaone4",
                 R"({"num_key_value_heads": 32, "max_position_embeddings": 2048,
                     "rms_norm_eps": 1e-5, "sliding_window": 4096, "sliding_window_pattern": 4})"}};
  a.rotary = "linear yarn llama3";
  a.windows = true;
  a.names = [](const Value&) { return post_norms(); };
  a.check = [](const Value& config) {
    SWAGE_RETURN_IF_ERROR(check_silu(config));
    const bool slides = config.i64("sliding_window", 0) > 0;
    if (slides != (config.i64("num_hidden_layers", 32) == 64)) {
      return refuse(absl::StrCat("a model ", slides ? "with" : "without",
                                 " sliding_window; llama.cpp "
                                 "has windows in the model of 64 blocks and in no other"));
    }
    return slides ? check_fourth(config) : absl::OkStatus();
  };
  a.write = [](const Value& config, KeyWriter* keys) {
    if (config.i64("sliding_window", 0) > 0)
      keys->count("attention.sliding_window", config.i64("sliding_window", 0));
    return absl::OkStatus();
  };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    const bool slides = Value(*config).i64("num_hidden_layers", 0) == 64;
    (*config)["sliding_window"] =
        slides ? Value(metadata.count("attention.sliding_window", int64_t{4096})) : Value();
    if (slides) (*config)["sliding_window_pattern"] = 4;
    return read_silu(metadata, config);
  };
  return a;
}

constexpr const char* kGlm =
    R"({"num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 131072,
        "rms_norm_eps": 1.5625e-7, "partial_rotary_factor": 0.5})";

Names glm(bool fourth) {
  Names names;
  names += {{"token_embd", "model.embed_tokens"},
            {"output_norm", "model.norm"},
            {"output", "lm_head"},
            {".attn_norm", ".input_layernorm"},
            {".attn_q", ".self_attn.q_proj", Move::kNone, kBoth},
            {".attn_k", ".self_attn.k_proj", Move::kNone, kBoth},
            {".attn_v", ".self_attn.v_proj", Move::kNone, kBoth},
            {".attn_output", ".self_attn.o_proj"},
            {".ffn_norm", ".post_attention_layernorm"},
            {".ffn_up", ".mlp.gate_up_proj"},
            {".ffn_down", ".mlp.down_proj"}};
  if (!fourth) return names;
  return names += {{".post_attention_norm", ".post_self_attn_layernorm"},
                   {".post_ffw_norm", ".post_mlp_layernorm"}};
}

absl::Status read_glm(const Metadata& metadata, Value::Table* config) {
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
  (*config)["head_dim"] = sizes.head_dim;
  (*config)["hidden_act"] = "silu";
  (*config)["attention_bias"] = metadata.contents().tensors.count("blk.0.attn_q.bias") > 0;
  return absl::OkStatus();
}

Architecture make_glm(bool fourth) {
  Architecture a;
  a.name = fourth ? "glm4" : "chatglm";
  a.families = {{fourth ? "Glm4ForCausalLM" : "GlmForCausalLM", fourth ? "glm4" : "glm", kGlm}};
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.partial_rotation = true;
  a.names =
      fourth ? [](const Value&) { return glm(true); } : [](const Value&) { return glm(false); };
  a.check = check_silu;
  a.read = read_glm;
  return a;
}

absl::Status check_glm_experts(const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_silu(config));
  if (config.i64("n_group", 1) == 1 && config.i64("topk_group", 1) == 1) return absl::OkStatus();
  return refuse("groups of experts are unknown to llama.cpp's graph of \"glm4moe\"");
}

Names glm_experts(const Value& config) {
  Names names = llama_names(false, kBoth, kWeight);
  for (Name& name : names.all) {
    if (name.gguf == ".ffn_norm") name.gguf = ".post_attention_norm";
    if (name.gguf == ".attn_output") name.suffixes = kWeight;
  }
  if (config.flag("use_qk_norm", false))
    names += {{".attn_q_norm", ".self_attn.q_norm"}, {".attn_k_norm", ".self_attn.k_norm"}};
  names += {{".ffn_gate_inp", ".mlp.gate"},
            {".exp_probs_b", ".mlp.gate.e_score_correction_bias", Move::kNone, kWhole},
            {".ffn_gate_shexp", ".mlp.shared_experts.gate_proj"},
            {".ffn_up_shexp", ".mlp.shared_experts.up_proj"},
            {".ffn_down_shexp", ".mlp.shared_experts.down_proj"}};
  return add_experts(names, ".mlp.experts", "gate_proj", "up_proj", "down_proj");
}

Architecture make_glm_experts() {
  Architecture a;
  a.name = "glm4moe";
  a.families = {{"Glm4MoeForCausalLM", "glm4_moe",
                 R"({"num_key_value_heads": 8, "max_position_embeddings": 131072,
                     "rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5, "n_routed_experts": 128,
                     "num_experts_per_tok": 8, "moe_intermediate_size": 1408,
                     "n_shared_experts": 1, "first_k_dense_replace": 1,
                     "routed_scaling_factor": 1.0, "norm_topk_prob": true})"}};
  a.aliases = {{"num_local_experts", "n_routed_experts"}, {"num_experts", "n_routed_experts"}};
  a.rotary = "linear yarn";
  a.partial_rotation = true;
  a.names = glm_experts;
  a.keys = {{"expert_count", GgufType::kU32, "n_routed_experts"},
            {"expert_used_count", GgufType::kU32, "num_experts_per_tok"},
            {"expert_feed_forward_length", GgufType::kU32, "moe_intermediate_size"},
            {"expert_shared_count", GgufType::kU32, "n_shared_experts"},
            {"leading_dense_block_count", GgufType::kU32, "first_k_dense_replace", 0},
            {"expert_weights_scale", GgufType::kF32, "routed_scaling_factor", 1.0},
            {"expert_weights_norm", GgufType::kBool, "norm_topk_prob", false}};
  a.check = check_glm_experts;
  a.write = [](const Value&, KeyWriter* keys) {
    keys->count("expert_gating_func", 2);
    return absl::OkStatus();
  };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    if (metadata.count("nextn_predict_layers", int64_t{0}) > 0)
      return absl::Status(absl::UnimplementedError("draft layers are not read from GGUF"));
    (*config)["use_qk_norm"] = metadata.contents().tensors.count("blk.0.attn_q_norm.weight") > 0;
    return read_glm(metadata, config);
  };
  return a;
}

}  // namespace

std::vector<Architecture> post_norm_like() {
  return {make_olmo(),    make_olmo2(),    make_exaone4(),
          make_glm(true), make_glm(false), make_glm_experts()};
}

}  // namespace swage::io::gguf
