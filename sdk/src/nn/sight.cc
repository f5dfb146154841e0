// Which tiles of its images each token of a sequence sees.
#include <ATen/ops/unique_dim.h>

#include "nn/embedding_around.h"
#include "nn/tile_inputs.h"
#include "swage/nn/tiles.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kMask = "cross_attention_mask";
constexpr const char* kFilled = "aspect_ratio_mask";

class SightEmbedding final : public EmbeddingAround {
 public:
  SightEmbedding(std::unique_ptr<Embedding> embedding, int64_t image_token)
      : EmbeddingAround(std::move(embedding)), image_token_(image_token) {}

  absl::Status embed(Slots& slots) override {
    SWAGE_RETURN_IF_ERROR(embedding_->embed(slots));
    if (!slots.has(kFeatures)) return absl::OkStatus();
    if (slots.lengths.size() != 1)
      return absl::InvalidArgumentError("images belong to one sequence of a micro-batch");
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor mask, tiles_seen(slots));
    const int64_t features = slots.at(kFeatures).size(0), tiles = mask.size(1);
    if (tiles == 0 || features % tiles != 0) {
      return absl::InvalidArgumentError(absl::StrCat("the images of a sequence make ", features,
                                                     " features, its masks speak of ", tiles,
                                                     " tiles"));
    }
    const auto [rows, row_of_token, counts] = at::unique_dim(mask, 0, true, true);
    const at::Tensor blind = rows.any(1).logical_not();
    const at::Device device = slots.at(kFeatures).device();
    slots[kSight] =
        at::stack({row_of_token, blind.logical_not().to(at::kLong).index_select(0, row_of_token)},
                  1)
            .to(device);
    // A token that sees nothing looks at everything, and its MLP does nothing.
    const at::Tensor table =
        rows.logical_or(blind.unsqueeze(1)).repeat_interleave(features / tiles, 1);
    slots.put_aside(kSightTables, table.flatten().to(device));
    slots.put_aside(kSightSizes, at::tensor({table.size(0), features}, at::kLong).view({1, 2}));
    return absl::OkStatus();
  }

 private:
  // bool [tokens, tiles of all images].
  absl::StatusOr<at::Tensor> tiles_seen(const Slots& slots) const {
    if (!slots.has(kFilled))
      return absl::InvalidArgumentError("a sequence with images lacks \"aspect_ratio_mask\"");
    const at::Tensor& given = slots.at(kFilled);
    if (given.dim() < 1) return absl::InvalidArgumentError("aspect_ratio_mask is one number");
    const int64_t tiles = given.size(-1), images = tiles > 0 ? given.numel() / tiles : 0;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor filled, integers_of(slots, kFilled, {images, tiles}));
    const int64_t tokens = slots.tokens();
    if (slots.has(kMask)) {
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor mask,
                             integers_of(slots, kMask, {tokens, images, tiles}));
      return mask.ne(0).view({tokens, images * tiles}).to(at::kCPU);
    }
    const at::Tensor places =
        slots.at(kIds).eq(image_token_).nonzero().flatten().to(at::kCPU, at::kLong).contiguous();
    if (places.size(0) != images) {
      return absl::InvalidArgumentError(absl::StrCat("a sequence has ", images,
                                                     " images, but its ids hold the image token ",
                                                     image_token_, " ", places.size(0), " times"));
    }
    const auto* place = places.const_data_ptr<int64_t>();
    at::Tensor mask = at::zeros({tokens, images, tiles}, at::kBool);
    // From the last to the first: images without text between them are seen together.
    int64_t end = tokens;
    for (int64_t i = images - 1; i >= 0; --i) {
      const int64_t next = i + 1 < images ? place[i + 1] : tokens;
      if (next != place[i] + 1) end = next;
      mask.slice(0, place[i], end).select(1, i).copy_(filled[i].ne(0));
    }
    return mask.view({tokens, images * tiles});
  }

  const int64_t image_token_;
};

}  // namespace

std::unique_ptr<Embedding> with_sight(std::unique_ptr<Embedding> embedding, int64_t image_token) {
  return std::make_unique<SightEmbedding>(std::move(embedding), image_token);
}

}  // namespace swage::nn
