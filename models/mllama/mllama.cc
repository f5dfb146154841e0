// Llama 3.2 Vision: a tower of blocks within and between the tiles of an image, one projector, and
// a Llama of which some blocks look at what comes out of it (Grattafiori et al. 2024).
#include "swage/image/processor.h"
#include "swage/nn/tiles.h"
#include "swage/nn/vision.h"
#include "swage/register.h"
#include "text.h"

namespace {

using namespace swage;
using namespace swage::nn;
using namespace swage::mllama;

constexpr const char* kVisionModel = "vision_model.";

// `indices` where the key is absent.
absl::StatusOr<std::vector<int64_t>> read_indices(const Value& config, const std::string& key,
                                                  std::vector<int64_t> indices, int64_t count) {
  const Value::List* const list = config[key].list();
  if (config.has(key)) indices.assign(list != nullptr ? list->size() : 1, -1);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i)
    if ((*list)[i].integer() != nullptr) indices[i] = *(*list)[i].integer();
  for (const int64_t index : indices) {
    if (index >= 0 && index < count) continue;
    return absl::InvalidArgumentError("config.json: " + key + " must be numbers from 0 to " +
                                      std::to_string(count - 1));
  }
  return indices;
}

class Mllama final : public ModelAdapter {
 public:
  absl::Status open(const Value& config) override {
    Value text =
        config["text_config"].table() != nullptr ? config["text_config"] : Value(Value::Table{});
    if (config.has("quantization_config"))
      (*text.table())["quantization_config"] = config["quantization_config"];
    SWAGE_RETURN_IF_ERROR(text_.open(text));
    SWAGE_ASSIGN_OR_RETURN(description_, describe_text(text));
    SWAGE_ASSIGN_OR_RETURN(
        cross_layers_, read_indices(text, "cross_attention_layers", {3, 8, 13, 18, 23, 28, 33, 38},
                                    description_.block_count));
    SWAGE_RETURN_IF_ERROR(open_vision(config["vision_config"]));
    shape_ = text_.shape();
    shape_.towers.insert(shape_.towers.begin(),
                         {{"vision", local_blocks_ + global_blocks_}, {"projector", 1}});
    shape_.image_token = config.i64("image_token_index", 128256);
    return absl::OkStatus();
  }
  const ModelShape& shape() const override { return shape_; }

  absl::StatusOr<std::unique_ptr<image::Processor>> load_processor(
      const Value& config) const override {
    return image::mllama_processor(config);
  }

  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override {
    if (tower == "vision") return load_tile_embedding(tiles_, source, options);
    if (tower == "projector") return tile_features(tiles_);
    DecoderDescription table = description_;
    table.vocab_size += kMoreEmbeddings;
    SWAGE_ASSIGN_OR_RETURN(auto embedding, load_decoder_embedding(table, source, options));
    return with_sight(std::move(embedding), shape_.image_token);
  }

  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override {
    if (id.tower == "vision") return load_vision_block(id, source, options);
    if (id.tower == "projector") return load_projector(projector_, id, source, options);
    if (std::count(cross_layers_.begin(), cross_layers_.end(), id.index) > 0)
      return load_cross_block(looking(description_), id, source, options);
    return text_.load_block(id, source, options);
  }

  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override {
    return text_.load_head(source, options);
  }

