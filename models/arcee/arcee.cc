// Arcee (AFM): Llama whose MLP has no gate and the square of relu (2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Arcee final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.gated = false;
    d.activation = swage::nn::Activation::kRelu2;
    d.norm_eps = 1e-5;
    d.vocab_size = 32000;
    d.hidden_size = 2560;
    d.intermediate_size = 18432;
    d.block_count = d.heads = 32;
    d.context_length = 4096;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.mlp_bias = config.flag("mlp_bias", false);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Arcee, "arcee");
