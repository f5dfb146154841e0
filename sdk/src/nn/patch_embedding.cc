#include "nn/patch_embedding.h"

#include "absl/strings/str_join.h"
#include "nn/block_reader.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kPixels = "pixel_values";

class PatchEmbedding final : public Embedding {
 public:
  PatchEmbedding(const PatchDescription& description, bool leaves_input, const LoadOptions& options)
      : description_(description), leaves_input_(leaves_input), options_(options) {}

  absl::Status load(const WeightSource& source) {
    const PatchDescription& d = description_;
    BlockReader reader(source, options_, "", nullptr, &parameters_);
    SWAGE_RETURN_IF_ERROR(reader.parameter(
        d.names.weight, {d.hidden_size, d.channels, d.patch_height, d.patch_width}, &weight_));
    if (!d.names.bias.empty())
      SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.bias, {d.hidden_size}, &bias_));
    int64_t tokens = d.rows() * d.columns();
    if (!d.names.class_token.empty()) {
      SWAGE_RETURN_IF_ERROR(read_row(source, reader, d.names.class_token, 1, &class_token_));
      ++tokens;
    }
    if (!d.names.positions.empty())
      SWAGE_RETURN_IF_ERROR(read_row(source, reader, d.names.positions, tokens, &positions_));
    if (d.names.norm.empty()) return absl::OkStatus();
    return reader.norm(d.names.norm, d.norm, d.norm_eps, d.hidden_size, &norm_);
  }

  absl::Status embed(Slots& slots) override {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor pixels, images(slots));
    const PatchDescription& d = description_;
    const int64_t count = pixels.size(0), hidden = d.hidden_size;
    const at::Tensor patches =
        pixels.view({count, d.channels, d.rows(), d.patch_height, d.columns(), d.patch_width})
            .permute({0, 2, 4, 1, 3, 5})
            .reshape({count * d.rows() * d.columns(), -1});
    at::Tensor x =
        affine(patches, weight_->value.flatten(1), bias_ != nullptr ? bias_->value : at::Tensor())
            .view({count, -1, hidden});
    if (class_token_ != nullptr)
      x = at::cat({class_token_->value.view({1, 1, hidden}).expand({count, 1, hidden}), x}, 1);
    if (positions_ != nullptr) x = x + positions_->value.view({1, -1, hidden});
    const int64_t tokens = x.size(1);
    x = x.reshape({count * tokens, hidden});
    if (norm_.present) x = norm_.apply(x);
    slots.lengths.assign(static_cast<size_t>(count), tokens);
    slots.positions = at::arange(tokens, at::kLong).repeat({count}).to(options_.device);
    slots[kHidden] = x;
    if (leaves_input_) slots[layer_slot(0)] = x;
    return absl::OkStatus();
  }

 private:
  // [count, hidden], with or without dimensions of one in front of it.
  absl::Status read_row(const WeightSource& source, BlockReader& reader, const std::string& name,
                        int64_t count, Parameter** slot) {
    SWAGE_ASSIGN_OR_RETURN(std::vector<int64_t> shape, source.shape(name));
    int64_t elements = 1;
    for (const int64_t size : shape) elements *= size;
    if (elements != count * description_.hidden_size || shape.back() != description_.hidden_size)
      shape = {count, description_.hidden_size};  // the reader names what differs
    return reader.parameter(name, shape, slot);
  }

  absl::StatusOr<at::Tensor> images(const Slots& slots) const {
    const PatchDescription& d = description_;
    const std::vector<int64_t> image = {d.channels, d.height, d.width};
    if (!slots.has(kPixels))
      return absl::InvalidArgumentError("a sequence with images lacks \"pixel_values\"");
    const at::Tensor& pixels = slots.at(kPixels);
    if (pixels.dim() < 3 || pixels.sizes().slice(pixels.dim() - 3) != c10::IntArrayRef(image)) {
      return absl::InvalidArgumentError(
          absl::StrCat("pixel_values is [", absl::StrJoin(pixels.sizes(), ", "),
                       "], expected [images, ", absl::StrJoin(image, ", "), "]"));
    }
    return pixels.reshape({-1, d.channels, d.height, d.width})
        .to(options_.device, options_.compute);
  }

  const PatchDescription description_;
  const bool leaves_input_;
  const LoadOptions options_;
  Parameter *weight_ = nullptr, *bias_ = nullptr, *class_token_ = nullptr, *positions_ = nullptr;
  Norm norm_;
};

