// ERNIE 4.5, the dense models: Llama that rotates neighbouring channels (Baidu 2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Ernie final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.norm_eps = 1e-5;
    d.vocab_size = 103424;
    d.hidden_size = 1024;
    d.intermediate_size = 3072;
    d.block_count = 18;
    d.heads = 16;
    d.kv_heads = 2;
    d.head_dim = 128;
    d.context_length = 131072;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d, 5e5));
    d.rope_interleaved = true;
    d.qkv_bias = d.o_bias = d.mlp_bias = config.flag("use_bias", false);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Ernie, "ernie");
