// SmolLM3: Llama without rotary embeddings in every fourth block.
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class SmolLm3 final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.vocab_size = 128256;
    d.hidden_size = 2048;
    d.intermediate_size = 11008;
    d.block_count = 36;
    d.heads = 16;
    d.kv_heads = 4;
    d.context_length = 32768;
    d.tied_embeddings = true;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d, 2e6));
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.mlp_bias = config.flag("mlp_bias", false);
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    const int64_t interval = config.i64("no_rope_layer_interval", 4);
    bool rotates = interval <= 0 || (index + 1) % interval != 0;
    if (const Value::List* layers = config["no_rope_layers"].list()) {
      const bool fits = static_cast<int64_t>(layers->size()) == d.block_count;
      const Value* entry = fits ? &(*layers)[static_cast<size_t>(index)] : nullptr;
      if (entry == nullptr || entry->integer() == nullptr) {
        return absl::InvalidArgumentError(
            "config.json: no_rope_layers must hold a 0 or 1 for every layer");
      }
      rotates = *entry->integer() != 0;
    }
    if (!rotates) d.rope = nullptr;
    // use_sliding_window only decides what layer_types is where it is not stated.
    const bool chosen = config.has("layer_types") || config.flag("use_sliding_window", false);
    const int64_t window = chosen ? config.i64("sliding_window", 0) : 0;
    SWAGE_ASSIGN_OR_RETURN(d.window,
                           swage::nn::read_window(config, d.block_count, index, window, !rotates));
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(SmolLm3, "smollm3");
