#pragma once
#include <memory>
#include <string>
#include <vector>

#include "swage/nn/decoder.h"

// Images in tiles that a language model looks at from blocks of its own, beside its stream (Llama
// 3.2 Vision, Grattafiori et al. 2024). The inputs of a sequence, all put aside, are those of
// transformers; a leading dimension of one is left out or not:
//   pixel_values          [images, tiles, channels, height, width], the first two apart or joined
//   aspect_ratio_ids      int64 [images]: the row of the tables, 0 where there is no image
//   aspect_ratio_mask     int64 [images, tiles]: 1 for tiles that the image fills; the first is one
//   cross_attention_mask  int64 [tokens, images, tiles]: 1 for the tiles that a token sees; without
//                         it every image is seen from its place in the ids up to the next image's,
//                         neighbours as one, the last one to the end
namespace swage::nn {

struct SWAGE_API TileDescription {
  struct Names {  // module paths; those of embeddings have `.embedding` and `.gate`
    std::string patches = "vision_model.patch_embedding";
    std::string class_token = "vision_model.class_embedding";
    std::string positions = "vision_model.gated_positional_embedding";
    std::string before = "vision_model.pre_tile_positional_embedding";
    std::string after = "vision_model.post_tile_positional_embedding";
    std::string norm_before = "vision_model.layernorm_pre";
    std::string norm_after = "vision_model.layernorm_post";
  } names;
  int64_t tiles = 4;  // of one image, absent ones included
  int64_t channels = 3, image_size = 448, patch_size = 14;
  int64_t aspect_ratios = 8;  // the tables have one row more
  int64_t hidden_size = 0;
  double norm_eps = 1e-5;
  std::vector<int64_t> layers;  // blocks whose outputs are features, beside the last one's

  int64_t side() const { return patch_size > 0 ? image_size / patch_size : 0; }
  int64_t tokens() const { return side() * side() + 1; }  // of a tile, its class token included
  int64_t padded() const { return (tokens() + 7) / 8 * 8; }
};

// The entrance of the vision tower: each image is a sequence of `tiles` times `padded` tokens.
// InvalidArgument: inputs of other shapes or values.
SWAGE_API absl::StatusOr<std::unique_ptr<Embedding>> load_tile_embedding(
    const TileDescription& description, const WeightSource& source, const LoadOptions& options);

// The block in front of which tiles are normalised and get their second embedding.
SWAGE_API absl::StatusOr<std::unique_ptr<Block>> load_global_block(
    const DecoderDescription& block, const TileDescription& description, const BlockId& id,
    const WeightSource& source, const LoadOptions& options);

// The entrance of the projector: of every token that is no padding the last block's output, then,
// channel by channel, those of `layers`.
SWAGE_API std::unique_ptr<Embedding> tile_features(const TileDescription& description);

// The slot in which the output of block `index` of the vision tower stays.
SWAGE_API std::string tile_layer(int64_t index);

// The entrance of a language tower that looks at tiles: kFeatures stays, and who sees which is put
// beside it. Without images it is `embedding`. InvalidArgument: masks or ids that do not fit them.
SWAGE_API std::unique_ptr<Embedding> with_sight(std::unique_ptr<Embedding> embedding,
                                                int64_t image_token);

// A block that looks at the features: h += tanh(g) o(attention(q(norm(h)), k(f), v(f))), without
// rotation, then h += tanh(g') mlp(norm(h)) where a token sees an image. Tokens that see none look
// at all of their sequence; those of sequences without images pass by. `description` is that of the
// model's other blocks with the names of this one; heads have norms. Subsets: "attention.input"
// (q), "attention.features" (k, v), "attention.output", "mlp.input", "mlp.output".
SWAGE_API absl::StatusOr<std::unique_ptr<Block>> load_cross_block(
    const DecoderDescription& description, const BlockId& id, const WeightSource& source,
    const LoadOptions& options);

}  // namespace swage::nn