 private:
  absl::Status open_vision(const Value& config) {
    VisionDescription d;
    d.blocks.hidden_size = 1280;
    d.blocks.intermediate_size = 5120;
    d.blocks.block_count = 32;
    d.blocks.heads = 16;
    d.blocks.activation = Activation::kGelu;
    d.blocks.norm_eps = 1e-5;
    d.patches.height = d.patches.width = 448;
    d.patches.patch_height = d.patches.patch_width = 14;
    SWAGE_RETURN_IF_ERROR(read_vision(renamed(config, {{"attention_heads", "num_attention_heads"},
                                                       {"norm_eps", "layer_norm_eps"}}),
                                      d));
    local_blocks_ = d.blocks.block_count;
    global_blocks_ = config.i64("num_global_layers", 8);
    vision_ = d.blocks;
    vision_.qkv_bias = vision_.o_bias = false;
    vision_.absent_apart = true;
    vision_.names.o = "self_attn.o_proj";
    vision_.names.up = "mlp.fc1";
    vision_.names.down = "mlp.fc2";
    tiles_.tiles = config.i64("max_num_tiles", 4);
    tiles_.channels = d.patches.channels;
    tiles_.image_size = d.patches.height;
    tiles_.patch_size = d.patches.patch_height;
    if (const Value::List* const ratios = config["supported_aspect_ratios"].list())
      tiles_.aspect_ratios = static_cast<int64_t>(ratios->size());
    tiles_.hidden_size = d.blocks.hidden_size;
    SWAGE_ASSIGN_OR_RETURN(tiles_.layers, read_indices(config, "intermediate_layers_indices",
                                                       {3, 7, 15, 23, 30}, local_blocks_));
    projector_.first = "multi_modal_projector";
    projector_.in = config.i64("vision_output_dim", 7680);
    projector_.out = description_.hidden_size;
    projector_.writes_stream = false;
    return check_vision(d.patches);
  }

  absl::Status check_vision(const PatchDescription& patches) const {
    const int64_t most = int64_t{1} << 20;
    const std::pair<const char*, bool> rules[] = {
        {"num_hidden_layers", local_blocks_ > 0 && local_blocks_ < most},
        {"num_global_layers", global_blocks_ > 0 && global_blocks_ < most},
        {"intermediate_size", vision_.intermediate_size > 0 && vision_.intermediate_size < most},
        {"max_num_tiles", tiles_.tiles > 0 && tiles_.tiles < most},
        {"num_channels", tiles_.channels > 0 && tiles_.channels < most},
        {"patch_size", tiles_.patch_size > 0 && patches.patch_height == patches.patch_width},
        {"image_size", tiles_.image_size < most && tiles_.side() > 0 &&
                           tiles_.image_size % tiles_.patch_size == 0 &&
                           patches.height == patches.width},
        {"vision_output_dim",
         projector_.in == vision_.hidden_size * (1 + static_cast<int64_t>(tiles_.layers.size()))}};
    for (const auto& [key, fits] : rules) {
      if (fits) continue;
      return absl::InvalidArgumentError(std::string("config.json: vision_config.") + key +
                                        " does not fit the other sizes");
    }
    return absl::OkStatus();
  }

  // Blocks of `transformer`, then of `global_transformer`.
  absl::StatusOr<std::unique_ptr<Block>> load_vision_block(const BlockId& id,
                                                           const WeightSource& source,
                                                           const LoadOptions& options) const {
    DecoderDescription d = vision_;
    const int64_t global = id.index - local_blocks_;
    if (global < 0) {
      d.names.blocks = std::string(kVisionModel) + "transformer.layers";
      if (std::count(tiles_.layers.begin(), tiles_.layers.end(), id.index) > 0)
        d.leaves = tile_layer(id.index);
      return load_decoder_block(d, id, source, options);
    }
    d.names.block =
        std::string(kVisionModel) + "global_transformer.layers." + std::to_string(global);
    d.output_scale = OutputScale::kTanhGate;
    d.names.attention_scale = "gate_attn";
    d.names.mlp_scale = "gate_ffn";
    return global == 0 ? load_global_block(d, tiles_, id, source, options)
                       : load_decoder_block(d, id, source, options);
  }

  Text text_;
  DecoderDescription description_, vision_;
  std::vector<int64_t> cross_layers_;
  TileDescription tiles_;
  ProjectorDescription projector_;
  int64_t local_blocks_ = 0, global_blocks_ = 0;
  ModelShape shape_;
};

}  // namespace

SWAGE_MODEL(Mllama, "mllama");
