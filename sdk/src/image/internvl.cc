// InternVL: tiles of the proportions that come nearest to the picture's.
#include <ATen/ops/stack.h>

#include <limits>

#include "image/settings.h"
#include "swage/image/processor.h"
#include "swage/status.h"

namespace swage::image {
namespace {

struct Settings {
  bool tiles, thumbnail, resize;
  Size size;
  int64_t min_tiles, max_tiles;
  Filter filter;
  Values values;
};

class InternVlProcessor final : public Processor {
 public:
  explicit InternVlProcessor(Settings settings) : settings_(std::move(settings)) {}

  absl::StatusOr<Inputs> process(const at::Tensor& rgb) const override {
    SWAGE_RETURN_IF_ERROR(check_picture(rgb));
    const auto [height, width] = settings_.size;
    std::vector<at::Tensor> rows;
    const bool tiles = settings_.tiles && settings_.max_tiles > 1;
    if (tiles) {
      const Size grid = choose(rgb.size(0), rgb.size(1));
      SWAGE_ASSIGN_OR_RETURN(
          const at::Tensor picture,
          image::resize(rgb, grid.height * height, grid.width * width, settings_.filter));
      for (int64_t y = 0; y < grid.height; ++y) {
        for (int64_t x = 0; x < grid.width; ++x) {
          rows.push_back(settings_.values.apply(
              picture.narrow(0, y * height, height).narrow(1, x * width, width)));
        }
      }
    }
    if (rows.empty() || (rows.size() > 1 && settings_.thumbnail)) {
      at::Tensor whole = rgb;
      if (tiles || settings_.resize) {
        SWAGE_ASSIGN_OR_RETURN(whole, image::resize(rgb, height, width, settings_.filter));
      }
      rows.push_back(settings_.values.apply(whole));
    }
    return Inputs{{"pixel_values", at::stack(rows)}};
  }

 private:
  // Grids with fewer tiles come first, among equals those with fewer columns. A later one of the
  // same distance is taken while it does not make the picture more than twice as large.
  Size choose(int64_t height, int64_t width) const {
    const double aspect = static_cast<double>(width) / static_cast<double>(height);
    const double area = static_cast<double>(width * height);
    const double tile = 0.5 * static_cast<double>(settings_.size.height * settings_.size.width);
    Size best{1, 1};
    double best_distance = std::numeric_limits<double>::infinity();
    for (int64_t count = settings_.min_tiles; count <= settings_.max_tiles; ++count) {
      for (int64_t columns = 1; columns <= count; ++columns) {
        if (count % columns != 0) continue;
        const int64_t rows = count / columns;
        const double distance =
            std::abs(aspect - static_cast<double>(columns) / static_cast<double>(rows));
        if (distance < best_distance ||
            (distance == best_distance && area > tile * static_cast<double>(count))) {
          best = {rows, columns};
          best_distance = distance;
        }
      }
    }
    return best;
  }

  Settings settings_;
};

absl::StatusOr<std::unique_ptr<Processor>> make(const Value& config) {
  SWAGE_RETURN_IF_ERROR(
      check_kind(config, {"GotOcr2ImageProcessor", "CLIPImageProcessor", "CLIPFeatureExtractor"}));
  Settings settings{};
  settings.tiles = config.flag("dynamic_image_size", true);
  settings.thumbnail = config.flag("use_thumbnail", true);
  settings.resize = config.flag("do_resize", true);
  const char* size = config.has("force_image_size") ? "force_image_size" : "size";
  SWAGE_ASSIGN_OR_RETURN(settings.size, read_size(config, size, {384, 384}));
  const char* least = config.has("min_dynamic_patch") ? "min_dynamic_patch" : "min_patches";
  SWAGE_ASSIGN_OR_RETURN(settings.min_tiles, read_count(config, least, 1, 1, 256));
  const char* most = config.has("max_dynamic_patch") ? "max_dynamic_patch" : "max_patches";
  SWAGE_ASSIGN_OR_RETURN(settings.max_tiles, read_count(config, most, 12, settings.min_tiles, 256));
  SWAGE_ASSIGN_OR_RETURN(settings.filter, read_filter(config, Filter::kBicubic));
  SWAGE_ASSIGN_OR_RETURN(settings.values, Values::read(config, kClipMean, kClipStd));
  return std::make_unique<InternVlProcessor>(std::move(settings));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Processor>> internvl_processor(const Value& preprocessor_config) {
  return reading([&] { return make(preprocessor_config); });
}

}  // namespace swage::image
