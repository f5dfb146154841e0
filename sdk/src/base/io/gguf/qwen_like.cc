// Qwen 2 and 3, dense and with experts.
#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

// Without a place for a bias of the output.
Names attention_biased(int mlp_parts) {
  Names names = llama_names(false, kWeight | kBias, kWeight);
  for (Name& name : names.all) {
    if (name.gguf == ".attn_output") name.suffixes = kWeight;
  }
  if (mlp_parts == 0) names.all.resize(names.all.size() - 3);
  return names;
}

Names& add_head_norms(Names& names) {
  return names += {{".attn_q_norm", ".self_attn.q_norm"}, {".attn_k_norm", ".self_attn.k_norm"}};
}

absl::Status check_silu(const Value& config) { return expect_activation(config, {"silu"}); }

absl::Status read_silu(const Metadata&, Value::Table* config) {
  (*config)["hidden_act"] = "silu";
  (*config)["use_sliding_window"] = false;
  return absl::OkStatus();
}

absl::Status read_third(const Metadata& metadata, Value::Table* config) {
  (*config)["attention_bias"] = false;
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
  (*config)["head_dim"] = sizes.head_dim;
  return read_silu(metadata, config);
}

// Every block of llama.cpp's graph has experts.
absl::Status check_experts(const Value& config, bool normalized) {
  SWAGE_RETURN_IF_ERROR(check_silu(config));
  const Value::List* dense = config["mlp_only_layers"].list();
  if ((dense != nullptr && !dense->empty()) || config.i64("decoder_sparse_step", 1) != 1)
    return refuse("blocks without experts among those with them; llama.cpp reads experts in all");
  return expect_flag(config, "norm_topk_prob", normalized, false);
}

Architecture make_second() {
  Architecture a;
  a.name = "qwen2";
  a.families = {{"Qwen2ForCausalLM", "qwen2",
                 R"({"num_key_value_heads": 32, "max_position_embeddings": 32768,
                     "rms_norm_eps": 1e-6, "use_sliding_window": false, "sliding_window": 4096,
                     "max_window_layers": 28})"}};
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.names = [](const Value&) { return attention_biased(3); };
  a.check = check_silu;
  a.read = read_silu;
  return a;
}

Architecture make_third() {
  Architecture a;
  a.name = "qwen3";
  a.families = {{"Qwen3ForCausalLM", "qwen3",
                 R"({"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
                     "rms_norm_eps": 1e-6, "use_sliding_window": false, "sliding_window": 4096,
                     "max_window_layers": 28})"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) {
    Names names = llama_names(false, kWeight, kWeight);
    return add_head_norms(names);
  };
  a.check = check_silu;
  a.read = read_third;
  return a;
}

const std::vector<Key>& expert_keys() {
  static const std::vector<Key> keys = {
      {"expert_count", GgufType::kU32, "num_experts"},
      {"expert_used_count", GgufType::kU32, "num_experts_per_tok"},
      {"expert_feed_forward_length", GgufType::kU32, "moe_intermediate_size"},
      {"expert_shared_feed_forward_length", GgufType::kU32, "shared_expert_intermediate_size"}};
  return keys;
}

Architecture make_second_experts() {
  Architecture a;
  a.name = "qwen2moe";
  a.families = {{"Qwen2MoeForCausalLM", "qwen2_moe",
                 R"({"num_key_value_heads": 16, "max_position_embeddings": 32768,
                     "rms_norm_eps": 1e-6, "use_sliding_window": false, "num_experts": 60,
                     "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
                     "shared_expert_intermediate_size": 5632})"}};
  a.aliases = {{"num_local_experts", "num_experts"}};
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.needs_head = true;
  a.names = [](const Value&) {
    Names names = attention_biased(0);
    names += {{".ffn_gate_inp", ".mlp.gate"},
              {".ffn_gate_inp_shexp", ".mlp.shared_expert_gate"},
              {".ffn_gate_shexp", ".mlp.shared_expert.gate_proj"},
              {".ffn_up_shexp", ".mlp.shared_expert.up_proj"},
              {".ffn_down_shexp", ".mlp.shared_expert.down_proj"}};
    return add_experts(names, ".mlp.experts", "gate_proj", "up_proj", "down_proj");
  };
  a.keys = expert_keys();
  a.check = [](const Value& config) { return check_experts(config, false); };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["norm_topk_prob"] = false;
    return read_silu(metadata, config);
  };
  return a;
}

Architecture make_third_experts() {
  Architecture a;
  a.name = "qwen3moe";
  a.families = {{"Qwen3MoeForCausalLM", "qwen3_moe",
                 R"({"num_key_value_heads": 4, "max_position_embeddings": 32768,
                     "rms_norm_eps": 1e-6, "use_sliding_window": false, "num_experts": 128,
                     "num_experts_per_tok": 8, "moe_intermediate_size": 768})"}};
  a.aliases = {{"num_local_experts", "num_experts"}};
  a.rotary = "linear yarn";
  a.names = [](const Value&) {
    Names names = llama_names(false, kWeight, kWeight);
    names.all.resize(names.all.size() - 3);
    add_head_norms(names) += {{".ffn_gate_inp", ".mlp.gate"}};
    return add_experts(names, ".mlp.experts", "gate_proj", "up_proj", "down_proj");
  };
  a.keys = expert_keys();
  a.check = [](const Value& config) { return check_experts(config, true); };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["norm_topk_prob"] = true;
    return read_third(metadata, config);
  };
  return a;
}

}  // namespace

std::vector<Architecture> qwen_like() {
  return {make_second(), make_third(), make_second_experts(), make_third_experts()};
}

}  // namespace swage::io::gguf
