// Families with LayerNorm.
#include "absl/strings/str_cat.h"
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int kBoth = kWeight | kBias;

Name both(const char* gguf, const char* name, double added = 0) {
  return {gguf, name, Move::kNone, kBoth, added};
}

bool has_tensor(const Metadata& metadata, const char* name) {
  return metadata.contents().tensors.count(name) > 0;
}

Architecture make_stablelm() {
  Architecture a;
  a.name = "stablelm";
  a.families = {{"StableLmForCausalLM", "stablelm",
                 R"({"num_key_value_heads": 32, "max_position_embeddings": 4096,
                     "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25,
                     "use_parallel_residual": false})"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.needs_head = true;
  a.partial_rotation = true;
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.embed_tokens"},
              both("output_norm", "model.norm"),
              {"output", "lm_head"},
              both(".attn_norm", ".input_layernorm"),
              both(".attn_q", ".self_attn.q_proj"),
              both(".attn_k", ".self_attn.k_proj"),
              both(".attn_v", ".self_attn.v_proj"),
              {".attn_output", ".self_attn.o_proj"},
              {".attn_q_norm", ".self_attn.q_layernorm.norms.*", Move::kStack},
              {".attn_k_norm", ".self_attn.k_layernorm.norms.*", Move::kStack},
              both(".ffn_norm", ".post_attention_layernorm"),
              {".ffn_gate", ".mlp.gate_proj"},
              {".ffn_up", ".mlp.up_proj"},
              {".ffn_down", ".mlp.down_proj"}};
    return names;
  };
  a.keys = {{"use_parallel_residual", GgufType::kBool, "use_parallel_residual"}};
  a.check = [](const Value& config) { return expect_activation(config, {"silu"}); };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["use_parallel_residual"] = !has_tensor(metadata, "blk.0.ffn_norm.weight");
    (*config)["qk_layernorm"] = has_tensor(metadata, "blk.0.attn_q_norm.weight");
    (*config)["use_qkv_bias"] = has_tensor(metadata, "blk.0.attn_q.bias");
    return absl::OkStatus();
  };
  return a;
}

Architecture make_starcoder2() {
  Architecture a;
  a.name = "starcoder2";
  a.families = {{"Starcoder2ForCausalLM", "starcoder2",
                 R"({"num_key_value_heads": 2, "max_position_embeddings": 4096,
                     "layer_norm_eps": 1e-5})"}};
  a.aliases = {{"norm_epsilon", "layer_norm_eps", true}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.embed_tokens"},
              both("output_norm", "model.norm"),
              {"output", "lm_head"},
              both(".attn_norm", ".input_layernorm"),
              both(".attn_q", ".self_attn.q_proj"),
              both(".attn_k", ".self_attn.k_proj"),
              both(".attn_v", ".self_attn.v_proj"),
              both(".attn_output", ".self_attn.o_proj"),
              both(".ffn_norm", ".post_attention_layernorm"),
              both(".ffn_up", ".mlp.c_fc"),
              both(".ffn_down", ".mlp.c_proj")};
    return names;
  };
  a.check = [](const Value& config) {
    SWAGE_RETURN_IF_ERROR(expect_flag(config, "use_bias", true, true));
    return expect_activation(config, {"gelu_pytorch_tanh", "gelu_new"});
  };
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "gelu_pytorch_tanh";
    (*config)["use_bias"] = true;
    (*config)["sliding_window"] = Value();
    return absl::OkStatus();
  };
  return a;
}

// Falcon 7B has one key head, 40B and 180B groups.
void prepare_falcon(Value::Table* table) {
  const Value config(*table);
  const int64_t heads = config.i64("num_attention_heads", 71);
  const bool grouped = config.flag("new_decoder_architecture", false);
  const bool single = !grouped && config.flag("multi_query", true);
  (*table)["num_key_value_heads"] = single    ? int64_t{1}
                                    : grouped ? config.i64("num_kv_heads", heads)
                                              : heads;
  if (!config.has("intermediate_size"))
    (*table)["intermediate_size"] = 4 * config.i64("hidden_size", 4544);
}

bool two_norms(const Value& config) {
  return config.flag("new_decoder_architecture", false) &&
         config.i64("num_ln_in_parallel_attn", 2) == 2;
}

Names falcon(const Value& config) {
  Names names;
  names.blocks = "transformer.h";
  names += {{"token_embd", "transformer.word_embeddings"},
            both("output_norm", "transformer.ln_f"),
            {"output", "lm_head"},
            {".attn_qkv", ".self_attention.query_key_value", Move::kGroups},
            {".attn_output", ".self_attention.dense"},
            {".ffn_up", ".mlp.dense_h_to_4h"},
            {".ffn_down", ".mlp.dense_4h_to_h"}};
  if (two_norms(config)) {
    names += {both(".attn_norm", ".ln_mlp"), both(".attn_norm_2", ".ln_attn")};
  } else {
    names += {both(".attn_norm", ".input_layernorm")};
  }
  return names;
}

