#include "nn/grid_embedding.h"

#include <ATen/ops/argsort.h>

#include "nn/block_reader.h"
#include "swage/status.h"

namespace swage::nn {
namespace {

constexpr const char* kPixels = "pixel_values";
constexpr const char* kGrids = "image_grid_thw";
constexpr const char* kOrder = "tower.order";  // int64 [patches]: where a token's patch came

// One image: its features along time, rows and columns.
struct Grid {
  int64_t times, rows, columns;
  int64_t features() const { return times * rows * columns; }
};

absl::StatusOr<std::vector<Grid>> read_grids(const Slots& slots, int64_t merge) {
  if (!slots.has(kPixels) || !slots.has(kGrids)) {
    return absl::InvalidArgumentError(
        "a sequence with images needs \"pixel_values\" and \"image_grid_thw\"");
  }
  const at::Tensor grids = slots.at(kGrids).to(at::kCPU, at::kLong).contiguous();
  if (grids.dim() != 2 || grids.size(1) != 3)
    return absl::InvalidArgumentError("image_grid_thw must be [images, 3]");
  std::vector<Grid> all;
  int64_t patches = 0;
  for (int64_t i = 0; i < grids.size(0); ++i) {
    const int64_t* size = grids.const_data_ptr<int64_t>() + 3 * i;
    if (size[0] < 1 || size[1] < 1 || size[2] < 1 || size[1] % merge != 0 || size[2] % merge != 0) {
      return absl::InvalidArgumentError(absl::StrCat("image_grid_thw holds ", size[0], " x ",
                                                     size[1], " x ", size[2],
                                                     ", expected multiples of ", merge));
    }
    all.push_back({size[0], size[1] / merge, size[2] / merge});
    patches += size[0] * size[1] * size[2];
  }
  if (patches == slots.at(kPixels).size(0)) return all;
  return absl::InvalidArgumentError(absl::StrCat("image_grid_thw tells of ", patches,
                                                 " patches, pixel_values holds ",
                                                 slots.at(kPixels).size(0)));
}

// Tokens of all images in the order in which attention takes them.
class Layout {
 public:
  Layout(const std::vector<Grid>& grids, const GridDescription& description)
      : description_(description) {
    for (const Grid& grid : grids) {
      for (int64_t time = 0; time < grid.times; ++time) add(grid, time);
      first_ += grid.features();
    }
  }

  std::vector<int64_t> lengths;   // of one image and time
  std::vector<int64_t> segments;  // of a window
  std::vector<int64_t> order;     // patches
  std::vector<int64_t> places;    // rows and columns of them
  std::vector<int64_t> cells;     // of features, in the order of the image

 private:
  void add(const Grid& grid, int64_t time) {
    for (int64_t row = 0; row < grid.rows; ++row) {
      for (int64_t column = 0; column < grid.columns; ++column)
        cells.insert(cells.end(), {time, row, column});
    }
    const int64_t slice = first_ + time * grid.rows * grid.columns;
    const int64_t before = static_cast<int64_t>(order.size());
    const int64_t height = description_.window > 0 ? description_.window : grid.rows;
    const int64_t width = description_.window > 0 ? description_.window : grid.columns;
    for (int64_t top = 0; top < grid.rows; top += height) {
      for (int64_t left = 0; left < grid.columns; left += width) {
        const auto begin = static_cast<int64_t>(order.size());
        for (int64_t row = top; row < std::min(grid.rows, top + height); ++row) {
          for (int64_t column = left; column < std::min(grid.columns, left + width); ++column)
            add_feature(slice + row * grid.columns + column, row, column);
        }
        segments.push_back(static_cast<int64_t>(order.size()) - begin);
      }
    }
    lengths.push_back(static_cast<int64_t>(order.size()) - before);
  }

  void add_feature(int64_t feature, int64_t row, int64_t column) {
    const int64_t merge = description_.merge;
    for (int64_t i = 0; i < merge * merge; ++i) {
      order.push_back(feature * merge * merge + i);
      places.push_back(row * merge + i / merge);
      places.push_back(column * merge + i % merge);
    }
  }

