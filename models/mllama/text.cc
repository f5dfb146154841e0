#include "text.h"

#include "swage/status.h"

namespace swage::mllama {

absl::StatusOr<nn::DecoderDescription> describe_text(const Value& config) {
  nn::DecoderDescription d;
  d.vocab_size = 128256;
  d.hidden_size = 4096;
  d.intermediate_size = 14336;
  d.block_count = 40;
  d.heads = 32;
  d.kv_heads = 8;
  d.context_length = 131072;
  d.norm_eps = 1e-5;
  SWAGE_RETURN_IF_ERROR(read_decoder(config, d, 500000.0));
  if (d.tied_embeddings) {
    return absl::InvalidArgumentError(
        "config.json: text_config.tie_word_embeddings: the table has rows that no head can have");
  }
  d.names.embedding = "language_model.model.embed_tokens";
  d.names.blocks = "language_model.model.layers";
  d.names.final_norm = "language_model.model.norm";
  d.names.head = "language_model.lm_head";
  d.names.prefix = "";
  return d;
}

nn::DecoderDescription looking(nn::DecoderDescription d) {
  d.names.q = "cross_attn.q_proj";
  d.names.k = "cross_attn.k_proj";
  d.names.v = "cross_attn.v_proj";
  d.names.o = "cross_attn.o_proj";
  d.names.q_norm = "cross_attn.q_norm";
  d.names.k_norm = "cross_attn.k_norm";
  d.names.attention_scale = "cross_attn_attn_gate";
  d.names.mlp_scale = "cross_attn_mlp_gate";
  return d;
}

}  // namespace swage::mllama
