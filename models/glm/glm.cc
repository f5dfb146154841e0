// GLM-4 and GLM-4-0414: half of each head rotates, neighbouring channels; gate and up
// in one tensor; norms behind the parts too (0414).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;
using swage::nn::Experts;

const swage::nn::Families kFamilies = {{"GlmForCausalLM", "glm"}, {"Glm4ForCausalLM", "glm4"}};

class Glm final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    DecoderDescription d;
    d.norm_eps = 1.5625e-7;
    d.vocab_size = 151552;
    d.hidden_size = 4096;
    d.intermediate_size = 13696;
    d.block_count = 40;
    d.heads = 32;
    d.kv_heads = 2;
    d.head_dim = 128;
    d.context_length = 131072;
    d.rotary_share = 0.5;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.rope_interleaved = d.fused_gate = true;
    d.qkv_bias = config.flag("attention_bias", true);
    if (family == "glm4") {
      d.names.attention_norm = "post_self_attn_layernorm";
      d.names.mlp_norm = "post_mlp_layernorm";
    }
    return d;
  }
};

// GLM-4.5 and 4.6: experts chosen as in DeepSeek-V3, heads as in Llama.
class GlmMoe final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(
        given, {{"num_local_experts", "n_routed_experts"}, {"num_experts", "n_routed_experts"}});
    DecoderDescription d;
    d.norm_eps = 1e-5;
    d.vocab_size = 151552;
    d.hidden_size = 4096;
    d.intermediate_size = 10944;
    d.block_count = 46;
    d.heads = 96;
    d.kv_heads = 8;
    d.context_length = 131072;
    d.rotary_share = 0.5;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d));
    d.qkv_bias = config.flag("attention_bias", false);
    if (config.flag("use_qk_norm", false)) d.head_norm = swage::nn::HeadNorm::kShared;
    Experts experts;
    experts.names.shared = "mlp.shared_experts";
    experts.names.correction_bias = "mlp.gate.e_score_correction_bias";
    experts.score = Experts::Score::kSigmoid;
    experts.group_score = Experts::GroupScore::kTwoGreatest;
    experts.count = config.i64("n_routed_experts", 128);
    experts.active = config.i64("num_experts_per_tok", 8);
    experts.intermediate_size = config.i64("moe_intermediate_size", 1408);
    experts.shared_size = config.i64("n_shared_experts", 1) * experts.intermediate_size;
    experts.groups = config.i64("n_group", 1);
    experts.active_groups = config.i64("topk_group", 1);
    experts.normalized = config.flag("norm_topk_prob", true);
    experts.scale = config.f64("routed_scaling_factor", 1.0);
    d.experts = std::make_shared<const Experts>(experts);
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    if (index < config.i64("first_k_dense_replace", 1)) d.experts = nullptr;
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(Glm, "glm");
SWAGE_MODEL(GlmMoe, "glm_moe");
