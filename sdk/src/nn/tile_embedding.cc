// Both ends of a vision tower that reads images in tiles.
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/stack.h>

#include "absl/strings/str_join.h"
#include "nn/block_reader.h"
#include "nn/tile_inputs.h"
#include "swage/nn/tiles.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kPixels = "pixel_values";
constexpr std::string_view kAspects = "tower.aspect_ratio_ids";  // int64 [images], put aside

// A row for each arrangement of tiles, times the tanh of one number.
struct GatedTable {
  Parameter *table = nullptr, *gate = nullptr;

  absl::Status load(BlockReader& reader, const std::string& table_name,
                    const std::string& gate_name, int64_t rows, int64_t width) {
    SWAGE_RETURN_IF_ERROR(reader.parameter(table_name, {rows, width}, &table));
    return reader.parameter(gate_name, {1}, &gate);
  }
  at::Tensor rows(const at::Tensor& index) const {
    return table->value.index_select(0, index) * gate->value.tanh();
  }
};

class TileEmbedding final : public Embedding {
 public:
  TileEmbedding(const TileDescription& description, const LoadOptions& options)
      : description_(description), options_(options) {}

  absl::Status load(const WeightSource& source) {
    const TileDescription& d = description_;
    const int64_t rows = d.aspect_ratios + 1, hidden = d.hidden_size;
    BlockReader reader(source, options_, "", nullptr, &parameters_);
    SWAGE_RETURN_IF_ERROR(reader.parameter(
        d.names.patches + ".weight", {hidden, d.channels, d.patch_size, d.patch_size}, &patches_));
    SWAGE_RETURN_IF_ERROR(reader.parameter(d.names.class_token, {hidden}, &class_token_));
    SWAGE_RETURN_IF_ERROR(
        reader.parameter(d.names.positions + ".embedding", {d.tokens(), hidden}, &positions_));
    SWAGE_RETURN_IF_ERROR(places_.load(reader, d.names.positions + ".tile_embedding.weight",
                                       d.names.positions + ".gate", rows,
                                       d.tiles * d.tokens() * hidden));
    SWAGE_RETURN_IF_ERROR(before_.load(reader, d.names.before + ".embedding.weight",
                                       d.names.before + ".gate", rows, d.tiles * hidden));
    return reader.norm(d.names.norm_before, NormKind::kLayer, d.norm_eps, hidden, &norm_);
  }

