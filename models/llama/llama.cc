// Llama 1 to 3.3, Mistral and what follows their config.json (SmolLM2 …):
// pre-norm blocks with RMSNorm, rotary embeddings, grouped key and value heads
// and a gated MLP (Touvron et al. 2023, Jiang et al. 2023).
#include "absl/strings/str_cat.h"
#include "swage/nn/decoder.h"
#include "swage/plugin.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Llama final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    const bool mistral = config.str("model_type", "llama") == "mistral";
    DecoderDescription d;
    read_sizes(config, mistral, d);
    if (!config.has("head_dim") && d.heads > 0 && d.hidden_size % d.heads != 0) {
      return absl::InvalidArgumentError(absl::StrCat("config.json: hidden_size ", d.hidden_size,
                                                     " is no multiple of num_attention_heads ",
                                                     d.heads, " and there is no head_dim"));
    }
    SWAGE_ASSIGN_OR_RETURN(d.activation,
                           swage::nn::parse_activation(config.str("hidden_act", "silu")));
    d.norm_eps = config.f64("rms_norm_eps", 1e-6);
    d.tied_embeddings = config.flag("tie_word_embeddings", false);
    if (mistral) {
      // Absent means the default window, null means none.
      d.window = stated(config, "sliding_window") ? config.i64("sliding_window", 0) : 4096;
    } else {
      d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
      d.mlp_bias = config.flag("mlp_bias", false);
    }
    if (d.head_dim <= 0) return d;  // open() names the size that is wrong
    SWAGE_ASSIGN_OR_RETURN(auto rope, swage::nn::read_rope(config, d.head_dim, d.context_length));
    d.rope = std::make_shared<const swage::nn::Rope>(std::move(rope));
    return d;
  }

 private:
  static bool stated(const Value& config, std::string_view key) {
    return config.table() != nullptr && config.table()->count(key) > 0;
  }

  static void read_sizes(const Value& config, bool mistral, DecoderDescription& d) {
    d.vocab_size = config.i64("vocab_size", 32000);
    d.hidden_size = config.i64("hidden_size", 4096);
    d.intermediate_size = config.i64("intermediate_size", mistral ? 14336 : 11008);
    d.block_count = config.i64("num_hidden_layers", 32);
    d.context_length = config.i64("max_position_embeddings", mistral ? 131072 : 2048);
    d.heads = config.i64("num_attention_heads", 32);
    const bool grouped = mistral && !stated(config, "num_key_value_heads");
    d.kv_heads = config.i64("num_key_value_heads", grouped ? 8 : d.heads);
    d.head_dim = config.i64("head_dim", d.heads > 0 ? d.hidden_size / d.heads : 0);
  }
};

}  // namespace

SWAGE_MODEL(Llama, "llama");
