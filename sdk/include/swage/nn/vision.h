#pragma once
#include <memory>
#include <string>
#include <vector>

#include "swage/nn/decoder.h"

// Models that read images: a tower of vision blocks on patches, a projector from its features to
// the stream of the language model, and a language model that finds them at places of its own.
namespace swage::nn {

// From "pixel_values" [images, channels, height, width], put aside, to the stream of a vision
// tower (Dosovitskiy et al. 2021): a linear map of every patch, row by row, behind a class token
// where there is one, plus learned positions, and perhaps a norm. Each image is a sequence.
struct SWAGE_API PatchDescription {
  struct Names {  // whole tensor names; "" where a family has none
    std::string weight, bias, class_token, positions;
    std::string norm;  // module path
  } names;
  int64_t channels = 3, height = 0, width = 0;  // of an image
  int64_t patch_height = 0, patch_width = 0;
  int64_t hidden_size = 0;
  NormKind norm = NormKind::kLayer;
  double norm_eps = 1e-5;

  int64_t rows() const { return patch_height > 0 ? height / patch_height : 0; }
  int64_t columns() const { return patch_width > 0 ? width / patch_width : 0; }
};

// Between vision tower and projector: features are the outputs of some vision blocks, side by side.
struct SWAGE_API FeatureDescription {
  std::vector<int64_t> layers;  // 0: the input of block 0, n: the output of block n - 1
  bool drops_class = true;      // leaves the first token of each image out
  std::string norm;             // of the last block's output, where it is taken; "": none
  double norm_eps = 1e-6;
  int64_t shuffle =
      1;  // n: n x n neighbouring patches become one feature (InternVL's pixel shuffle)
  std::vector<std::string> unused;  // tensors that take no part, and are exported all the same
};

// norm(x) -> first -> activation -> second, without a residual stream; only `first` is needed.
struct SWAGE_API ProjectorDescription {
  std::string norm, first, second;  // module paths
  int64_t in = 0, middle = 0, out = 0;
  bool bias = true;
  Activation activation = Activation::kGelu;
  double norm_eps = 1e-5;
  bool writes_stream = true;  // features take places in the language model's stream
};

// Towers that take images of any size (Qwen2-VL, Wang et al. 2024). "pixel_values" [patches, values
// of a patch] hold patches in the order of their groups of merge x merge; "image_grid_thw" [images,
// 3] their number along time, height and width. Attention sees the patches of one image and time,
// in blocks outside of `whole_blocks` those of one window.
struct SWAGE_API GridDescription {
  int64_t temporal = 2;  // frames of a patch
  int64_t merge = 2;     // merge x merge patches become one feature
  int64_t window = 0;    // features of a window along each side; 0: none
  std::vector<int64_t> whole_blocks;
  std::string merge_norm;  // module; of patches, before they are merged
};
// int64 [features, 3]: place of a feature in its image along time, height and width; the
// projector's entrance leaves it.
inline constexpr std::string_view kCells = "tower.cells";

// The embedding of a language model whose positions have three axes (mrope): those of a feature are
// its place in the image (kCells), those of text equal and ascending. Puts kPlaces where there are
// images.
SWAGE_API std::unique_ptr<Embedding> with_places(std::unique_ptr<Embedding> embedding);

struct SWAGE_API VisionDescription {
  DecoderDescription blocks;  // of the vision tower; its `leaves` is set by the adapter below
  PatchDescription patches;
  FeatureDescription features;
  ProjectorDescription projector;
  std::shared_ptr<const GridDescription> grid;  // null: images of one size
  int64_t image_token = -1;                     // ModelShape::image_token
};

// Keys that most vision_config tables share: hidden_size, intermediate_size, num_hidden_layers,
// num_attention_heads, hidden_act, layer_norm_eps, image_size, patch_size (one number or two),
// num_channels; `d` holds the defaults. LayerNorm, biases everywhere, an MLP without gate.
SWAGE_API absl::Status read_vision(const Value& config, VisionDescription& d);

// A projector as a tower of one block: subsets "projector.input" and "projector.output".
SWAGE_API absl::StatusOr<std::unique_ptr<Block>> load_projector(
    const ProjectorDescription& description, const BlockId& id, const WeightSource& source,
    const LoadOptions& options);

// The towers "vision" and "projector" of a described model. The language tower is another
// adapter's: the manifest says where its config.json lies.
class SWAGE_API VisionAdapter : public ModelAdapter {
 public:
  absl::Status open(const Value& config) override;
  const ModelShape& shape() const override { return shape_; }
  absl::StatusOr<std::unique_ptr<Embedding>> load_embedding(const std::string& tower,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) override;
  absl::StatusOr<std::unique_ptr<Block>> load_block(const BlockId& id, const WeightSource& source,
                                                    const LoadOptions& options) override;
  // FailedPrecondition: there is no language tower here.
  absl::StatusOr<std::unique_ptr<Head>> load_head(const WeightSource& source,
                                                  const LoadOptions& options) override;
  std::string picture_text(const image::Inputs& picture, const std::string& token) const override;

 protected:
  virtual absl::StatusOr<VisionDescription> describe(const Value& config) const = 0;

 private:
  VisionDescription description_;
  ModelShape shape_;
};

}  // namespace swage::nn
