// InternVL 2 to 3.5: InternViT, four neighbouring patches to one feature, a projector of a norm and
// two linears, and any language model (Chen et al. 2024); in transformers' form and the original
// one.
#include "swage/nn/vision.h"
#include "swage/register.h"

namespace {

using swage::Value;
using namespace swage::nn;

// What both forms mean by the same keys.
absl::StatusOr<VisionDescription> describe_vit(const Value& vision, const Value& text,
                                               double ratio) {
  VisionDescription d;
  d.blocks.hidden_size = 1024;
  d.blocks.intermediate_size = 4096;
  d.blocks.block_count = 24;
  d.blocks.heads = 16;
  d.blocks.activation = Activation::kGelu;
  d.blocks.norm_eps = 1e-6;
  d.patches.height = d.patches.width = 448;
  d.patches.patch_height = d.patches.patch_width = 14;
  SWAGE_RETURN_IF_ERROR(read_vision(vision, d));
  const std::string norm = vision.str("norm_type", "layer_norm");
  if (norm != "layer_norm" && norm != "rms_norm") {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: vision_config.norm_type is \"", norm,
                     "\"; \"layer_norm\" and \"rms_norm\" are supported"));
  }
  if (norm == "rms_norm") d.blocks.norm = NormKind::kRms;
  d.blocks.output_scale = OutputScale::kChannel;
  d.features.layers = {d.blocks.block_count};
  if (!(ratio > 1e-3 && ratio <= 1))
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: downsample_ratio is ", ratio, ", expected 0.001 to 1"));
  d.features.shuffle = static_cast<int64_t>(1.0 / ratio + 0.5);
  d.projector.in = d.blocks.hidden_size * d.features.shuffle * d.features.shuffle;
  d.projector.middle = d.projector.out = text.i64("hidden_size", 4096);
  return d;
}

class InternVl final : public VisionAdapter {
 public:
  absl::StatusOr<std::unique_ptr<swage::image::Processor>> load_processor(
      const Value& config) const override {
    return swage::image::internvl_processor(config);
  }
  std::string picture_text(const swage::image::Inputs& picture,
                           const std::string& token) const override {
    return "<img>" + VisionAdapter::picture_text(picture, token) + "</img>";
  }

 protected:
  absl::StatusOr<VisionDescription> describe(const Value& config) const override {
    const Value& vision = config["vision_config"];
    SWAGE_ASSIGN_OR_RETURN(VisionDescription d, describe_vit(vision, config["text_config"],
                                                             config.f64("downsample_ratio", 0.5)));
    d.blocks.qkv_bias = vision.flag("attention_bias", false);
    if (vision.flag("use_qk_norm", false)) d.blocks.head_norm = HeadNorm::kWhole;
    d.blocks.head_norm_eps = 1e-6;  // whatever layer_norm_eps says
    DecoderDescription::Names& names = d.blocks.names;
    const std::string tower = "vision_tower.";
    names.blocks = tower + "encoder.layer";
    names.input_norm = "layernorm_before";
    names.post_norm = "layernorm_after";
    names.q = "attention.q_proj";
    names.k = "attention.k_proj";
    names.v = "attention.v_proj";
    names.o = "attention.projection_layer";
    names.q_norm = "attention.q_norm";
    names.k_norm = "attention.k_norm";
    names.up = "mlp.fc1";
    names.down = "mlp.fc2";
    names.attention_scale = "lambda_1";
    names.mlp_scale = "lambda_2";
    d.patches.names.weight = tower + "embeddings.patch_embeddings.projection.weight";
    d.patches.names.bias = tower + "embeddings.patch_embeddings.projection.bias";
    d.patches.names.class_token = tower + "embeddings.cls_token";
    if (vision.flag("use_absolute_position_embeddings", true))
      d.patches.names.positions = tower + "embeddings.position_embeddings";
    d.features.unused = {tower + "embeddings.mask_token"};
    SWAGE_RETURN_IF_ERROR(select(config, vision, d));
    d.projector.norm = "multi_modal_projector.layer_norm";
    d.projector.first = "multi_modal_projector.linear_1";
    d.projector.second = "multi_modal_projector.linear_2";
    SWAGE_ASSIGN_OR_RETURN(d.projector.activation,
                           parse_activation(config.str("projector_hidden_act", "gelu")));
    d.image_token = config.i64("image_token_id", 151667);
    return d;
  }

 private:
  static absl::Status select(const Value& config, const Value& vision, VisionDescription& d) {
    const int64_t layer = config.i64("vision_feature_layer", -1);
    d.features.layers = {layer < 0 ? layer + d.blocks.block_count + 1 : layer};
    d.features.drops_class = config.str("vision_feature_select_strategy", "default") == "default";
    if (!vision.flag("use_mean_pooling", true)) {
      const std::string norm = "vision_tower.layernorm";
      if (layer == -1) {
        d.features.norm = norm;
        d.features.norm_eps = d.blocks.norm_eps;
      } else {
        d.features.unused.insert(d.features.unused.end(), {norm + ".weight", norm + ".bias"});
      }
    }
    return absl::OkStatus();
  }
};

class OriginalInternVl final : public VisionAdapter {
 protected:
  absl::StatusOr<VisionDescription> describe(const Value& config) const override {
    const Value& vision = config["vision_config"];
    SWAGE_ASSIGN_OR_RETURN(VisionDescription d, describe_vit(vision, config["llm_config"],
                                                             config.f64("downsample_ratio", 0.5)));
    if (config.str("ps_version", "v2") != "v2")
      return absl::InvalidArgumentError("config.json: ps_version must be \"v2\"");
    d.blocks.qkv_layout = QkvLayout::kBlocks;
    d.blocks.qkv_bias = vision.flag("qkv_bias", true);
    if (vision.flag("qk_normalization", false)) d.blocks.head_norm = HeadNorm::kWhole;
    const int64_t layer = config.i64("select_layer", -1);
    d.features.layers = {layer < 0 ? layer + d.blocks.block_count + 1 : layer};
    DecoderDescription::Names& names = d.blocks.names;
    const std::string tower = "vision_model.";
    names.blocks = tower + "encoder.layers";
    names.input_norm = "norm1";
    names.post_norm = "norm2";
    names.qkv = "attn.qkv";
    names.o = "attn.proj";
    names.q_norm = "attn.q_norm";
    names.k_norm = "attn.k_norm";
    names.up = "mlp.fc1";
    names.down = "mlp.fc2";
    names.attention_scale = "ls1";
    names.mlp_scale = "ls2";
    d.patches.names.weight = tower + "embeddings.patch_embedding.weight";
    d.patches.names.bias = tower + "embeddings.patch_embedding.bias";
    d.patches.names.class_token = tower + "embeddings.class_embedding";
    d.patches.names.positions = tower + "embeddings.position_embedding";
    d.projector.norm = "mlp1.0";
    d.projector.first = "mlp1.1";
    d.projector.second = "mlp1.3";
    d.image_token = config.i64("img_context_token_id", -1);
    return d;
  }
};

}  // namespace

SWAGE_MODEL(InternVl, "internvl");
SWAGE_MODEL(OriginalInternVl, "internvl_original");
