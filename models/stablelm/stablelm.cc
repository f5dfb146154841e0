// StableLM: LayerNorm, rotary embeddings on a quarter of each head; attention and
// MLP side by side and norms of every head on request.
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class StableLm final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.rotary_share = 0.25;
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.vocab_size = 50304;
    d.hidden_size = 2560;
    d.intermediate_size = 6912;
    d.block_count = d.heads = d.kv_heads = 32;
    d.context_length = 4096;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = config.flag("use_qkv_bias", false);
    if (config.flag("use_parallel_residual", false)) {
      d.form = swage::nn::BlockForm::kParallel;
      d.names.post_norm.clear();
    }
    if (config.flag("qk_layernorm", false)) {
      d.head_norm = swage::nn::HeadNorm::kPerHead;
      d.head_norm_kind = swage::nn::NormKind::kLayerScaled;
      d.names.q_norm = "self_attn.q_layernorm";
      d.names.k_norm = "self_attn.k_layernorm";
    }
    return d;
  }
};

}  // namespace

SWAGE_MODEL(StableLm, "stablelm");
