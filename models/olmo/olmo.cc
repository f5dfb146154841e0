// OLMo: Llama with norms without weights; OLMo 2 and 3: norms behind attention and MLP, and
// of all queries and keys together; windows in three of four blocks (3) (Ai2 2024, 2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

const swage::nn::Families kFamilies = {
    {"OlmoForCausalLM", "olmo"}, {"Olmo2ForCausalLM", "olmo2"}, {"Olmo3ForCausalLM", "olmo3"}};

class Olmo final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool first = family == "olmo", third = family == "olmo3";
    d.norm = first ? swage::nn::NormKind::kLayerPlain : swage::nn::NormKind::kRms;
    d.norm_eps = 1e-5;
    d.vocab_size = 50304;
    d.hidden_size = 4096;
    d.intermediate_size = 11008;
    d.block_count = d.heads = 32;
    d.context_length = 2048;
    // Fewer than four blocks all slide where nothing else is said: none reads the other table.
    const bool all_slide = !config.has("layer_types") && config.i64("num_hidden_layers", 32) < 4;
    const Value rotated =
        third ? swage::nn::rope_config(config, all_slide ? "sliding_attention" : "full_attention",
                                       all_slide ? "" : "rope_theta")
              : config;
    SWAGE_RETURN_IF_ERROR(read_decoder(rotated, d, third ? 5e5 : 1e4));
    if (first) d.norm_eps = 1e-5;  // the class knows no key for it
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    if (first && config.has("clip_qkv")) {
      d.qkv_limit = config.f64("clip_qkv", 0.0);
      if (!(d.qkv_limit > 0))
        return absl::InvalidArgumentError("config.json: clip_qkv must be above 0");
    }
    if (first) return d;
    d.names.input_norm.clear();
    d.names.post_norm.clear();
    d.names.attention_norm = "post_attention_layernorm";
    d.names.mlp_norm = "post_feedforward_layernorm";
    d.head_norm = swage::nn::HeadNorm::kWhole;
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    if (family != "olmo3") return absl::OkStatus();
    const int64_t window = swage::nn::window_size(config, 4096);
    SWAGE_ASSIGN_OR_RETURN(d.window, swage::nn::read_window(config, d.block_count, index, window,
                                                            (index + 1) % 4 != 0));
    if (d.window == 0) return absl::OkStatus();
    const Value local = swage::nn::rope_config(config, "sliding_attention", "");
    SWAGE_ASSIGN_OR_RETURN(auto rope,
                           swage::nn::read_rope(local, d.head_dim, d.context_length, 5e5));
    d.rope = std::make_shared<const swage::nn::Rope>(std::move(rope));
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(Olmo, "olmo");
