// Phi-1, 1.5 and 2: attention and MLP side by side behind one LayerNorm, biases
// everywhere (Li et al. 2023). Phi-3, 3.5, 4 and 4-mini: Llama with fused projections
// (Abdin et al. 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Phi final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.rotary_share = 0.5;
    d.names.post_norm.clear();
    d.names.final_norm = "model.final_layernorm";
    d.names.o = "self_attn.dense";
    d.names.up = "mlp.fc1";
    d.names.down = "mlp.fc2";
    d.form = swage::nn::BlockForm::kParallel;
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kGeluTanh;
    d.qkv_bias = d.o_bias = d.mlp_bias = true;
    d.head_bias = config.flag(swage::nn::kHeadBias, true);
    d.vocab_size = 51200;
    d.hidden_size = 2048;
    d.intermediate_size = 8192;
    d.block_count = 24;
    d.heads = 32;
    d.context_length = 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    if (config.flag("qk_layernorm", false)) {
      d.head_norm = swage::nn::HeadNorm::kShared;
      d.head_norm_kind = swage::nn::NormKind::kLayer;
      d.names.q_norm = "self_attn.q_layernorm";
      d.names.k_norm = "self_attn.k_layernorm";
    }
    return d;
  }
};

class Phi3 final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    DecoderDescription d;
    d.rotary_share = 1.0;
    d.qkv_layout = swage::nn::QkvLayout::kBlocks;
    d.fused_gate = true;
    d.norm_eps = 1e-5;
    d.vocab_size = 32064;
    d.hidden_size = 3072;
    d.intermediate_size = 8192;
    d.block_count = d.heads = 32;
    d.context_length = 4096;
    const Value config = swage::nn::defaulted(given, "original_max_position_embeddings", 4096);
    SWAGE_RETURN_IF_ERROR(read_decoder(with_longrope(config), d));
    d.window = config.i64("sliding_window", 0);
    return d;
  }

 private:
  // Early files call longrope "yarn".
  static Value with_longrope(const Value& config) {
    Value result = config;
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
      if (config[key].table() == nullptr) continue;
      for (const char* type : {"type", "rope_type"}) {
        if (config[key].str(type, "") == "yarn")
          (*(*result.table())[key].table())[type] = "longrope";
      }
    }
    return result;
  }
};

}  // namespace

SWAGE_MODEL(Phi, "phi");
SWAGE_MODEL(Phi3, "phi3");
