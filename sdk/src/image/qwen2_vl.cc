// Qwen2-VL and Qwen2.5-VL: pictures of their own size, in patches.
#include <ATen/ops/tensor.h>

#include "image/settings.h"
#include "swage/image/processor.h"
#include "swage/status.h"

namespace swage::image {
namespace {

struct Settings {
  bool resize;
  int64_t min_pixels, max_pixels;
  int64_t patch, frames, merge;
  Filter filter;
  Values values;
};

class Qwen2VlProcessor final : public Processor {
 public:
  explicit Qwen2VlProcessor(Settings settings) : settings_(std::move(settings)) {}

  absl::StatusOr<Inputs> process(const at::Tensor& rgb) const override {
    SWAGE_RETURN_IF_ERROR(check_picture(rgb));
    at::Tensor picture = rgb;
    if (settings_.resize) {
      SWAGE_ASSIGN_OR_RETURN(const Size size, resized(rgb.size(0), rgb.size(1)));
      SWAGE_ASSIGN_OR_RETURN(picture,
                             image::resize(rgb, size.height, size.width, settings_.filter));
    }
    const int64_t height = picture.size(0), width = picture.size(1);
    if (height % cell() != 0 || width % cell() != 0) {
      return absl::InvalidArgumentError(absl::StrCat("without do_resize sides are multiples of ",
                                                     cell(), ", found ", width, " x ", height));
    }
    return Inputs{
        {"pixel_values", patches(settings_.values.apply(picture))},
        {"image_grid_thw",
         at::tensor({int64_t{1}, height / settings_.patch, width / settings_.patch}).unsqueeze(0)}};
  }

 private:
  int64_t cell() const { return settings_.patch * settings_.merge; }

  // Multiples of a cell with the proportions kept, between min_pixels and max_pixels. Halves round
  // to the even number, as in Python.
  absl::StatusOr<Size> resized(int64_t height, int64_t width) const {
    if (std::max(height, width) > 200 * std::min(height, width)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a picture of ", width, " x ", height, ": one side may be 200 times the other at most"));
    }
    const double cell = static_cast<double>(this->cell());
    const double h = static_cast<double>(height), w = static_cast<double>(width);
    const auto most = static_cast<double>(settings_.max_pixels);
    const auto least = static_cast<double>(settings_.min_pixels);
    double new_h = std::nearbyint(h / cell) * cell, new_w = std::nearbyint(w / cell) * cell;
    if (new_h * new_w > most) {
      const double shrink = std::sqrt(h * w / most);
      new_h = std::max(cell, std::floor(h / shrink / cell) * cell);
      new_w = std::max(cell, std::floor(w / shrink / cell) * cell);
    } else if (new_h * new_w < least) {
      const double grow = std::sqrt(least / (h * w));
      new_h = std::ceil(h * grow / cell) * cell;
      new_w = std::ceil(w * grow / cell) * cell;
    }
    return Size{static_cast<int64_t>(new_h), static_cast<int64_t>(new_w)};
  }

  // [3, h, w] to rows of (channel, frame, y, x) in the order (block row, block column, row,
  // column).
  at::Tensor patches(const at::Tensor& pixels) const {
    const int64_t patch = settings_.patch, merge = settings_.merge;
    const int64_t rows = pixels.size(1) / cell(), columns = pixels.size(2) / cell();
    return pixels.view({3, rows, merge, patch, columns, merge, patch})
        .permute({1, 4, 2, 5, 0, 3, 6})
        .unsqueeze(5)
        .expand({rows, columns, merge, merge, 3, settings_.frames, patch, patch})
        .reshape({rows * columns * merge * merge, 3 * settings_.frames * patch * patch});
  }

  Settings settings_;
};

absl::StatusOr<std::unique_ptr<Processor>> make(const Value& config) {
  SWAGE_RETURN_IF_ERROR(check_kind(config, {"Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor"}));
  Settings settings{};
  settings.resize = config.flag("do_resize", true);
  const Value& size = config["size"];
  if (!size.is_null() && size.table() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("size is ", to_json(size, -1),
                     ", expected {\"shortest_edge\": pixels, \"longest_edge\": pixels}"));
  }
  // A size that lacks one of them has to get it from min_pixels or max_pixels.
  const int64_t least = size.i64("shortest_edge", size.is_null() ? 56 * 56 : 0);
  const int64_t most = size.i64("longest_edge", size.is_null() ? 28 * 28 * 1280 : 0);
  SWAGE_ASSIGN_OR_RETURN(settings.min_pixels,
                         read_count(config, "min_pixels", least, 1, kMaxPixels));
  SWAGE_ASSIGN_OR_RETURN(settings.max_pixels,
                         read_count(config, "max_pixels", most, settings.min_pixels, kMaxPixels));
  SWAGE_ASSIGN_OR_RETURN(settings.patch, read_count(config, "patch_size", 14, 1, 1024));
  SWAGE_ASSIGN_OR_RETURN(settings.frames, read_count(config, "temporal_patch_size", 2, 1, 16));
  SWAGE_ASSIGN_OR_RETURN(settings.merge, read_count(config, "merge_size", 2, 1, 16));
  SWAGE_ASSIGN_OR_RETURN(settings.filter, read_filter(config, Filter::kBicubic));
  SWAGE_ASSIGN_OR_RETURN(settings.values, Values::read(config, kClipMean, kClipStd));
  return std::make_unique<Qwen2VlProcessor>(std::move(settings));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Processor>> qwen2_vl_processor(const Value& preprocessor_config) {
  return reading([&] { return make(preprocessor_config); });
}

}  // namespace swage::image
