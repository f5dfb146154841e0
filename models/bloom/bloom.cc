// Bloom: LayerNorm also on the embeddings, ALiBi, a fused projection head by head
// (Scao et al. 2022).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Bloom final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(given, {{"layer_norm_epsilon", "layer_norm_eps"},
                                                    {"n_embed", "hidden_size"},
                                                    {"n_layer", "num_hidden_layers"},
                                                    {"n_head", "num_attention_heads"},
                                                    {"seq_length", "max_position_embeddings"}});
    DecoderDescription d;
    d.names.prefix = "transformer.";
    d.names.embedding = "transformer.word_embeddings";
    d.names.embedding_norm = "transformer.word_embeddings_layernorm";
    d.names.blocks = "transformer.h";
    d.names.final_norm = "transformer.ln_f";
    d.names.qkv = "self_attention.query_key_value";
    d.names.o = "self_attention.dense";
    d.names.up = "mlp.dense_h_to_4h";
    d.names.down = "mlp.dense_4h_to_h";
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.qkv_layout = swage::nn::QkvLayout::kGroups;
    d.qkv_bias = d.o_bias = d.mlp_bias = true;
    d.gated = false;
    d.activation = swage::nn::Activation::kGeluTanh;
    d.vocab_size = 250880;
    d.hidden_size = 64;
    d.block_count = 2;
    d.heads = 8;
    d.context_length = 2048;  // ALiBi sets no limit
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.intermediate_size = 4 * d.hidden_size;
    d.kv_heads = d.heads;
    d.rope = nullptr;
    d.alibi = swage::nn::Alibi::kAfterScale;
    d.residual_after_norm = config.flag("apply_residual_connection_post_layernorm", false);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(Bloom, "bloom");
