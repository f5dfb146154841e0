// Granite 3: Llama with factors of the embedding, scores, residuals and logits (IBM
// 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Granite final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.vocab_size = 32000;
    d.hidden_size = 4096;
    d.intermediate_size = 11008;
    d.block_count = d.heads = 32;
    d.context_length = 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.mlp_bias = config.flag("mlp_bias", false);
    d.embedding_scale = config.f64("embedding_multiplier", 1.0);
    d.scales_features = true;
    d.attention_scale = config.f64("attention_multiplier", 1.0);
    d.residual_scale = config.f64("residual_multiplier", 1.0);
    d.head_scale = 1.0 / config.f64("logits_scaling", 1.0);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Granite, "granite");
