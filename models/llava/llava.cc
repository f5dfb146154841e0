// LLaVA-1.5 and its like: a CLIP or SigLIP tower, a projector of two linears, and any language
// model (Liu et al. 2023). The first class reads transformers' checkpoints, the second those of the
// original code, which hold the projector but leave the vision tower to another checkpoint.
#include "swage/nn/vision.h"
#include "swage/register.h"

namespace {

using swage::Value;
using namespace swage::nn;

constexpr const char* kTower = "vision_tower.vision_model.";

// One number or a list; negative ones count from the end.
absl::StatusOr<std::vector<int64_t>> feature_layers(const Value& config, int64_t block_count) {
  const Value& key = config["vision_feature_layer"];
  std::vector<int64_t> layers = {-2};
  if (key.integer() != nullptr) layers = {*key.integer()};
  if (!key.is_null() && key.integer() == nullptr && key.list() == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("config.json: vision_feature_layer is a ",
                                                   key.type_name(),
                                                   ", expected an integer or a list of them"));
  if (key.list() != nullptr) {
    layers.clear();
    for (const Value& item : *key.list()) {
      if (item.integer() == nullptr)
        return absl::InvalidArgumentError("config.json: vision_feature_layer must hold integers");
      layers.push_back(*item.integer());
    }
  }
  for (int64_t& layer : layers) layer += layer < 0 ? block_count + 1 : 0;
  return layers;
}

class Llava final : public VisionAdapter {
 public:
  absl::StatusOr<std::unique_ptr<swage::image::Processor>> load_processor(
      const Value& config) const override {
    return swage::image::clip_processor(config);
  }

 protected:
  absl::StatusOr<VisionDescription> describe(const Value& config) const override {
    const Value& vision = config["vision_config"];
    const bool large = vision.is_null();  // CLIP-L at 336 pixels
    const bool siglip = vision.str("model_type", "clip_vision_model") == "siglip_vision_model";
    VisionDescription d;
    d.blocks.hidden_size = large ? 1024 : 768;
    d.blocks.intermediate_size = large ? 4096 : 3072;
    d.blocks.block_count = large ? 24 : 12;
    d.blocks.heads = large ? 16 : 12;
    d.blocks.activation = siglip ? Activation::kGeluTanh : Activation::kQuickGelu;
    d.blocks.norm_eps = siglip ? 1e-6 : 1e-5;
    d.patches.height = d.patches.width = large ? 336 : 224;
    d.patches.patch_height = d.patches.patch_width = large ? 14 : siglip ? 16 : 32;
    SWAGE_RETURN_IF_ERROR(read_vision(vision, d));
    name_tower(siglip, d);
    SWAGE_ASSIGN_OR_RETURN(d.features.layers, feature_layers(config, d.blocks.block_count));
    const std::string select = config.str("vision_feature_select_strategy", "default");
    if (select != "default" && select != "full") {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: vision_feature_select_strategy is \"", select,
                       "\"; \"default\" and \"full\" are supported"));
    }
    d.features.drops_class = select == "default";
    d.projector.first = "multi_modal_projector.linear_1";
    d.projector.second = "multi_modal_projector.linear_2";
    d.projector.in = d.blocks.hidden_size * static_cast<int64_t>(d.features.layers.size());
    d.projector.middle = d.projector.out = config["text_config"].i64("hidden_size", 4096);
    d.projector.bias = config.flag("multimodal_projector_bias", true);
    SWAGE_ASSIGN_OR_RETURN(d.projector.activation,
                           parse_activation(config.str("projector_hidden_act", "gelu")));
    d.image_token = config.i64("image_token_index", config.i64("image_token_id", 32000));
    return d;
  }

 private:
  static void name_tower(bool siglip, VisionDescription& d) {
    const std::string tower = kTower;
    DecoderDescription::Names& names = d.blocks.names;
    names.blocks = tower + "encoder.layers";
    names.input_norm = "layer_norm1";
    names.post_norm = "layer_norm2";
    names.o = "self_attn.out_proj";
    names.up = "mlp.fc1";
    names.down = "mlp.fc2";
    d.patches.names.weight = tower + "embeddings.patch_embedding.weight";
    d.patches.names.positions = tower + "embeddings.position_embedding.weight";
    if (siglip) {
      d.patches.names.bias = tower + "embeddings.patch_embedding.bias";
    } else {
      d.patches.names.class_token = tower + "embeddings.class_embedding";
      d.patches.names.norm = tower + "pre_layrnorm";
    }
    d.features.unused = {tower + "post_layernorm.weight", tower + "post_layernorm.bias"};
    for (const char* part :
         {"probe", "attention.in_proj_weight", "attention.in_proj_bias",
          "attention.out_proj.weight", "attention.out_proj.bias", "layernorm.weight",
          "layernorm.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"})
      d.features.unused.push_back(tower + "head." + part);
  }
};

// LlavaLlamaForCausalLM: a Llama with mm_* keys and `model.mm_projector`.
class OriginalLlava final : public swage::ModelAdapter {
 public:
  absl::Status open(const Value& config) override {
    const std::string kind = config.str("mm_projector_type", "linear");
    if (kind != "linear" && kind != "mlp2x_gelu") {
      return absl::InvalidArgumentError(
          absl::StrCat("config.json: mm_projector_type is \"", kind,
                       "\"; \"linear\" and \"mlp2x_gelu\" are supported"));
    }
    const bool two = kind == "mlp2x_gelu";
    projector_.first = two ? "model.mm_projector.0" : "model.mm_projector";
    if (two) projector_.second = "model.mm_projector.2";
    projector_.in = config.i64("mm_hidden_size", 1024);
    projector_.middle = projector_.out = config.i64("hidden_size", 4096);
    shape_.towers = {{"projector", 1}};
    return absl::OkStatus();
  }
  const swage::ModelShape& shape() const override { return shape_; }

  absl::StatusOr<std::unique_ptr<swage::Embedding>> load_embedding(
      const std::string&, const swage::WeightSource&, const swage::LoadOptions&) override {
    return std::unique_ptr<swage::Embedding>(std::make_unique<NoImages>());
  }
  absl::StatusOr<std::unique_ptr<swage::Block>> load_block(
      const swage::BlockId& id, const swage::WeightSource& source,
      const swage::LoadOptions& options) override {
    return load_projector(projector_, id, source, options);
  }
  absl::StatusOr<std::unique_ptr<swage::Head>> load_head(const swage::WeightSource&,
                                                         const swage::LoadOptions&) override {
    return absl::FailedPreconditionError("the language model has the head");
  }

 private:
  class NoImages final : public swage::Embedding {
   public:
    absl::Status embed(swage::Slots&) override {
      return absl::FailedPreconditionError(
          "the vision tower is not in this checkpoint (config.json names it as mm_vision_tower): "
          "images need the checkpoint in transformers' form, llava-hf");
    }
  };
  ProjectorDescription projector_;
  swage::ModelShape shape_;
};

}  // namespace

SWAGE_MODEL(Llava, "llava");
SWAGE_MODEL(OriginalLlava, "llava_original");
SWAGE_MODEL(OriginalLlava, "llava_original_mistral");
SWAGE_MODEL(OriginalLlava, "llava_original_qwen");
