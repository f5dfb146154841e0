// Qwen2, Qwen2.5 and Qwen3: Llama with biases on q, k and v (2), or a norm of
// every query and key head (3); windows in the upper blocks on request.
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;

const swage::nn::Families kFamilies = {{"Qwen2ForCausalLM", "qwen2"},
                                       {"Qwen3ForCausalLM", "qwen3"}};

class Qwen final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool third = family == "qwen3";
    DecoderDescription d;
    d.vocab_size = 151936;
    d.hidden_size = 4096;
    d.intermediate_size = 22016;
    d.block_count = d.heads = d.kv_heads = 32;
    d.head_dim = third ? 128 : 0;
    d.context_length = 32768;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    if (third) {
      d.head_norm = swage::nn::HeadNorm::kShared;
      d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    } else {
      d.qkv_bias = true;
    }
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    // Published files state a window that use_sliding_window turns off.
    const bool sliding = config.flag("use_sliding_window", false);
    const int64_t window = sliding ? swage::nn::window_size(config, 4096) : 0;
    const bool upper = index >= config.i64("max_window_layers", 28);
    SWAGE_ASSIGN_OR_RETURN(d.window,
                           swage::nn::read_window(config, d.block_count, index, window, upper));
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(Qwen, "qwen");