  absl::Status embed(Slots& slots) override {
    const TileDescription& d = description_;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor pixels, images(slots));
    const int64_t images = pixels.size(0), hidden = d.hidden_size;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor aspects, aspect_ratios(slots, images));
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor filled, filled_tiles(slots, images));
    at::Tensor x = affine(in_patches(pixels), patches_->value.flatten(1), {})
                       .view({images, d.tiles, d.side() * d.side(), hidden});
    x = x + before_.rows(aspects).view({images, d.tiles, 1, hidden});
    const at::Tensor classes =
        class_token_->value.view({1, 1, 1, hidden}).expand({images, d.tiles, 1, hidden});
    x = at::cat({classes, x}, 2) + (1 - places_.gate->value.tanh()) * positions_->value +
        places_.rows(aspects).view({images, d.tiles, d.tokens(), hidden});
    x = norm_.apply(x.reshape({-1, hidden})).view({images, d.tiles, d.tokens(), hidden});
    x = at::constant_pad_nd(x, {0, 0, 0, d.padded() - d.tokens()});
    at::Tensor absent = filled.eq(0).view({images, d.tiles, 1}).repeat({1, 1, d.padded()});
    absent.slice(2, d.tokens()).fill_(true);

    const int64_t tokens = d.tiles * d.padded();
    slots.lengths.assign(static_cast<size_t>(images), tokens);
    slots.positions = at::arange(tokens, at::kLong).repeat({images}).to(options_.device);
    slots[kHidden] = x.reshape({images * tokens, hidden});
    slots[kAbsent] = absent.flatten();
    slots.put_aside(kAspects, aspects);
    return absl::OkStatus();
  }

 private:
  // One row for each patch, tile by tile.
  at::Tensor in_patches(const at::Tensor& pixels) const {
    const TileDescription& d = description_;
    return pixels.view({-1, d.channels, d.side(), d.patch_size, d.side(), d.patch_size})
        .permute({0, 2, 4, 1, 3, 5})
        .reshape({pixels.size(0) * d.tiles * d.side() * d.side(), -1});
  }

  absl::StatusOr<at::Tensor> images(const Slots& slots) const {
    const TileDescription& d = description_;
    const std::vector<int64_t> tile = {d.channels, d.image_size, d.image_size};
    if (!slots.has(kPixels))
      return absl::InvalidArgumentError("a sequence with images lacks \"pixel_values\"");
    const at::Tensor& pixels = slots.at(kPixels);
    const bool fits = pixels.dim() > 3 && pixels.numel() > 0 &&
                      pixels.sizes().slice(pixels.dim() - 3) == c10::IntArrayRef(tile) &&
                      pixels.numel() % (d.tiles * c10::multiply_integers(tile)) == 0;
    if (!fits) {
      return absl::InvalidArgumentError(
          absl::StrCat("pixel_values is [", absl::StrJoin(pixels.sizes(), ", "),
                       "], expected [images, ", d.tiles, ", ", absl::StrJoin(tile, ", "), "]"));
    }
    return pixels.reshape({-1, d.tiles, d.channels, d.image_size, d.image_size})
        .to(options_.device, options_.compute);
  }

  absl::StatusOr<at::Tensor> aspect_ratios(const Slots& slots, int64_t images) const {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor ids, integers_of(slots, "aspect_ratio_ids", {images}));
    const at::Tensor good = ids.ge(0).logical_and(ids.le(description_.aspect_ratios));
    if (good.all().item<bool>()) return ids.to(options_.device);
    return absl::InvalidArgumentError(absl::StrCat(
        "aspect_ratio_ids holds a number outside of 0 to ", description_.aspect_ratios));
  }

  absl::StatusOr<at::Tensor> filled_tiles(const Slots& slots, int64_t images) const {
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor mask,
                           integers_of(slots, "aspect_ratio_mask", {images, description_.tiles}));
    if (mask.select(1, 0).ne(0).all().item<bool>()) return mask.to(options_.device);
    return absl::InvalidArgumentError("aspect_ratio_mask: the first tile of an image is absent");
  }

  const TileDescription description_;
  const LoadOptions options_;
  Parameter *patches_ = nullptr, *class_token_ = nullptr, *positions_ = nullptr;
  GatedTable places_, before_;
  Norm norm_;
};

// Another block with what stands in front of it.
class GlobalBlock final : public Block {
 public:
  GlobalBlock(std::unique_ptr<Block> block, const TileDescription& description)
      : Block(block->id()), block_(std::move(block)), description_(description) {
    linears_.swap(block_->linears());
    parameters_.swap(block_->parameters());
    subsets_ = block_->subsets();
  }

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    const TileDescription& d = description_;
    BlockReader reader(source, options, "", nullptr, &parameters_);
    SWAGE_RETURN_IF_ERROR(
        reader.norm(d.names.norm_after, NormKind::kLayer, d.norm_eps, d.hidden_size, &norm_));
    return after_.load(reader, d.names.after + ".embedding.weight", d.names.after + ".gate",
                       d.aspect_ratios + 1, d.tiles * d.hidden_size);
  }

  void run_stage(int64_t stage, Slots& slots) override {
    if (stage == 0) {
      const at::Tensor x = norm_.apply(slots.at(kHidden));
      const at::Tensor added = after_.rows(slots.at(kAspects));
      slots[kHidden] = (x.view({added.size(0), description_.tiles, -1, x.size(1)}) +
                        added.view({added.size(0), description_.tiles, 1, x.size(1)}))
                           .view_as(x);
    }
    block_->run_stage(stage, slots);
  }
  at::Tensor inspect(int64_t subset, const Slots& slots) override {
    return block_->inspect(subset, slots);
  }
  ResidualSites residual_sites() override { return block_->residual_sites(); }

 private:
  const std::unique_ptr<Block> block_;
  const TileDescription description_;
  Norm norm_;
  GatedTable after_;
};

