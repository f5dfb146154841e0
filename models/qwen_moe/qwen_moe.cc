// Qwen1.5-MoE and Qwen2-MoE: Qwen2 with many small experts and a gated shared one.
// Qwen3-MoE: Qwen3 with experts, none shared. Some blocks may stay dense.
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;
using swage::nn::Experts;

const swage::nn::Families kFamilies = {{"Qwen2MoeForCausalLM", "qwen2_moe"},
                                       {"Qwen3MoeForCausalLM", "qwen3_moe"}};

class QwenMoe final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(given, {{"num_local_experts", "num_experts"}});
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool third = family == "qwen3_moe";
    DecoderDescription d;
    d.vocab_size = 151936;
    d.hidden_size = 2048;
    d.intermediate_size = third ? 6144 : 5632;
    d.block_count = 24;
    d.heads = third ? 32 : 16;
    d.kv_heads = third ? 4 : 16;
    d.context_length = 32768;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    if (third) {
      d.head_norm = swage::nn::HeadNorm::kShared;
      d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    } else {
      d.qkv_bias = config.flag("qkv_bias", true);
    }
    Experts experts;
    experts.count = config.i64("num_experts", third ? 128 : 60);
    experts.active = config.i64("num_experts_per_tok", third ? 8 : 4);
    experts.intermediate_size = config.i64("moe_intermediate_size", third ? 768 : 1408);
    experts.normalized = config.flag("norm_topk_prob", false);
    if (!third) {
      experts.names.shared_gate = "mlp.shared_expert_gate";
      experts.shared_size = config.i64("shared_expert_intermediate_size", 5632);
    }
    if (experts.count > 0) d.experts = std::make_shared<const Experts>(experts);
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const int64_t step = config.i64("decoder_sparse_step", 1);
    bool dense = step <= 0 || (index + 1) % step != 0;
    if (const Value::List* layers = config["mlp_only_layers"].list()) {
      for (const Value& layer : *layers)
        dense |= layer.integer() != nullptr && *layer.integer() == index;
    }
    if (dense) d.experts = nullptr;
    const bool slides = config.flag("use_sliding_window", false);
    const int64_t window = slides ? swage::nn::window_size(config, 4096) : 0;
    const bool lower = index % 2 == 0 && index < config.i64("max_window_layers", 28);
    SWAGE_ASSIGN_OR_RETURN(d.window, swage::nn::read_window(config, d.block_count, index, window,
                                                            family == "qwen3_moe" || lower));
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(QwenMoe, "qwen_moe");
