// DeepSeek-V2, V2-Lite, V3 and R1: latent attention. GGUF holds the absorbed form: one key head of
// the latent vector beside the channels that rotate.
#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int64_t kSoftmax = 1, kSigmoid = 2;

bool is_third(const Value& config) {
  const Value::List* classes = config["architectures"].list();
  if (classes != nullptr && !classes->empty() && classes->front().text() != nullptr)
    return *classes->front().text() == "DeepseekV3ForCausalLM";
  return config.str("model_type", "") == "deepseek_v3";
}

Names deepseek(const Value&) {
  Names names;
  names += {{"token_embd", "model.embed_tokens"},
            {"output_norm", "model.norm"},
            {"output", "lm_head"},
            {".attn_norm", ".input_layernorm"},
            {".attn_q", ".self_attn.q_proj"},
            {".attn_q_a", ".self_attn.q_a_proj"},
            {".attn_q_a_norm", ".self_attn.q_a_layernorm"},
            {".attn_q_b", ".self_attn.q_b_proj"},
            {".attn_kv_a_mqa", ".self_attn.kv_a_proj_with_mqa"},
            {".attn_kv_a_norm", ".self_attn.kv_a_layernorm"},
            {".attn_k_b", ".self_attn.kv_b_proj", Move::kLatentKey},
            {".attn_v_b", ".self_attn.kv_b_proj", Move::kLatentValue},
            {".attn_output", ".self_attn.o_proj"},
            {".ffn_norm", ".post_attention_layernorm"},
            {".ffn_gate", ".mlp.gate_proj"},
            {".ffn_up", ".mlp.up_proj"},
            {".ffn_down", ".mlp.down_proj"},
            {".ffn_gate_inp", ".mlp.gate"},
            {".exp_probs_b", ".mlp.gate.e_score_correction_bias", Move::kNone, kWhole},
            {".ffn_gate_shexp", ".mlp.shared_experts.gate_proj"},
            {".ffn_up_shexp", ".mlp.shared_experts.up_proj"},
            {".ffn_down_shexp", ".mlp.shared_experts.down_proj"}};
  return add_experts(names, ".mlp.experts", "gate_proj", "up_proj", "down_proj");
}

absl::Status check(const Value& config) {
  SWAGE_RETURN_IF_ERROR(expect_activation(config, {"silu"}));
  const bool third = is_third(config);
  SWAGE_RETURN_IF_ERROR(expect_flag(config, "rope_interleave", true, true));
  if (config.f64("rms_norm_eps", 1e-6) != 1e-6)
    return refuse("rms_norm_eps is not 1e-6, which the norms of the latent vectors always take");
  const int64_t blocks = config.i64("num_hidden_layers", 0);
  const bool lite = blocks == 26 || blocks == 27;
  if (lite == config.has("q_lora_rank")) {
    return refuse(absl::StrCat("a model of ", blocks, " blocks with", lite ? "" : "out",
                               " q_lora_rank; llama.cpp expects one but in those of 26 and 27"));
  }
  if (config.i64("moe_layer_freq", 1) != 1)
    return refuse("moe_layer_freq is not 1; llama.cpp reads experts in all later blocks");
  if (!third && config.str("topk_method", "greedy") != "greedy" && config.i64("n_group", 1) > 1) {
    return refuse(
        "topk_method \"group_limited_greedy\": llama.cpp ranks groups by their two best experts, "
        "not by the best one");
  }
  return absl::OkStatus();
}

absl::Status write(const Value& config, KeyWriter* keys) {
  const bool third = is_third(config);
  const int64_t rank = config.i64("kv_lora_rank", 512), rope = config.i64("qk_rope_head_dim", 64);
  const int64_t values = config.i64("v_head_dim", 128);
  keys->count("attention.head_count_kv", 1);
  if (config.has("q_lora_rank")) keys->count("attention.q_lora_rank", config.i64("q_lora_rank", 0));
  keys->count("attention.kv_lora_rank", rank);
  keys->count("attention.key_length", rank + rope);
  keys->count("attention.value_length", rank);
  keys->count("attention.key_length_mla", config.i64("qk_nope_head_dim", 128) + rope);
  keys->count("attention.value_length_mla", values);
  keys->count("rope.dimension_count", rope);
  keys->count("expert_gating_func", third ? kSigmoid : kSoftmax);
  keys->flag("expert_weights_norm", third && config.flag("norm_topk_prob", true));
  if (third) {
    keys->count("expert_group_count", config.i64("n_group", 8));
    keys->count("expert_group_used_count", config.i64("topk_group", 4));
  }
  const double all = rope_table(config).f64("mscale_all_dim", 0.0);
  if (rope_type(config) == "yarn" && all != 0)
    keys->number("rope.scaling.yarn_log_multiplier", 0.1 * all);
  return absl::OkStatus();
}

