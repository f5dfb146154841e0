// DeepSeek-V2, V2-Lite, V3 and R1: latent attention, and after the first blocks many
// small experts beside shared ones (Liu et al. 2024).
#include "swage/nn/decoder.h"
#include "swage/register.h"

namespace {

using swage::Value;
using swage::nn::DecoderDescription;
using swage::nn::Experts;

using swage::nn::LatentAttention;

const swage::nn::Families kFamilies = {{"DeepseekV2ForCausalLM", "deepseek_v2"},
                                       {"DeepseekV3ForCausalLM", "deepseek_v3"}};

constexpr int64_t kMostShared = 1 << 16;

class DeepSeek final : public swage::nn::DecoderAdapter {
 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& given) const override {
    const Value config = swage::nn::renamed(
        given, {{"num_experts", "n_routed_experts"}, {"num_local_experts", "n_routed_experts"}});
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const bool third = family == "deepseek_v3";
    DecoderDescription d;
    d.vocab_size = third ? 129280 : 102400;
    d.hidden_size = third ? 7168 : 4096;
    d.intermediate_size = third ? 18432 : 11008;
    d.block_count = third ? 61 : 32;
    d.heads = third ? 128 : 32;
    d.context_length = third ? 4096 : 2048;
    SWAGE_RETURN_IF_ERROR(read_decoder(rotated_part(config), d));
    d.kv_heads = d.heads;
    d.qkv_bias = d.o_bias = config.flag("attention_bias", false);
    d.mlp_bias = !third && config.flag("mlp_bias", false);
    d.latent = std::make_shared<const LatentAttention>(read_latent(config, third));
    d.attention_scale = attention_scale(config, *d.latent);
    SWAGE_ASSIGN_OR_RETURN(Experts experts, read_experts(config, third));
    d.experts = std::make_shared<const Experts>(std::move(experts));
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, swage::nn::family_of(config, kFamilies));
    const int64_t dense = config.i64("first_k_dense_replace", family == "deepseek_v3" ? 3 : 0);
    if (index < dense) d.experts = nullptr;
    return absl::OkStatus();
  }

 private:
  // config.json whose head_dim is what rotates.
  static Value rotated_part(const Value& config) {
    Value result = config;
    (*result.table())["head_dim"] = config.i64("qk_rope_head_dim", 64);
    return result;
  }

  static LatentAttention read_latent(const Value& config, bool third) {
    LatentAttention latent;
    const bool stated = swage::nn::stated(config, "q_lora_rank");
    latent.query_rank = config.i64("q_lora_rank", stated ? 0 : 1536);
    latent.latent_rank = config.i64("kv_lora_rank", 512);
    latent.nope_dim = config.i64("qk_nope_head_dim", 128);
    latent.rope_dim = config.i64("qk_rope_head_dim", 64);
    latent.value_dim = config.i64("v_head_dim", 128);
    latent.interleaved = !third || config.flag("rope_interleave", true);
    return latent;
  }

  // 1 / sqrt(width of a key), times the square of yarn's factor where it is to act on all channels.
  static double attention_scale(const Value& config, const LatentAttention& latent) {
    const double scale = 1.0 / std::sqrt(static_cast<double>(latent.nope_dim + latent.rope_dim));
    const Value& rope =
        config.has("rope_scaling") ? config["rope_scaling"] : config["rope_parameters"];
    const double all = rope.f64("mscale_all_dim", 0.0), factor = rope.f64("factor", 1.0);
    if (rope.str("rope_type", rope.str("type", "default")) == "default" || all == 0 || factor <= 1)
      return scale;
    const double mscale = 0.1 * all * std::log(factor) + 1.0;
    return scale * mscale * mscale;
  }

  // What only the original code reads; that of transformers always does the same.
  static absl::Status check_routing(const Value& config, bool third) {
    const std::string score = third ? "sigmoid" : "softmax";
    if (config.str("scoring_func", score) != score)
      return absl::InvalidArgumentError("config.json: scoring_func must be \"" + score + "\"");
    if (third && config.str("topk_method", "noaux_tc") != "noaux_tc")
      return absl::InvalidArgumentError("config.json: topk_method must be \"noaux_tc\"");
    if (config.i64("moe_layer_freq", 1) != 1)
      return absl::InvalidArgumentError("config.json: moe_layer_freq must be 1");
    return absl::OkStatus();
  }

  static absl::StatusOr<Experts> read_experts(const Value& config, bool third) {
    SWAGE_RETURN_IF_ERROR(check_routing(config, third));
    Experts experts;
    experts.names.shared = "mlp.shared_experts";
    experts.count = config.i64("n_routed_experts", third ? 256 : 64);
    experts.shared_bias = !third && config.flag("mlp_bias", false);
    experts.active = config.i64("num_experts_per_tok", third ? 8 : 0);
    experts.intermediate_size = config.i64("moe_intermediate_size", third ? 2048 : 1407);
    const int64_t shared = config.i64("n_shared_experts", third ? 1 : 2);
    if (shared < 0 || shared > kMostShared)
      return absl::InvalidArgumentError(absl::StrCat("config.json: n_shared_experts is ", shared,
                                                     ", expected 0 to ", kMostShared));
    experts.shared_size = shared * experts.intermediate_size;
    experts.scale = config.f64("routed_scaling_factor", third ? 2.5 : 1.0);
    experts.groups = config.i64("n_group", third ? 8 : 1);
    experts.active_groups = config.i64("topk_group", third ? 4 : 1);
    if (third) {
      experts.score = Experts::Score::kSigmoid;
      experts.group_score = Experts::GroupScore::kTwoGreatest;
      experts.names.correction_bias = "mlp.gate.e_score_correction_bias";
      experts.normalized = config.flag("norm_topk_prob", true);
      return experts;
    }
    const std::string method = config.str("topk_method", "greedy");
    if (method == "greedy") {
      experts.groups = experts.active_groups = 1;
    } else if (method != "group_limited_greedy") {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: topk_method \"", method,
                       "\"; \"greedy\" and \"group_limited_greedy\" are supported"));
    }
    return experts;
  }
};

}  // namespace

SWAGE_MODEL(DeepSeek, "deepseek");
