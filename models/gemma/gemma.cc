// Gemma 2 and the text models of Gemma 3: norms of the form 1 + w before and after
// each part, scaled embeddings; capped scores and logits (2) or norms of the heads
// (3); sliding windows in most blocks (Gemma Team 2024, 2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

const swage::nn::Families kFamilies = {{"Gemma2ForCausalLM", "gemma2"},
                                       {"Gemma3ForCausalLM", "gemma3_text"}};

class Gemma final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(given, kFamilies));
    const bool third = family == "gemma3_text";
    DecoderDescription d;
    d.names.attention_norm = "post_attention_layernorm";
    d.names.post_norm = "pre_feedforward_layernorm";
    d.names.mlp_norm = "post_feedforward_layernorm";
    d.norm = swage::nn::NormKind::kRmsOffset;
    d.vocab_size = third ? 262208 : 256000;
    d.hidden_size = 2304;
    d.intermediate_size = 9216;
    d.block_count = 26;
    d.heads = 8;
    d.kv_heads = 4;
    d.head_dim = 256;
    d.context_length = third ? 131072 : 8192;
    d.tied_embeddings = true;
    const Value rotated =
        third ? swage::nn::rope_config(given, "full_attention", "rope_theta") : given;
    SWAGE_RETURN_IF_ERROR(read_decoder(rotated, d, third ? 1e6 : 1e4));
    SWAGE_ASSIGN_OR_RETURN(d.activation, swage::nn::parse_activation(
                                             given.str("hidden_activation", "gelu_pytorch_tanh")));
    d.qkv_bias = d.o_bias = given.flag("attention_bias", false);
    d.attention_scale = 1.0 / std::sqrt(given.f64("query_pre_attn_scalar", 256.0));
    d.embedding_scale = std::sqrt(static_cast<double>(d.hidden_size));
    // Gemma 3's attention does not read this key.
    d.attention_softcap = third ? 0.0 : cap(given, "attn_logit_softcapping", 50.0);
    d.logit_softcap = cap(given, "final_logit_softcapping", third ? 0.0 : 30.0);
    if (third) {
      d.head_norm = swage::nn::HeadNorm::kShared;
      d.head_norm_kind = swage::nn::NormKind::kRmsOffset;
    }
    if (given.flag("use_bidirectional_attention", false)) {
      return absl::InvalidArgumentError(
          "config.json: use_bidirectional_attention is set: this model is no causal decoder");
    }
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool third = family == "gemma3_text";
    const int64_t window = config.i64("sliding_window", 4096);
    const int64_t pattern = third ? config.i64("sliding_window_pattern", 6) : 2;
    const bool slides = pattern <= 0 || (index + 1) % pattern != 0;
    SWAGE_ASSIGN_OR_RETURN(d.window,
                           swage::nn::read_window(config, d.block_count, index, window, slides));
    if (!third || d.window == 0) return absl::OkStatus();
    // Local blocks have a rotation of their own, without the scaling of the global one.
    const Value local = swage::nn::rope_config(config, "sliding_attention", "rope_local_base_freq");
    SWAGE_ASSIGN_OR_RETURN(auto rope,
                           swage::nn::read_rope(local, d.head_dim, d.context_length, 1e4));
    d.rope = std::make_shared<const swage::nn::Rope>(std::move(rope));
    return absl::OkStatus();
  }

 private:
  // Null means none, absent means the family's default.
  static double cap(const Value& config, const char* key, double fallback) {
    return swage::nn::stated(config, key) ? config.f64(key, 0.0) : fallback;
  }
};

}  // namespace

SWAGE_MODEL(Gemma, "gemma");
