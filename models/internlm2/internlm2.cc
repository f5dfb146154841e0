// InternLM2: Llama with q, k and v in one tensor, key head by key head.
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class InternLm2 final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.names.embedding = "model.tok_embeddings";
    d.names.head = "output";
    d.names.input_norm = "attention_norm";
    d.names.post_norm = "ffn_norm";
    d.names.qkv = "attention.wqkv";
    d.names.o = "attention.wo";
    d.names.gate = "feed_forward.w1";
    d.names.up = "feed_forward.w3";
    d.names.down = "feed_forward.w2";
    d.qkv_layout = swage::nn::QkvLayout::kGroups;
    d.vocab_size = 103168;
    d.hidden_size = 4096;
    d.intermediate_size = 11008;
    d.block_count = d.heads = 32;
    d.context_length = 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = d.o_bias = config.flag("bias", true);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(InternLm2, "internlm2");
