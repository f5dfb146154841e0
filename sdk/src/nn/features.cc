#include "swage/nn/features.h"

#include <ATen/ops/where.h>

#include "nn/embedding_around.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

class FeatureEmbedding final : public EmbeddingAround {
 public:
  FeatureEmbedding(std::unique_ptr<Embedding> embedding, int64_t image_token)
      : EmbeddingAround(std::move(embedding)), image_token_(image_token) {}

  absl::Status embed(Slots& slots) override {
    const at::Tensor places = slots.at(kIds).eq(image_token_);
    const at::Tensor rows = places.nonzero().flatten();
    const int64_t features = slots.has(kFeatures) ? slots.at(kFeatures).size(0) : 0;
    if (slots.has(kFeatures) && rows.size(0) != features) {
      return absl::InvalidArgumentError(absl::StrCat("the images of a sequence make ", features,
                                                     " features, but its ids hold the image token ",
                                                     image_token_, " ", rows.size(0), " times"));
    }
    // An id of images need not be one of the table's.
    if (features > 0) {
      slots[kIds] = slots.at(kIds).masked_fill(places, 0);
      lay_out(rows, slots);
      slots.put_aside(kFeatureRows, rows);
    }
    SWAGE_RETURN_IF_ERROR(embedding_->embed(slots));
    if (!slots.has(kFeatureRows)) return absl::OkStatus();
    slots.erase(kFeatureRows);
    const at::Tensor& hidden = slots.at(kHidden);
    slots[kHidden] = hidden.index_copy(0, rows.to(hidden.device()),
                                       slots.take(kFeatures).to(hidden.scalar_type()));
    return absl::OkStatus();
  }

  static void lay_out(const at::Tensor& rows, Slots& slots) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : slots.tensors()) {
      const bool left = is_of_tower(name) && slots.is_aside(name) && name != kFeatures;
      if (left && tensor.size(0) == rows.size(0)) names.push_back(name);
    }
    for (const std::string& name : names) {
      const at::Tensor tensor = slots.take(name);
      std::vector<int64_t> shape = tensor.sizes().vec();
      shape[0] = slots.tokens();
      slots[name] =
          at::full(shape, -1, tensor.options()).index_copy(0, rows.to(tensor.device()), tensor);
    }
  }

 private:
  const int64_t image_token_;
};

}  // namespace

std::unique_ptr<Embedding> with_features(std::unique_ptr<Embedding> embedding,
                                         int64_t image_token) {
  return std::make_unique<FeatureEmbedding>(std::move(embedding), image_token);
}

}  // namespace swage::nn