absl::Status read_attention(const Metadata& metadata, Value::Table* config) {
  SWAGE_ASSIGN_OR_RETURN(const int64_t rank, metadata.count("attention.kv_lora_rank"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t rope, metadata.count("rope.dimension_count"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t keys, metadata.count("attention.key_length_mla"));
  SWAGE_ASSIGN_OR_RETURN(const int64_t values, metadata.count("attention.value_length_mla"));
  if (keys <= rope)
    return absl::InvalidArgumentError("\"attention.key_length_mla\" is no more than what rotates");
  (*config)["kv_lora_rank"] = rank;
  (*config)["qk_rope_head_dim"] = rope;
  (*config)["qk_nope_head_dim"] = keys - rope;
  (*config)["v_head_dim"] = values;
  (*config)["q_lora_rank"] = metadata.has("attention.q_lora_rank")
                                 ? Value(metadata.count("attention.q_lora_rank", int64_t{0}))
                                 : Value();
  (*config)["num_key_value_heads"] = Value(*config).i64("num_attention_heads", 0);
  config->erase("head_dim");
  config->erase("partial_rotary_factor");
  const double multiplier = metadata.number("rope.scaling.yarn_log_multiplier", 0.0);
  Value& scaling = (*config)["rope_scaling"];
  if (scaling.table() != nullptr && multiplier != 0) {
    const double all = shortest(multiplier * 10);
    (*scaling.table())["mscale"] = all;
    (*scaling.table())["mscale_all_dim"] = all;
    (*scaling.table())["type"] = "yarn";
  }
  return absl::OkStatus();
}

absl::Status read(const Metadata& metadata, Value::Table* config) {
  SWAGE_RETURN_IF_ERROR(read_attention(metadata, config));
  (*config)["hidden_act"] = "silu";
  const int64_t groups = metadata.count("expert_group_count", int64_t{1});
  (*config)["n_group"] = groups;
  (*config)["topk_group"] = metadata.count("expert_group_used_count", groups);
  if (metadata.count("expert_gating_func", kSoftmax) == kSigmoid) {
    (*config)["norm_topk_prob"] = metadata.flag("expert_weights_norm", false);
    return absl::OkStatus();
  }
  (*config)["architectures"] = Value::List{"DeepseekV2ForCausalLM"};
  (*config)["model_type"] = "deepseek_v2";
  (*config)["topk_method"] = "greedy";
  (*config)["norm_topk_prob"] = false;
  return absl::OkStatus();
}

Architecture make_deepseek() {
  Architecture a;
  a.name = "deepseek2";
  a.families = {{"DeepseekV3ForCausalLM", "deepseek_v3",
                 R"({"max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "q_lora_rank": 1536,
                     "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
                     "v_head_dim": 128, "n_routed_experts": 256, "num_experts_per_tok": 8,
                     "moe_intermediate_size": 2048, "n_shared_experts": 1,
                     "first_k_dense_replace": 3, "routed_scaling_factor": 2.5})"},
                {"DeepseekV2ForCausalLM", "deepseek_v2",
                 R"({"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "q_lora_rank": 1536,
                     "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
                     "v_head_dim": 128, "n_routed_experts": 64, "moe_intermediate_size": 1407,
                     "n_shared_experts": 2, "first_k_dense_replace": 0,
                     "routed_scaling_factor": 1.0})"}};
  a.aliases = {{"num_experts", "n_routed_experts"}, {"num_local_experts", "n_routed_experts"}};
  a.rotary = "linear yarn";
  a.partial_rotation = true;  // of the key that a file states, which holds the latent vector too
  a.names = deepseek;
  a.keys = {{"expert_count", GgufType::kU32, "n_routed_experts"},
            {"expert_used_count", GgufType::kU32, "num_experts_per_tok"},
            {"expert_feed_forward_length", GgufType::kU32, "moe_intermediate_size"},
            {"expert_shared_count", GgufType::kU32, "n_shared_experts"},
            {"leading_dense_block_count", GgufType::kU32, "first_k_dense_replace", 0},
            {"expert_weights_scale", GgufType::kF32, "routed_scaling_factor", 1.0}};
  // What rotates is a head of its own width; heads all have keys of their own.
  a.prepare = [](Value::Table* config) {
    (*config)["head_dim"] = Value(*config).i64("qk_rope_head_dim", 64);
    config->erase("num_key_value_heads");
  };
  a.check = check;
  a.write = write;
  a.read = read;
  return a;
}

}  // namespace

std::vector<Architecture> deepseek_like() { return {make_deepseek()}; }

}  // namespace swage::io::gguf
