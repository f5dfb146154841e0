// Phi-2 (and 1, 1.5) and Phi-3 (and 3.5, 4, 4-mini).
#include "keys.h"
#include "swage/status.h"

namespace swage::io::gguf {
namespace {

constexpr int kBoth = kWeight | kBias;

Architecture make_second() {
  Architecture a;
  a.name = "phi2";
  a.families = {{"PhiForCausalLM", "phi",
                 R"({"max_position_embeddings": 2048, "layer_norm_eps": 1e-5,
                     "partial_rotary_factor": 0.5})"}};
  a.epsilon = "layer_norm_eps";
  a.rotary = "linear yarn";
  a.free_head_dim = false;
  a.partial_rotation = true;
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.embed_tokens"},
              {"output_norm", "model.final_layernorm", Move::kNone, kBoth},
              {"output", "lm_head", Move::kNone, kBoth},
              {".attn_norm", ".input_layernorm", Move::kNone, kBoth},
              {".attn_q", ".self_attn.q_proj", Move::kNone, kBoth},
              {".attn_k", ".self_attn.k_proj", Move::kNone, kBoth},
              {".attn_v", ".self_attn.v_proj", Move::kNone, kBoth},
              {".attn_output", ".self_attn.dense", Move::kNone, kBoth},
              {".ffn_up", ".mlp.fc1", Move::kNone, kBoth},
              {".ffn_down", ".mlp.fc2", Move::kNone, kBoth}};
    return names;
  };
  a.check = [](const Value& config) {
    SWAGE_RETURN_IF_ERROR(expect_flag(config, "qk_layernorm", false, false));
    return expect_activation(config, {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"});
  };
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "gelu_new";
    (*config)["qk_layernorm"] = false;
    return absl::OkStatus();
  };
  return a;
}

Architecture make_third() {
  Architecture a;
  a.name = "phi3";
  a.families = {
      {"Phi3ForCausalLM", "phi3", R"({"max_position_embeddings": 4096, "rms_norm_eps": 1e-5})"}};
  a.rotary = "longrope";
  a.free_head_dim = false;
  a.partial_rotation = true;
  a.names = [](const Value&) {
    Names names;
    names += {{"token_embd", "model.embed_tokens"},
              {"output_norm", "model.norm"},
              {"output", "lm_head"},
              {".attn_norm", ".input_layernorm"},
              {".attn_qkv", ".self_attn.qkv_proj"},
              {".attn_output", ".self_attn.o_proj"},
              {".ffn_norm", ".post_attention_layernorm"},
              {".ffn_up", ".mlp.gate_up_proj"},
              {".ffn_down", ".mlp.down_proj"}};
    return names;
  };
  a.check = [](const Value& config) { return expect_activation(config, {"silu"}); };
  // llama.cpp's graph goes without windows; the context ends where the first one would.
  a.write = [](const Value&, KeyWriter* keys) {
    keys->count("attention.sliding_window", 0);
    return absl::OkStatus();
  };
  a.read = [](const Metadata&, Value::Table* config) {
    (*config)["hidden_act"] = "silu";
    (*config)["sliding_window"] = Value();
    return absl::OkStatus();
  };
  return a;
}

}  // namespace

std::vector<Architecture> phi_like() { return {make_second(), make_third()}; }

}  // namespace swage::io::gguf
