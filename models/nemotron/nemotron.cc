// Nemotron 3 and 4, Minitron: LayerNorm of the form 1 + w, the square of relu, half of
// each head rotates (NVIDIA 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Nemotron final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.norm = swage::nn::NormKind::kLayerOffset;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kRelu2;
    d.vocab_size = 256000;
    d.hidden_size = 6144;
    d.intermediate_size = 24576;
    d.block_count = 32;
    d.heads = 48;
    d.context_length = 4096;
    const Value known = swage::nn::renamed(config, {{"norm_eps", "layer_norm_eps"}});
    d.rotary_share = 0.5;
    SWAGE_RETURN_IF_ERROR(read_decoder(known, d));
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.mlp_bias = config.flag("mlp_bias", false);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Nemotron, "nemotron");