  const GridDescription& description_;
  int64_t first_ = 0;  // feature of the image
};

class GridEmbedding final : public Embedding {
 public:
  GridEmbedding(const VisionDescription& description, const LoadOptions& options)
      : patches_(description.patches), grid_(*description.grid), options_(options) {}

  absl::Status load(const WeightSource& source) {
    BlockReader reader(source, options_, "", nullptr, &parameters_);
    return reader.parameter(patches_.names.weight,
                            {patches_.hidden_size, patches_.channels, grid_.temporal,
                             patches_.patch_height, patches_.patch_width},
                            &weight_);
  }

  absl::Status embed(Slots& slots) override {
    SWAGE_ASSIGN_OR_RETURN(const auto grids, read_grids(slots, grid_.merge));
    const at::Tensor weight = weight_->value.flatten(1);
    const at::Tensor& pixels = slots.at(kPixels);
    if (pixels.dim() != 2 || pixels.size(1) != weight.size(1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "pixel_values has ", pixels.size(-1), " values in a patch, expected ", weight.size(1)));
    }
    const Layout layout(grids, grid_);
    const auto integers = [&](const std::vector<int64_t>& values) {
      return at::tensor(values, at::kLong).to(options_.device);
    };
    const at::Tensor order = integers(layout.order);
    slots[kHidden] =
        affine(pixels.to(options_.device, options_.compute).index_select(0, order), weight, {});
    slots[kPlaces] = integers(layout.places).view({-1, 2});
    slots[kOrder] = order;
    slots.put_aside(kCells, integers(layout.cells).view({-1, 3}));
    slots.put_aside(kSegments, at::tensor(layout.segments, at::kLong));
    slots.lengths = layout.lengths;
    std::vector<at::Tensor> positions;
    for (const int64_t length : slots.lengths) positions.push_back(at::arange(length, at::kLong));
    slots.positions = at::cat(positions).to(options_.device);
    return absl::OkStatus();
  }

 private:
  const PatchDescription patches_;
  const GridDescription grid_;
  const LoadOptions options_;
  Parameter* weight_ = nullptr;
};

class GridMerger final : public Embedding {
 public:
  explicit GridMerger(const VisionDescription& description)
      : hidden_(description.blocks.hidden_size),
        kind_(description.blocks.norm),
        eps_(description.blocks.norm_eps),
        grid_(*description.grid) {}

  absl::Status load(const WeightSource& source, const LoadOptions& options) {
    BlockReader reader(source, options, "", nullptr, &parameters_);
    return reader.norm(grid_.merge_norm, kind_, eps_, hidden_, &norm_);
  }

  absl::Status embed(Slots& slots) override {
    const int64_t patches = grid_.merge * grid_.merge;
    const at::Tensor back = slots.take(kOrder).argsort();
    const at::Tensor x = norm_.apply(slots.at(kHidden)).index_select(0, back);
    slots[kHidden] = x.view({-1, patches * hidden_});
    slots[kCells] = slots.take(kCells);  // a row for each token now
    slots.erase(kPlaces);
    slots.erase(kSegments);
    std::vector<at::Tensor> positions;
    for (int64_t& length : slots.lengths) {
      length /= patches;
      positions.push_back(at::arange(length, at::kLong));
    }
    slots.positions = at::cat(positions).to(x.device());
    return absl::OkStatus();
  }

 private:
  const int64_t hidden_;
  const NormKind kind_;
  const double eps_;
  const GridDescription grid_;
  Norm norm_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Embedding>> load_grid_embedding(const VisionDescription& description,
                                                               const WeightSource& source,
                                                               const LoadOptions& options) {
  auto embedding = std::make_unique<GridEmbedding>(description, options);
  SWAGE_RETURN_IF_ERROR(embedding->load(source));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

absl::StatusOr<std::unique_ptr<Embedding>> load_grid_merger(const VisionDescription& description,
                                                            const WeightSource& source,
                                                            const LoadOptions& options) {
  auto embedding = std::make_unique<GridMerger>(description);
  SWAGE_RETURN_IF_ERROR(embedding->load(source, options));
  return std::unique_ptr<Embedding>(std::move(embedding));
}

}  // namespace swage::nn