class TileFeatures final : public Embedding {
 public:
  explicit TileFeatures(const TileDescription& description) : description_(description) {}

  absl::Status embed(Slots& slots) override {
    const auto images = static_cast<int64_t>(slots.lengths.size());
    const int64_t tokens = description_.tiles * description_.tokens();
    std::vector<at::Tensor> layers;
    for (const int64_t layer : description_.layers) layers.push_back(slots.at(tile_layer(layer)));
    at::Tensor x = without_padding(slots.at(kHidden));
    if (!layers.empty()) x = at::cat({x, without_padding(at::stack(layers, -1).flatten(1))}, 1);
    for (const int64_t layer : description_.layers) slots.erase(tile_layer(layer));
    slots.erase(kAbsent);
    slots.erase(kAspects);
    slots.lengths.assign(slots.lengths.size(), tokens);
    slots.positions = at::arange(tokens, at::kLong).repeat({images}).to(x.device());
    slots[kHidden] = x;
    return absl::OkStatus();
  }

 private:
  at::Tensor without_padding(const at::Tensor& x) const {
    return x.view({-1, description_.padded(), x.size(1)})
        .slice(1, 0, description_.tokens())
        .reshape({-1, x.size(1)});
  }

  const TileDescription description_;
};

}  // namespace

absl::StatusOr<at::Tensor> integers_of(const Slots& slots, const std::string& name,
                                       const std::vector<int64_t>& shape) {
  if (!slots.has(name))
    return absl::InvalidArgumentError(absl::StrCat("a sequence with images lacks \"", name, "\""));
  const at::Tensor& tensor = slots.at(name);
  const auto size = static_cast<int64_t>(shape.size());
  const int64_t more = tensor.dim() - size;
  const bool fits = at::isIntegralType(tensor.scalar_type(), true) && more >= 0 &&
                    tensor.sizes().slice(static_cast<size_t>(std::max<int64_t>(more, 0))) ==
                        c10::IntArrayRef(shape) &&
                    tensor.numel() == c10::multiply_integers(shape);
  if (fits) return tensor.reshape(shape).to(at::kLong);
  return absl::InvalidArgumentError(absl::StrCat(
      name, " is ", at::toString(tensor.scalar_type()), " [", absl::StrJoin(tensor.sizes(), ", "),
      "], expected integers [", absl::StrJoin(shape, ", "), "]"));
}

std::string tile_layer(int64_t index) {
  return absl::StrCat(absl::string_view(kTowerSlot.data(), kTowerSlot.size()), "layer.", index);
}

absl::StatusOr<std::unique_ptr<Embedding>> load_tile_embedding(const TileDescription& description,
                                                               const WeightSource& source,
                                                               const LoadOptions& options) {
  auto embedding = std::make_unique<TileEmbedding>(description, options);
  SWAGE_RETURN_IF_ERROR(embedding->load(source));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

absl::StatusOr<std::unique_ptr<Block>> load_global_block(const DecoderDescription& block,
                                                         const TileDescription& description,
                                                         const BlockId& id,
                                                         const WeightSource& source,
                                                         const LoadOptions& options) {
  SWAGE_ASSIGN_OR_RETURN(auto inner, load_decoder_block(block, id, source, options));
  auto global = std::make_unique<GlobalBlock>(std::move(inner), description);
  SWAGE_RETURN_IF_ERROR(global->load(source, options));
  return std::unique_ptr<Block>(std::move(global));
}

std::unique_ptr<Embedding> tile_features(const TileDescription& description) {
  return std::make_unique<TileFeatures>(description);
}

}  // namespace swage::nn