class FeatureSelection final : public Embedding {
 public:
  explicit FeatureSelection(const VisionDescription& description)
      : features_(description.features),
        patches_(description.patches),
        block_count_(description.blocks.block_count) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    BlockReader reader(source, options, "", nullptr, &parameters_);
    if (!features_.norm.empty()) {
      SWAGE_RETURN_IF_ERROR(reader.norm(features_.norm, NormKind::kLayer, features_.norm_eps,
                                        patches_.hidden_size, &norm_));
    }
    for (const std::string& name : features_.unused) {
      if (!source.has(name)) continue;
      SWAGE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, source.shape(name));
      Parameter* unused = nullptr;
      SWAGE_RETURN_IF_ERROR(reader.parameter(name, shape, &unused));
    }
    return absl::OkStatus();
  }

  absl::Status embed(Slots& slots) override {
    std::vector<at::Tensor> columns;
    for (const int64_t layer : features_.layers) {
      const bool last = layer == block_count_;
      at::Tensor x = slots.at(last ? std::string(kHidden) : layer_slot(layer));
      if (last && norm_.present) x = norm_.apply(x);
      columns.push_back(arranged(x, static_cast<int64_t>(slots.lengths.size())));
    }
    const auto images = static_cast<int64_t>(slots.lengths.size());
    const at::Tensor x = columns.size() == 1 ? columns.front() : at::cat(columns, 1);
    for (const int64_t layer : features_.layers) slots.erase(layer_slot(layer));
    slots.lengths.assign(slots.lengths.size(), x.size(0) / images);
    slots.positions = at::arange(x.size(0) / images, at::kLong).repeat({images}).to(x.device());
    slots[kHidden] = x;
    return absl::OkStatus();
  }

 private:
  // Of one layer, [features, width]: without class tokens, patches shuffled.
  at::Tensor arranged(at::Tensor x, int64_t images) const {
    const int64_t hidden = x.size(1), n = features_.shuffle;
    x = x.view({images, -1, hidden});
    if (features_.drops_class) x = x.slice(1, 1);
    if (n == 1) return x.reshape({-1, hidden});
    const int64_t rows = patches_.rows() / n, columns = patches_.columns() / n;
    return x.reshape({images, rows, n, columns, n, hidden})
        .permute({0, 1, 3, 2, 4, 5})
        .reshape({images * rows * columns, n * n * hidden});
  }

  const FeatureDescription features_;
  const PatchDescription patches_;
  const int64_t block_count_;
  Norm norm_;
};

}  // namespace

std::string layer_slot(int64_t layer) {
  return absl::StrCat(absl::string_view(kTowerSlot.data(), kTowerSlot.size()), "layer.", layer);
}

absl::StatusOr<std::unique_ptr<Embedding>> load_patch_embedding(const PatchDescription& description,
                                                                bool leaves_input,
                                                                const WeightSource& source,
                                                                const LoadOptions& options) {
  auto embedding = std::make_unique<PatchEmbedding>(description, leaves_input, options);
  SWAGE_RETURN_IF_ERROR(embedding->load(source));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

absl::StatusOr<std::unique_ptr<Embedding>> load_feature_selection(
    const VisionDescription& description, const WeightSource& source, const LoadOptions& options) {
  auto embedding = std::make_unique<FeatureSelection>(description);
  SWAGE_RETURN_IF_ERROR(embedding->load(source, options));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

}  // namespace swage::nn