absl::Status check_falcon(const Value& config) {
  SWAGE_RETURN_IF_ERROR(expect_flag(config, "alibi", false, false));
  SWAGE_RETURN_IF_ERROR(expect_flag(config, "bias", false, false));
  if (!config.flag("new_decoder_architecture", false))
    SWAGE_RETURN_IF_ERROR(expect_flag(config, "parallel_attn", true, true));
  return expect_activation(config, {"gelu"});
}

absl::Status read_falcon(const Metadata& metadata, Value::Table* config) {
  const int64_t groups = Value(*config).i64("num_key_value_heads", 1);
  const bool two = has_tensor(metadata, "blk.0.attn_norm_2.weight");
  config->erase("num_key_value_heads");
  const bool grouped = two || groups > 1;
  (*config)["new_decoder_architecture"] = grouped;
  (*config)["multi_query"] = true;
  if (grouped) (*config)["num_kv_heads"] = groups;
  (*config)["num_ln_in_parallel_attn"] = two ? 2 : 1;
  (*config)["parallel_attn"] = true;
  (*config)["alibi"] = false;
  (*config)["bias"] = false;
  (*config)["hidden_act"] = "gelu";
  return absl::OkStatus();
}

Architecture make_falcon() {
  Architecture a;
  a.name = "falcon";
  a.families = {{"FalconForCausalLM", "falcon",
                 R"({"max_position_embeddings": 2048, "layer_norm_eps": 1e-5})"}};
  a.aliases = {{"layer_norm_epsilon", "layer_norm_eps", true},
               {"activation", "hidden_act", true},
               {"ffn_hidden_size", "intermediate_size", true},
               {"n_embed", "hidden_size"},
               {"n_layer", "num_hidden_layers"},
               {"n_head", "num_attention_heads"},
               {"n_head_kv", "num_kv_heads"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear";
  a.free_head_dim = false;
  a.names = falcon;
  a.prepare = prepare_falcon;
  a.check = check_falcon;
  a.write = [](const Value&, KeyWriter* keys) {
    keys->text("tensor_data_layout", "jploski");
    return absl::OkStatus();
  };
  a.read = read_falcon;
  return a;
}

Architecture make_bloom() {
  Architecture a;
  a.name = "bloom";
  a.families = {{"BloomForCausalLM", "bloom",
                 R"({"max_position_embeddings": 2048, "layer_norm_eps": 1e-5})"}};
  a.aliases = {{"layer_norm_epsilon", "layer_norm_eps", true},
               {"n_embed", "hidden_size"},
               {"n_layer", "num_hidden_layers", true},
               {"n_head", "num_attention_heads", true},
               {"seq_length", "max_position_embeddings", true}};
  a.epsilon = "layer_norm_eps";
  a.free_head_dim = false;
  a.rotates = false;
  a.names = [](const Value&) {
    Names names;
    names.blocks = "transformer.h";
    names += {{"token_embd", "transformer.word_embeddings"},
              both("token_embd_norm", "transformer.word_embeddings_layernorm"),
              both("output_norm", "transformer.ln_f"),
              {"output", "lm_head"},
              both(".attn_norm", ".input_layernorm"),
              {".attn_qkv", ".self_attention.query_key_value", Move::kGroups, kBoth},
              both(".attn_output", ".self_attention.dense"),
              both(".ffn_norm", ".post_attention_layernorm"),
              both(".ffn_up", ".mlp.dense_h_to_4h"),
              both(".ffn_down", ".mlp.dense_4h_to_h")};
    return names;
  };
  a.prepare = [](Value::Table* config) { config->erase("num_key_value_heads"); };
  a.check = [](const Value& config) {
    return expect_flag(config, "apply_residual_connection_post_layernorm", false, false);
  };
  a.read = [](const Metadata&, Value::Table* config) {
    config->erase("num_key_value_heads");
    config->erase("intermediate_size");
    return absl::OkStatus();
  };
  return a;
}

Architecture make_gpt_neox() {
  Architecture a;
  a.name = "gptneox";
  a.families = {{"GPTNeoXForCausalLM", "gpt_neox",
                 R"({"max_position_embeddings": 2048, "layer_norm_eps": 1e-5,
                     "partial_rotary_factor": 0.25, "use_parallel_residual": true})"}};
  a.aliases = {{"rotary_pct", "partial_rotary_factor", true},
               {"rotary_emb_base", "rope_theta", true}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.needs_head = true;
  a.partial_rotation = true;
  a.names = [](const Value&) {
    Names names;
    names.blocks = "gpt_neox.layers";
    names += {{"token_embd", "gpt_neox.embed_in"},
              both("output_norm", "gpt_neox.final_layer_norm"),
              {"output", "embed_out"},
              both(".attn_norm", ".input_layernorm"),
              {".attn_qkv", ".attention.query_key_value", Move::kGroups, kBoth},
              both(".attn_output", ".attention.dense"),
              both(".ffn_norm", ".post_attention_layernorm"),
              both(".ffn_up", ".mlp.dense_h_to_4h"),
              both(".ffn_down", ".mlp.dense_4h_to_h")};
    return names;
  };
  a.keys = {{"use_parallel_residual", GgufType::kBool, "use_parallel_residual", true}};
  a.prepare = [](Value::Table* config) { config->erase("num_key_value_heads"); };
  a.check = [](const Value& config) {
    SWAGE_RETURN_IF_ERROR(expect_flag(config, "attention_bias", true, true));
    return expect_activation(config, {"gelu"});
  };
  a.read = [](const Metadata&, Value::Table* config) {
    config->erase("num_key_value_heads");
    (*config)["hidden_act"] = "gelu";
    return absl::OkStatus();
  };
  return a;
}

Architecture make_nemotron() {
  Architecture a;
  a.name = "nemotron";
  a.families = {{"NemotronForCausalLM", "nemotron",
                 R"({"max_position_embeddings": 4096, "layer_norm_eps": 1e-5,
                     "partial_rotary_factor": 0.5})"}};
  a.aliases = {{"norm_eps", "layer_norm_eps", true}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear";
  a.needs_head = true;
  a.partial_rotation = true;
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.embed_tokens"},
              both("output_norm", "model.norm", 1.0),
              {"output", "lm_head"},
              both(".attn_norm", ".input_layernorm", 1.0),
              both(".attn_q", ".self_attn.q_proj"),
              both(".attn_k", ".self_attn.k_proj"),
              both(".attn_v", ".self_attn.v_proj"),
              both(".attn_output", ".self_attn.o_proj"),
              both(".ffn_norm", ".post_attention_layernorm", 1.0),
              both(".ffn_up", ".mlp.up_proj"),
              both(".ffn_down", ".mlp.down_proj")};
    return names;
  };
  a.check = [](const Value& config) { return expect_activation(config, {"relu2"}); };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["hidden_act"] = "relu2";
    (*config)["attention_bias"] = has_tensor(metadata, "blk.0.attn_q.bias");
    (*config)["mlp_bias"] = has_tensor(metadata, "blk.0.ffn_up.bias");
    return absl::OkStatus();
  };
  return a;
}

Names cohere(int attention) {
  Names names = llama_names(false, attention, kWeight);
  for (size_t i = names.all.size(); i-- > 0;) {
    Name& name = names.all[i];
    if (name.gguf == ".attn_output") name.suffixes = kWeight;
    if (name.gguf == ".ffn_norm" || name.gguf == "output")
      names.all.erase(names.all.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return names;
}

Architecture make_cohere() {
  Architecture a;
  a.name = "command-r";
  a.families = {{"CohereForCausalLM", "cohere",
                 R"({"max_position_embeddings": 8192, "layer_norm_eps": 1e-5, "rope_theta": 5e5,
                     "logit_scale": 0.0625})"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.head = false;
  a.names = [](const Value& config) {
    Names names = cohere(kBoth);
    if (config.flag("use_qk_norm", false))
      names += {{".attn_q_norm", ".self_attn.q_norm"}, {".attn_k_norm", ".self_attn.k_norm"}};
    return names;
  };
  a.keys = {{"logit_scale", GgufType::kF32, "logit_scale", 1.0}};
  a.check = [](const Value& config) {
    if (config.flag("use_qk_norm", false) != (config.i64("num_hidden_layers", 40) >= 64))
      return refuse("use_qk_norm; llama.cpp reads such norms in models of 64 blocks and more only");
    return expect_activation(config, {"silu"});
  };
  a.read = [](const Metadata& metadata, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["attention_bias"] = has_tensor(metadata, "blk.0.attn_q.bias");
    (*config)["use_qk_norm"] = has_tensor(metadata, "blk.0.attn_q_norm.weight");
    return absl::OkStatus();
  };
  return a;
}

Architecture make_cohere2() {
  Architecture a;
  a.name = "cohere2";
  a.families = {{"Cohere2ForCausalLM", "cohere2",
                 R"({"max_position_embeddings": 8192, "layer_norm_eps": 1e-5,
                     "logit_scale": 0.0625, "sliding_window": 4096,
                     "sliding_window_pattern": 4})"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.head = false;
  a.windows = true;
  a.names = [](const Value&) { return cohere(kWeight); };
  a.keys = {{"logit_scale", GgufType::kF32, "logit_scale", 1.0},
            {"attention.sliding_window", GgufType::kU32, "sliding_window"}};
  a.check = [](const Value& config) {
    if (config.i64("sliding_window", 0) < 1)
      return refuse("no sliding_window; llama.cpp needs one in this family");
    SWAGE_ASSIGN_OR_RETURN(const int64_t period,
                           window_period(config, config.i64("sliding_window_pattern", 4)));
    if (period != 4) {
      return refuse(absl::StrCat("every ", period, "th block attends to all; in llama.cpp it is ",
                                 "every fourth"));
    }
    return expect_activation(config, {"silu"});
  };
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["attention_bias"] = false;
    (*config)["sliding_window_pattern"] = 4;
    return absl::OkStatus();
  };
  return a;
}

}  // namespace

std::vector<Architecture> layer_norm_like() {
  return {make_stablelm(), make_starcoder2(), make_falcon(), make_bloom(),
          make_gpt_neox(), make_nemotron(),   make_cohere(), make_cohere2()};
}

}  // namespace swage::io::gguf
