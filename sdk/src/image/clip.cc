// CLIP and LLaVA.
#include <ATen/ops/zeros.h>

#include "image/settings.h"
#include "swage/image/processor.h"
#include "swage/status.h"

namespace swage::image {
namespace {

struct Settings {
  bool square, resize, crop;
  int64_t shortest_edge;  // 0: to `size` whatever the proportions
  Size size, crop_size;
  Filter filter;
  Values values;
};

// On a square of the mean's colour, in the middle.
at::Tensor squared(const at::Tensor& rgb, const std::array<double, 3>& mean) {
  const int64_t height = rgb.size(0), width = rgb.size(1), side = std::max(height, width);
  if (height == width) return rgb;
  at::Tensor result = at::empty({side, side, 3}, at::kByte);
  for (int64_t c = 0; c < 3; ++c)
    result.select(2, c).fill_(static_cast<int64_t>(mean[static_cast<size_t>(c)] * 255));
  result.narrow(0, (side - height) / 2, height).narrow(1, (side - width) / 2, width).copy_(rgb);
  return result;
}

// One side: cut equally at both ends (the last loses more), or black at both (the first gets more).
at::Tensor centered(const at::Tensor& rgb, int64_t dim, int64_t size) {
  const int64_t old = rgb.size(dim);
  if (old >= size) return rgb.narrow(dim, (old - size) / 2, size);
  std::vector<int64_t> shape = rgb.sizes().vec();
  shape[static_cast<size_t>(dim)] = size;
  at::Tensor result = at::zeros(shape, at::kByte);
  result.narrow(dim, (size - old + 1) / 2, old).copy_(rgb);
  return result;
}

class ClipProcessor final : public Processor {
 public:
  explicit ClipProcessor(Settings settings) : settings_(std::move(settings)) {}

  absl::StatusOr<Inputs> process(const at::Tensor& rgb) const override {
    SWAGE_RETURN_IF_ERROR(check_picture(rgb));
    at::Tensor picture = rgb;
    if (settings_.square) {
      const int64_t side = std::max(rgb.size(0), rgb.size(1));
      SWAGE_RETURN_IF_ERROR(annotate(check_size(side, side, Limits{kMaxPixels}), "do_pad"));
      picture = squared(picture, settings_.values.mean());
    }
    if (settings_.resize) {
      const Size size = resized(picture.size(0), picture.size(1));
      SWAGE_ASSIGN_OR_RETURN(picture,
                             image::resize(picture, size.height, size.width, settings_.filter));
    }
    if (settings_.crop) {
      picture = centered(picture, 0, settings_.crop_size.height);
      picture = centered(picture, 1, settings_.crop_size.width);
    }
    return Inputs{{"pixel_values", settings_.values.apply(picture).unsqueeze(0)}};
  }

 private:
  Size resized(int64_t height, int64_t width) const {
    const int64_t edge = settings_.shortest_edge;
    if (edge == 0) return settings_.size;
    return width <= height ? Size{edge * height / width, edge} : Size{edge, edge * width / height};
  }

  Settings settings_;
};

// LLaVA's own processor pads pictures to squares; CLIP's pads a batch to one size, and one picture
// is no batch.
absl::StatusOr<bool> read_square(const Value& config) {
  const std::string aspect = config.str("image_aspect_ratio", "square");
  if (aspect != "pad" && aspect != "square") {
    return absl::InvalidArgumentError(
        absl::StrCat("image_aspect_ratio is \"", aspect, "\", expected \"pad\" or \"square\""));
  }
  if (aspect == "pad") return true;
  if (!config.flag("do_pad", false)) return false;
  if (starts_with(config.str("image_processor_type", "Llava"), "Llava")) return true;
  if (!config.has("pad_size")) return false;
  return absl::InvalidArgumentError("pad_size is not served; leave it out");
}

absl::StatusOr<std::unique_ptr<Processor>> make(const Value& config) {
  SWAGE_RETURN_IF_ERROR(
      check_kind(config, {"CLIPImageProcessor", "CLIPFeatureExtractor", "LlavaImageProcessor"}));
  Settings settings{};
  SWAGE_ASSIGN_OR_RETURN(settings.square, read_square(config));
  settings.resize = config.flag("do_resize", true);
  settings.crop = config.flag("do_center_crop", true);
  const Value& size = config["size"];
  if (size.is_null() || size.integer() != nullptr) {
    SWAGE_ASSIGN_OR_RETURN(settings.shortest_edge, read_count(config, "size", 224, 1, kMaxSide));
  } else if (size.table() != nullptr && size.table()->size() == 1 && size.has("shortest_edge")) {
    SWAGE_ASSIGN_OR_RETURN(settings.shortest_edge,
                           read_count(size, "shortest_edge", 0, 1, kMaxSide));
  } else {
    SWAGE_ASSIGN_OR_RETURN(settings.size, read_size(config, "size", {}));
  }
  SWAGE_ASSIGN_OR_RETURN(settings.crop_size, read_size(config, "crop_size", {224, 224}));
  SWAGE_RETURN_IF_ERROR(
      annotate(check_size(settings.crop_size.height, settings.crop_size.width, Limits{kMaxPixels}),
               "crop_size"));
  SWAGE_ASSIGN_OR_RETURN(settings.filter, read_filter(config, Filter::kBicubic));
  SWAGE_ASSIGN_OR_RETURN(settings.values, Values::read(config, kClipMean, kClipStd));
  return std::make_unique<ClipProcessor>(std::move(settings));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Processor>> clip_processor(const Value& preprocessor_config) {
  return reading([&] { return make(preprocessor_config); });
}

}  // namespace swage::image
