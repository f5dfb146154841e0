// Qwen2-VL and Qwen2.5-VL: images of any size as grids of patches, four of which become one
// feature, and a Qwen2 whose rotary positions have three axes (Wang et al. 2024, Bai et al. 2025).
#include "swage/nn/vision.h"
#include "swage/register.h"

namespace {

using swage::Value;
using namespace swage::nn;

const Families kFamilies = {{"Qwen2VLForConditionalGeneration", "qwen2_vl"},
                            {"Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl"}};

class QwenVl final : public VisionAdapter {
 public:
  absl::StatusOr<std::unique_ptr<swage::image::Processor>> load_processor(
      const Value& config) const override {
    return swage::image::qwen2_vl_processor(config);
  }

 protected:
  absl::StatusOr<VisionDescription> describe(const Value& config) const override {
    SWAGE_ASSIGN_OR_RETURN(const std::string family, family_of(config, kFamilies));
    const bool second = family == "qwen2_vl";
    const Value vision = renamed(config["vision_config"], {{"depth", "num_hidden_layers"},
                                                           {"num_heads", "num_attention_heads"},
                                                           {"in_channels", "num_channels"}});
    VisionDescription d;
    d.blocks.activation = second ? Activation::kQuickGelu : Activation::kSilu;
    d.blocks.hidden_size = 3584;
    d.blocks.intermediate_size = 3420;
    d.blocks.block_count = 32;
    d.blocks.heads = 16;
    d.blocks.norm_eps = 1e-6;  // whatever config.json says
    d.patches.patch_height = d.patches.patch_width = 14;
    d.projector.out = vision.i64(second ? "hidden_size" : "out_hidden_size", 3584);
    const double ratio = vision.f64("mlp_ratio", 4.0);
    if (second && !(ratio > 0 && ratio < 1024))
      return absl::InvalidArgumentError("config.json: vision_config.mlp_ratio must be 0 to 1024");
    SWAGE_RETURN_IF_ERROR(read_vision(second ? second_form(vision) : vision, d));
    d.blocks.norm_eps = 1e-6;
    if (!second) {
      d.blocks.norm = NormKind::kRms;
      d.blocks.gated = true;
    }
    name_modules(second, d);
    SWAGE_RETURN_IF_ERROR(set_rope(d));
    SWAGE_ASSIGN_OR_RETURN(d.grid, read_grid(vision, second, d.patches.patch_height));
    d.projector.in = d.projector.middle = d.blocks.hidden_size * d.grid->merge * d.grid->merge;
    d.image_token = config.i64("image_token_id", 151655);
    return d;
  }

 private:
  // Qwen2-VL's hidden_size is that of the language model, and its MLP's width is a factor.
  static Value second_form(const Value& vision) {
    Value form = vision;
    if (form.table() == nullptr) form = Value(Value::Table{});
    const int64_t width = vision.i64("embed_dim", 1280);
    (*form.table())["hidden_size"] = width;
    (*form.table())["intermediate_size"] =
        static_cast<int64_t>(static_cast<double>(width) * vision.f64("mlp_ratio", 4.0));
    return form;
  }

  static void name_modules(bool second, VisionDescription& d) {
    DecoderDescription::Names& names = d.blocks.names;
    d.blocks.qkv_layout = QkvLayout::kBlocks;
    names.blocks = "visual.blocks";
    names.input_norm = "norm1";
    names.post_norm = "norm2";
    names.qkv = "attn.qkv";
    names.o = "attn.proj";
    if (second) {
      names.up = "mlp.fc1";
      names.down = "mlp.fc2";
    }
    d.patches.names.weight = "visual.patch_embed.proj.weight";
    d.projector.first = "visual.merger.mlp.0";
    d.projector.second = "visual.merger.mlp.2";
  }

  // Half of the frequencies turn with the row, half with the column.
  static absl::Status set_rope(VisionDescription& d) {
    if (d.blocks.head_dim % 4 != 0)
      return absl::InvalidArgumentError("config.json: vision heads must have 4n channels");
    RopeDescription rope;
    rope.dim = d.blocks.head_dim;
    rope.sections = {rope.dim / 4, rope.dim / 4};
    rope.sections_restart = true;
    d.blocks.rope = std::make_shared<const Rope>(std::move(rope));
    return absl::OkStatus();
  }

  static absl::StatusOr<std::shared_ptr<const GridDescription>> read_grid(const Value& vision,
                                                                          bool second,
                                                                          int64_t patch_size) {
    GridDescription grid;
    grid.temporal = vision.i64("temporal_patch_size", 2);
    grid.merge = vision.i64("spatial_merge_size", 2);
    grid.merge_norm = "visual.merger.ln_q";
    if (grid.merge < 1 || grid.merge > 64)
      return absl::InvalidArgumentError(
          "config.json: vision_config.spatial_merge_size must be 1 to 64");
    if (second) return std::make_shared<const GridDescription>(std::move(grid));
    if (grid.merge > 0 && patch_size > 0)
      grid.window = vision.i64("window_size", 112) / grid.merge / patch_size;
    if (grid.window < 1)
      return absl::InvalidArgumentError(
          "config.json: vision_config.window_size is below a feature");
    grid.whole_blocks = {7, 15, 23, 31};
    if (const Value::List* list = vision["fullatt_block_indexes"].list()) {
      grid.whole_blocks.clear();
      for (const Value& item : *list)
        if (item.integer() != nullptr) grid.whole_blocks.push_back(*item.integer());
    }
    return std::make_shared<const GridDescription>(std::move(grid));
  }
};

class Text final : public DecoderAdapter {
 public:
  absl::StatusOr<std::unique_ptr<swage::Embedding>> load_embedding(
      const std::string& tower, const swage::WeightSource& source,
      const swage::LoadOptions& options) override {
    auto embedding = DecoderAdapter::load_embedding(tower, source, options);
    if (!embedding.ok()) return embedding;
    return with_places(*std::move(embedding));
  }

 protected:
  absl::StatusOr<DecoderDescription> describe(const Value& config) const override {
    DecoderDescription d;
    d.vocab_size = 152064;
    d.hidden_size = 8192;
    d.intermediate_size = 29568;
    d.block_count = 80;
    d.heads = 64;
    d.kv_heads = 8;
    d.context_length = 32768;
    d.norm_eps = 1e-5;
    SWAGE_RETURN_IF_ERROR(read_decoder(config, d, 1000000.0));
    d.qkv_bias = true;
    return d;
  }

  absl::Status describe_block(const Value& config, int64_t index,
                              DecoderDescription& d) const override {
    const bool sliding = config.flag("use_sliding_window", false);
    const int64_t window = sliding ? window_size(config, 4096) : 0;
    const bool upper = index >= config.i64("max_window_layers", 80);
    SWAGE_ASSIGN_OR_RETURN(d.window, read_window(config, d.block_count, index, window, upper));
    return absl::OkStatus();
  }
};

}  // namespace

SWAGE_MODEL(QwenVl, "qwen_vl");
SWAGE_MODEL(Text, "qwen_vl_text");
