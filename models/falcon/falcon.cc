// Falcon 7B, 11B, 40B, 180B and RW: fused projections in three layouts, attention
// and MLP side by side or in sequence, rotary embeddings or ALiBi (Almazrouei et al. 2023).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Falcon final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(given, {{"layer_norm_epsilon", "layer_norm_eps"},
                                                    {"activation", "hidden_act"},
                                                    {"ffn_hidden_size", "intermediate_size"},
                                                    {"n_embed", "hidden_size"},
                                                    {"n_layer", "num_hidden_layers"},
                                                    {"n_head", "num_attention_heads"},
                                                    {"n_head_kv", "num_kv_heads"}});
    DecoderDescription d;
    d.names.prefix = "transformer.";
    d.names.embedding = "transformer.word_embeddings";
    d.names.blocks = "transformer.h";
    d.names.final_norm = "transformer.ln_f";
    d.names.qkv = "self_attention.query_key_value";
    d.names.o = "self_attention.dense";
    d.names.up = "mlp.dense_h_to_4h";
    d.names.down = "mlp.dense_4h_to_h";
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kGelu;
    d.vocab_size = 65024;
    d.hidden_size = 4544;
    d.block_count = 32;
    d.heads = 71;
    d.context_length = 2048;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    if (d.intermediate_size == 0) d.intermediate_size = 4 * d.hidden_size;
    d.qkv_bias = d.o_bias = d.mlp_bias = config.flag("bias", false);
    if (config.flag("alibi", false)) {
      d.rope = nullptr;
      d.alibi = swage::nn::Alibi::kBeforeScale;
    }
    arrange(config, d);
    return d;
  }

 private:
  static void arrange(const Value& config, DecoderDescription& d) {
    const bool grouped = config.flag("new_decoder_architecture", false);
    const bool single = !grouped && config.flag("multi_query", true);
    d.qkv_layout = single ? swage::nn::QkvLayout::kBlocks : swage::nn::QkvLayout::kGroups;
    d.kv_heads = single ? 1 : grouped ? config.i64("num_kv_heads", d.heads) : d.heads;
    if (!grouped && !config.flag("parallel_attn", true)) return;
    d.form = swage::nn::BlockForm::kParallel;
    d.names.post_norm.clear();
    if (grouped && config.i64("num_ln_in_parallel_attn", 2) == 2) {
      d.names.input_norm = "ln_attn";
      d.names.post_norm = "ln_mlp";
    }
  }
};

}  // namespace

SWAGE_MODEL(Falcon, "falcon");
