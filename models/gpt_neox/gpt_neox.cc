// GPT-NeoX, Pythia, Dolly: attention and MLP side by side, each behind a LayerNorm of
// its own (Black et al. 2022).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class GptNeox final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    name(d);
    d.norm = swage::nn::NormKind::kLayer;
    d.norm_eps = 1e-5;
    d.gated = false;
    d.activation = swage::nn::Activation::kGelu;
    d.vocab_size = 50432;
    d.hidden_size = 6144;
    d.intermediate_size = 24576;
    d.block_count = 44;
    d.heads = 64;
    d.context_length = 2048;
    d.rotary_share = 0.25;
    SWAGE_RETURN_IF_ERROR(read_decoder(with_own_rope_keys(config), d));
    d.qkv_layout = swage::nn::QkvLayout::kGroups;
    d.kv_heads = d.heads;
    d.qkv_bias = d.o_bias = config.flag("attention_bias", true);
    d.mlp_bias = true;
    if (config.flag("use_parallel_residual", true)) d.form = swage::nn::BlockForm::kParallel;
    return d;
  }

 private:
  // Outside of rope_parameters the family has names of its own, and the usual ones count for
  // nothing.
  static Value with_own_rope_keys(const Value& config) {
    Value result = config;
    for (const auto& [own, usual] : {std::pair("rotary_emb_base", "rope_theta"),
                                     std::pair("rotary_pct", "partial_rotary_factor")}) {
      result.table()->erase(usual);
      if (config.has(own)) (*result.table())[usual] = config[own];
    }
    return result;
  }

  static void name(DecoderDescription& d) {
    d.names.prefix = "gpt_neox.";
    d.names.embedding = "gpt_neox.embed_in";
    d.names.blocks = "gpt_neox.layers";
    d.names.final_norm = "gpt_neox.final_layer_norm";
    d.names.head = "embed_out";
    d.names.qkv = "attention.query_key_value";
    d.names.o = "attention.dense";
    d.names.up = "mlp.dense_h_to_4h";
    d.names.down = "mlp.dense_4h_to_h";
  }
};

}  // namespace

SWAGE_MODEL(GptNeox, "gpt_neox");
