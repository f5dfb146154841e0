// Mixtral: Mistral with two of eight experts in place of the MLP (Jiang et al. 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;
using swage::nn::Experts;

class Mixtral final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.norm_eps = 1e-5;
    d.vocab_size = 32000;
    d.hidden_size = 4096;
    d.intermediate_size = 14336;
    d.block_count = d.heads = 32;
    d.kv_heads = 8;
    d.context_length = 131072;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d, 1e6));
    d.window = config.i64("sliding_window", 0);
    Experts experts;
    experts.names.router = "block_sparse_moe.gate";
    experts.names.experts = "block_sparse_moe.experts";
    experts.names.gate = "w1";
    experts.names.up = "w3";
    experts.names.down = "w2";
    experts.count = config.i64(config.has("num_experts") ? "num_experts" : "num_local_experts", 8);
    experts.active = config.i64("num_experts_per_tok", 2);
    experts.intermediate_size = d.intermediate_size;
    experts.normalized = true;
    d.experts = std::make_shared<const Experts>(experts);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Mixtral, "mixtral");
