// StarCoder2: LayerNorm, biases everywhere, grouped heads, no gate (Lozhkov et al. 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class StarCoder2 final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(given, {{"norm_epsilon", "layer_norm_eps"}});
    DecoderDescription d;
    d.names.up = "mlp.c_fc";
    d.names.down = "mlp.c_proj";
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kGeluTanh;
    d.vocab_size = 49152;
    d.hidden_size = 3072;
    d.intermediate_size = 12288;
    d.block_count = 30;
    d.heads = 24;
    d.kv_heads = 2;
    d.context_length = 4096;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = d.o_bias = d.mlp_bias = config.flag("use_bias", true);
    d.window = config.i64("sliding_window", 0);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(StarCoder2, "starcoder2");
