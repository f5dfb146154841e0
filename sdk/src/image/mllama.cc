// Llama 3.2 Vision: up to four tiles of one canvas.
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "image/settings.h"
#include "swage/image/processor.h"
#include "swage/status.h"

namespace swage::image {
namespace {

struct Settings {
  int64_t tile, most_tiles;
  Filter filter;
  Values values;
};

// How tiles can lie, in rows and columns. Their place in the list, from 1, is the aspect_ratio_id.
std::vector<Size> arrangements(int64_t most_tiles) {
  std::vector<Size> result;
  for (int64_t rows = 1; rows <= most_tiles; ++rows) {
    for (int64_t columns = 1; rows * columns <= most_tiles; ++columns)
      result.push_back({rows, columns});
  }
  return result;
}

class MllamaProcessor final : public Processor {
 public:
  explicit MllamaProcessor(Settings settings)
      : settings_(std::move(settings)), arrangements_(arrangements(settings_.most_tiles)) {}

  absl::StatusOr<Inputs> process(const at::Tensor& rgb) const override {
    SWAGE_RETURN_IF_ERROR(check_picture(rgb));
    const int64_t tile = settings_.tile;
    const size_t chosen = choose(rgb.size(0), rgb.size(1));
    const auto [rows, columns] = arrangements_[chosen];
    const Size size = fitted(rgb.size(0), rgb.size(1), {rows * tile, columns * tile});
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor picture,
                           image::resize(rgb, size.height, size.width, settings_.filter));
    // Black before values are normalized, to the right and below.
    at::Tensor canvas = at::zeros({rows * tile, columns * tile, 3}, at::kByte);
    canvas.narrow(0, 0, size.height).narrow(1, 0, size.width).copy_(picture);

    at::Tensor tiles = at::zeros({settings_.most_tiles, 3, tile, tile}, at::kFloat);
    tiles.narrow(0, 0, rows * columns)
        .view({rows, columns, 3, tile, tile})
        .copy_(settings_.values.apply(canvas)
                   .view({3, rows, tile, columns, tile})
                   .permute({1, 3, 0, 2, 4}));
    at::Tensor mask = at::zeros({1, settings_.most_tiles}, at::kLong);
    mask.narrow(1, 0, rows * columns).fill_(1);
    return Inputs{{"pixel_values", tiles},
                  {"aspect_ratio_ids", at::tensor({static_cast<int64_t>(chosen) + 1})},
                  {"aspect_ratio_mask", mask},
                  {"num_tiles", at::tensor({rows * columns})}};
  }

 private:
  // The canvas that enlarges the picture least, else the one that shrinks it least; among those the
  // smallest, the first of the list.
  size_t choose(int64_t height, int64_t width) const {
    size_t best = 0;
    double best_scale = 0.0;
    for (size_t i = 0; i < arrangements_.size(); ++i) {
      const auto [rows, columns] = arrangements_[i];
      const double scale =
          std::min(static_cast<double>(rows * settings_.tile) / static_cast<double>(height),
                   static_cast<double>(columns * settings_.tile) / static_cast<double>(width));
      const int64_t area = rows * columns;
      const int64_t best_area = arrangements_[best].height * arrangements_[best].width;
      const bool first = i == 0;
      const bool nearer = best_scale >= 1 ? scale >= 1 && scale < best_scale : scale > best_scale;
      if (first || nearer || (scale == best_scale && area < best_area)) {
        best = i;
        best_scale = scale;
      }
    }
    return best;
  }

  // A small picture grows to one tile at most, a large one shrinks to the canvas.
  Size fitted(int64_t height, int64_t width, Size canvas) const {
    const int64_t target_h = std::clamp(height, settings_.tile, canvas.height);
    const int64_t target_w = std::clamp(width, settings_.tile, canvas.width);
    const double h = static_cast<double>(height), w = static_cast<double>(width);
    const double scale_h = static_cast<double>(target_h) / h;
    const double scale_w = static_cast<double>(target_w) / w;
    const auto scaled = [](double side, double scale, int64_t most) {
      return std::clamp<int64_t>(static_cast<int64_t>(side * scale), 1, most);
    };
    if (scale_w < scale_h) return {scaled(h, scale_w, target_h), target_w};
    return {target_h, scaled(w, scale_h, target_w)};
  }

  Settings settings_;
  std::vector<Size> arrangements_;
};

absl::StatusOr<std::unique_ptr<Processor>> make(const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_kind(config, {"MllamaImageProcessor"}));
  for (const char* key : {"do_resize", "do_pad"}) {
    if (!config.flag(key, true))
      return absl::InvalidArgumentError(
          absl::StrCat(key, " = false is not served, nor does transformers"));
  }
  Settings settings{};
  SWAGE_ASSIGN_OR_RETURN(const Size size, read_size(config, "size", {224, 224}));
  if (size.height != size.width) {
    return absl::InvalidArgumentError(
        absl::StrCat("size is ", size.height, " x ", size.width, ", expected a square tile"));
  }
  settings.tile = size.height;
  SWAGE_ASSIGN_OR_RETURN(settings.most_tiles, read_count(config, "max_image_tiles", 4, 1, 64));
  SWAGE_ASSIGN_OR_RETURN(settings.filter, read_filter(config, Filter::kBilinear));
  SWAGE_ASSIGN_OR_RETURN(settings.values, Values::read(config, kHalf, kHalf));
  SWAGE_RETURN_IF_ERROR(annotate(
      check_size(settings.tile * settings.most_tiles, settings.tile, Limits{kMaxPixels}), "size"));
  return std::make_unique<MllamaProcessor>(std::move(settings));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Processor>> mllama_processor(const Value& preprocessor_config) {
  return reading([&] { return make(preprocessor_config); });
}

}  // namespace swage::image
