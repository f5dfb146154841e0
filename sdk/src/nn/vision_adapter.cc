// The adapter of a described vision tower and its projector, and what their config.json share.
#include <algorithm>

#include "nn/grid_embedding.h"
#include "nn/patch_embedding.h"
#include "swage/nn/vision.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kVision = "vision";
constexpr const char* kProjector = "projector";

// One number for both, or [height, width].
absl::Status read_size(const Value& config, const char* key, int64_t* height, int64_t* width) {
  const Value::List* const both = config[key].list();
  if (both == nullptr) {
    *height = *width = config.i64(key, *height);
    return absl::OkStatus();
  }
  if (both->size() != 2 || both->front().integer() == nullptr || both->back().integer() == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: ", key, " must be a number or two"));
  *height = *both->front().integer();
  *width = *both->back().integer();
  return absl::OkStatus();
}

constexpr int64_t kLargestSize = int64_t{1} << 20;

absl::Status check_sizes(const VisionDescription& d) {
  const PatchDescription& p = d.patches;
  const bool grid = d.grid != nullptr;
  const std::pair<const char*, int64_t> sizes[] = {
      {"hidden_size", p.hidden_size},
      {"intermediate_size", d.blocks.intermediate_size},
      {"num_hidden_layers", d.blocks.block_count},
      {"num_attention_heads", d.blocks.heads},
      {"num_channels", p.channels},
      {"patch_size", p.patch_height},
      {"patch_size", p.patch_width},
      {"image_size", grid ? 1 : p.height},
      {"image_size", grid ? 1 : p.width},
      {"spatial_merge_size", grid ? d.grid->merge : 1},
      {"temporal_patch_size", grid ? d.grid->temporal : 1}};
  for (const auto& [key, value] : sizes) {
    if (value > 0 && value <= kLargestSize) continue;
    return absl::InvalidArgumentError(absl::StrCat("config.json: vision_config.", key, " is ",
                                                   value, ", expected 1 to ", kLargestSize));
  }
  if (grid) return absl::OkStatus();
  if (p.rows() == 0 || p.columns() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: vision_config.image_size ", p.height, " x ", p.width,
                     " is below patch_size ", p.patch_height, " x ", p.patch_width));
  }
  const int64_t n = d.features.shuffle;
  if (n < 1 || p.rows() % n != 0 || p.columns() % n != 0) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: ", p.rows(), " x ", p.columns(),
                                                   " patches cannot be joined ", n, " x ", n));
  }
  for (const int64_t layer : d.features.layers) {
    if (layer >= 0 && layer <= d.blocks.block_count) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "config.json: vision_feature_layer asks for layer ", layer, " of ", d.blocks.block_count));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status read_vision(const Value& config, VisionDescription& d) {
  DecoderDescription& blocks = d.blocks;
  blocks.norm = NormKind::kLayer;
  blocks.causal = blocks.gated = false;
  blocks.qkv_bias = blocks.o_bias = blocks.mlp_bias = true;
  blocks.names.prefix = "";
  blocks.hidden_size = config.i64("hidden_size", blocks.hidden_size);
  blocks.intermediate_size = config.i64("intermediate_size", blocks.intermediate_size);
  blocks.block_count = config.i64("num_hidden_layers", blocks.block_count);
  blocks.heads = blocks.kv_heads = config.i64("num_attention_heads", blocks.heads);
  blocks.norm_eps = config.f64("layer_norm_eps", blocks.norm_eps);
  if (config.has("hidden_act")) {
    SWAGE_ASSIGN_OR_RETURN(blocks.activation, parse_activation(config.str("hidden_act", "")));
  }
  if (blocks.heads <= 0 || blocks.hidden_size <= 0 || blocks.hidden_size > kLargestSize ||
      blocks.hidden_size % blocks.heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: vision_config.hidden_size ", blocks.hidden_size,
                     " is no positive multiple of num_attention_heads ", blocks.heads));
  }
  blocks.head_dim = blocks.hidden_size / blocks.heads;
  PatchDescription& patches = d.patches;
  patches.hidden_size = blocks.hidden_size;
  patches.norm_eps = blocks.norm_eps;
  patches.channels = config.i64("num_channels", patches.channels);
  SWAGE_RETURN_IF_ERROR(read_size(config, "image_size", &patches.height, &patches.width));
  return read_size(config, "patch_size", &patches.patch_height, &patches.patch_width);
}

absl::Status VisionAdapter::open(const Value& config) {
  SWAGE_ASSIGN_OR_RETURN(description_, describe(config));
  SWAGE_RETURN_IF_ERROR(check_sizes(description_));
  shape_.towers = {{kVision, description_.blocks.block_count}, {kProjector, 1}};
  shape_.image_token = description_.image_token;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Embedding>> VisionAdapter::load_embedding(
    const std::string& tower, const WeightSource& source, const LoadOptions& options) {
  const bool projector = tower == kProjector;
  if (description_.grid)
    return projector ? load_grid_merger(description_, source, options)
                     : load_grid_embedding(description_, source, options);
  if (projector) return load_feature_selection(description_, source, options);
  const std::vector<int64_t>& layers = description_.features.layers;
  const bool leaves_input = std::count(layers.begin(), layers.end(), 0) > 0;
  return load_patch_embedding(description_.patches, leaves_input, source, options);
}

absl::StatusOr<std::unique_ptr<Block>> VisionAdapter::load_block(const BlockId& id,
                                                                 const WeightSource& source,
                                                                 const LoadOptions& options) {
  if (id.tower == kProjector) return load_projector(description_.projector, id, source, options);
  DecoderDescription block = description_.blocks;
  const std::vector<int64_t>& layers = description_.features.layers;
  const int64_t layer = id.index + 1;
  if (layer < block.block_count && std::count(layers.begin(), layers.end(), layer) > 0)
    block.leaves = layer_slot(layer);
  if (const GridDescription* const grid = description_.grid.get()) {
    const std::vector<int64_t>& whole = grid->whole_blocks;
    block.segmented = grid->window > 0 && std::count(whole.begin(), whole.end(), id.index) == 0;
  }
  return load_decoder_block(block, id, source, options);
}

std::string VisionAdapter::picture_text(const image::Inputs& picture,
                                        const std::string& token) const {
  int64_t features = 0;
  if (description_.grid) {
    const int64_t merge = description_.grid->merge;
    features = picture.at("image_grid_thw").prod().item<int64_t>() / (merge * merge);
  } else {
    const PatchDescription& p = description_.patches;
    const int64_t shuffle = description_.features.shuffle;
    const bool keeps_class = !description_.features.drops_class && !p.names.class_token.empty();
    const int64_t of_each =
        p.rows() * p.columns() / (shuffle * shuffle) + (keeps_class ? 1 : 0) -
        (description_.features.drops_class && p.names.class_token.empty() ? 1 : 0);
    features = of_each * picture.at("pixel_values").numel() / (p.channels * p.height * p.width);
  }
  std::string text;
  for (int64_t i = 0; i < features; ++i) text += token;
  return text;
}

absl::StatusOr<std::unique_ptr<Head>> VisionAdapter::load_head(const WeightSource& source,
                                                               const LoadOptions& options) {
  return absl::FailedPreconditionError("towers of images have no head; the language model's has");
}

}  // namespace swage::nn
