// EXAONE 4: norms behind attention and MLP and of every head; where there are windows,
// the blocks without one do not rotate (LG 2025).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

class Exaone4 final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.names.input_norm.clear();
    d.names.post_norm.clear();
    d.names.attention_norm = "post_attention_layernorm";
    d.names.mlp_norm = "post_feedforward_layernorm";
    d.norm_eps = 1e-5;
    d.head_norm = swage::nn::HeadNorm::kShared;
    d.vocab_size = 102400;
    d.hidden_size = 4096;
    d.intermediate_size = 16384;
    d.block_count = d.heads = d.kv_heads = 32;
    d.context_length = 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    const int64_t window = swage::nn::window_size(config, 4096);
    if (window == 0) return absl::OkStatus();
    // Published files spell the pattern "LLLG".
    const Value& pattern = config["sliding_window_pattern"];
    const int64_t size = pattern.text() != nullptr ? static_cast<int64_t>(pattern.text()->size())
                                                   : config.i64("sliding_window_pattern", 4);
    const bool slides = size <= 0 || (index + 1) % size != 0;
    SWAGE_ASSIGN_OR_RETURN(d.window,
                           swage::nn::read_window(config, d.block_count, index, window, slides));
    if (d.window == 0) d.rope = nullptr;
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(Exaone4, "exaone4");
