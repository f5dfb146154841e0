// Gemma 2 and the text models of Gemma 3.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

Names gemma(bool head_norms) {
  const auto norm = [](const char* gguf, const char* name) {
    return Name{gguf, name, Move::kNone, kWeight, 1.0};
  };
  Names names;
  names += {{"token_embd", "model.embed_tokens"},
            norm("output_norm", "model.norm"),
            norm(".attn_norm", ".input_layernorm"),
            {".attn_q", ".self_attn.q_proj"},
            {".attn_k", ".self_attn.k_proj"},
            {".attn_v", ".self_attn.v_proj"},
            {".attn_output", ".self_attn.o_proj"},
            norm(".post_attention_norm", ".post_attention_layernorm"),
            norm(".ffn_norm", ".pre_feedforward_layernorm"),
            {".ffn_gate", ".mlp.gate_proj"},
            {".ffn_up", ".mlp.up_proj"},
            {".ffn_down", ".mlp.down_proj"},
            norm(".post_ffw_norm", ".post_feedforward_layernorm")};
  if (head_norms) {
    names += {norm(".attn_q_norm", ".self_attn.q_norm"), norm(".attn_k_norm", ".self_attn.k_norm")};
  }
  return names;
}

// llama.cpp knows the largest model of each kind by its number of blocks.
double score_divisor(const Sizes& sizes, int64_t largest) {
  return static_cast<double>(sizes.blocks == largest ? sizes.hidden / sizes.heads : sizes.head_dim);
}

absl::Status check(const Value& config, int64_t largest) {
  SWAGE_RETURN_IF_ERROR(expect_activation(config, {"gelu_pytorch_tanh"}, "hidden_activation"));
  SWAGE_RETURN_IF_ERROR(expect_flag(config, "use_bidirectional_attention", false, false));
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(config));
  const double stated = config.f64("query_pre_attn_scalar", 256.0);
  const double taken = score_divisor(sizes, largest);
  if (stated == taken) return absl::OkStatus();
  return refuse(absl::StrCat("query_pre_attn_scalar is ", stated, "; llama.cpp takes ", taken,
                             " for a model of ", sizes.blocks, " blocks"));
}

absl::Status write_windows(const Value& config, int64_t usual, KeyWriter* keys) {
  SWAGE_ASSIGN_OR_RETURN(const int64_t period,
                         window_period(config, config.i64("sliding_window_pattern", usual)));
  keys->count("attention.sliding_window", config.i64("sliding_window", 4096));
  if (period != usual) keys->count("attention.sliding_window_pattern", period);
  return absl::OkStatus();
}

absl::Status read_common(const Metadata& metadata, int64_t largest, Value::Table* config) {
  SWAGE_ASSIGN_OR_RETURN(const Sizes sizes, sizes_of(Value(*config)));
  (*config)["head_dim"] = sizes.head_dim;
  (*config)["hidden_activation"] = "gelu_pytorch_tanh";
  (*config)["query_pre_attn_scalar"] = static_cast<int64_t>(score_divisor(sizes, largest));
  (*config)["attention_bias"] = false;
  (*config)["sliding_window"] = metadata.count("attention.sliding_window", int64_t{4096});
  return absl::OkStatus();
}

Value::List layer_types(int64_t blocks, int64_t period) {
  Value::List types;
  for (int64_t block = 1; block <= blocks; ++block)
    types.push_back(block % period == 0 ? "full_attention" : "sliding_attention");
  return types;
}

absl::Status read_windows(const Metadata& metadata, int64_t usual, Value::Table* config) {
  const int64_t period = metadata.count("attention.sliding_window_pattern", usual);
  if (period < 1) return absl::InvalidArgumentError("a pattern of windows below 1");
  (*config)["layer_types"] = layer_types(Value(*config).i64("num_hidden_layers", 0), period);
  return absl::OkStatus();
}

Architecture make_second() {
  Architecture a;
  a.name = "gemma2";
  a.families = {{"Gemma2ForCausalLM", "gemma2",
                 R"({"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
                     "rms_norm_eps": 1e-6, "sliding_window": 4096, "sliding_window_pattern": 2,
                     "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})"}};
  a.rotary = "linear";
  a.head = false;
  a.windows = true;
  a.names = [](const Value&) { return gemma(false); };
  a.keys = {{"attn_logit_softcapping", GgufType::kF32, "attn_logit_softcapping", 50.0},
            {"final_logit_softcapping", GgufType::kF32, "final_logit_softcapping", 30.0}};
  a.check = [](const Value& config) {
    for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
      if (!(config.f64(key, 0.0) > 0))
        return refuse(absl::StrCat(key, " is not set; llama.cpp always limits in this family"));
    }
    return check(config, 46);
  };
  a.write = [](const Value& config, KeyWriter* keys) { return write_windows(config, 2, keys); };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    SWAGE_RETURN_IF_ERROR(read_common(metadata, 46, config));
    return read_windows(metadata, 2, config);
  };
  return a;
}

absl::Status write_third(const Value& config, KeyWriter* keys) {
  const Value& local = config["rope_parameters"]["sliding_attention"];
  if (local.str("rope_type", "default") != "default")
    return refuse("blocks with windows have a scaled rotation");
  keys->number("rope.freq_base_swa",
               local.f64("rope_theta", config.f64("rope_local_base_freq", 10000.0)));
  return write_windows(config, 6, keys);
}

Architecture make_third() {
  Architecture a;
  a.name = "gemma3";
  a.families = {{"Gemma3ForCausalLM", "gemma3_text",
                 R"({"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
                     "rms_norm_eps": 1e-6, "sliding_window": 4096, "sliding_window_pattern": 6,
                     "rope_theta": 1e6})"}};
  a.rotary = "linear";
  a.head = false;
  a.windows = true;
  a.names = [](const Value&) { return gemma(true); };
  a.keys = {{"final_logit_softcapping", GgufType::kF32, "final_logit_softcapping"}};
  a.check = [](const Value& config) { return check(config, 62); };
  a.write = write_third;
  a.read = [](const Metadata& metadata, Value::Table* config) {
    SWAGE_RETURN_IF_ERROR(read_common(metadata, 62, config));
    (*config)["rope_local_base_freq"] = metadata.number("rope.freq_base_swa", 10000.0);
    return read_windows(metadata, 6, config);
  };
  return a;
}

}  // namespace

std::vector<Architecture> gemma_like() { return {make_second(), make_third()}; }

}  // namespace swage::io::gguf
