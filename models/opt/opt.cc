// OPT: LayerNorm, learned positions, relu, biases; the 350M model norms after each
// part and reads narrower embeddings (Zhang et al. 2022).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Opt final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(
        given, {{"ffn_dim", "intermediate_size"}, {"activation_function", "hidden_act"}});
    DecoderDescription d;
    name(d);
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kRelu;
    d.vocab_size = 50272;
    d.hidden_size = 768;
    d.intermediate_size = 3072;
    d.block_count = d.heads = 12;
    d.context_length = 2048;
    d.position_offset = 2;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.kv_heads = d.heads;
    d.rope = nullptr;
    d.qkv_bias = d.o_bias = d.mlp_bias = config.flag("enable_bias", true);
    if (!config.flag("layer_norm_elementwise_affine", true))
      d.norm = swage::nn::NormKind::kLayerPlain;
    const bool before = config.flag("do_layer_norm_before", true);
    if (!before) d.form = swage::nn::BlockForm::kPostNorm;
    if (!before || config.flag("_remove_final_layer_norm", false)) d.names.final_norm.clear();
    d.embedding_width = config.i64("word_embed_proj_dim", d.hidden_size);
    if (d.embedding_width != d.hidden_size) {
      d.names.project_in = "model.decoder.project_in";
      d.names.project_out = "model.decoder.project_out";
    }
    return d;
  }

 private:
  static void name(DecoderDescription& d) {
    d.names.embedding = "model.decoder.embed_tokens";
    d.names.positions = "model.decoder.embed_positions";
    d.names.blocks = "model.decoder.layers";
    d.names.final_norm = "model.decoder.final_layer_norm";
    d.names.input_norm = "self_attn_layer_norm";
    d.names.post_norm = "final_layer_norm";
    d.names.o = "self_attn.out_proj";
    d.names.up = "fc1";
    d.names.down = "fc2";
  }
};

}  // namespace

SWAGE_MODEL(Opt, "opt");
