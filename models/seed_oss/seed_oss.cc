// Seed-OSS: Llama with biases on q, k and v (ByteDance 2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class SeedOss final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.vocab_size = 155136;
    d.hidden_size = 4096;
    d.intermediate_size = 27648;
    d.block_count = 64;
    d.heads = 80;
    d.kv_heads = 8;
    d.head_dim = 128;
    d.context_length = 524288;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = config.flag("attention_bias", true);
    d.o_bias = config.flag("attention_out_bias", false);
    d.mlp_bias = config.flag("mlp_bias", false);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(SeedOss, "seed_oss");
