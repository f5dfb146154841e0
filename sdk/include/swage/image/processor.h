#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/value.h"

namespace swage::image {

// What a family makes of one picture, under the names that transformers gives them. The first
// dimension is that of the picture's rows (tiles, patches, …), there is no batch dimension. fp32 or
// int64.
using Inputs = std::map<std::string, at::Tensor>;

class SWAGE_API Processor {
 public:
  virtual ~Processor();
  // `rgb` is a picture as read_image() gives it. InvalidArgument: another tensor, or a picture that
  // the family does not take (too long and narrow, too large once it is resized).
  virtual absl::StatusOr<Inputs> process(const at::Tensor& rgb) const = 0;
};

// One maker for each kind of processor. The table is that of preprocessor_config.json, an empty one
// gives the defaults of transformers. Values equal those of transformers 5.23 with its processors
// on Pillow 12 (backend "pil") to the last bit: a byte times `rescale_factor` in fp64, rounded to
// fp32, minus mean, divided by std in fp32. Without `do_rescale` and `do_normalize` values are
// whole numbers, still in fp32. Keys that transformers does not read are ignored. InvalidArgument
// names the key whose value has the wrong type or is none that this kind serves, such as an
// `image_processor_type` of another kind.

// CLIP and LLaVA: pixel_values [1, 3, h, w].
// Keys: do_pad (LLaVA: to a square of the mean's colour, before all else), do_resize, size,
// resample, do_center_crop, crop_size, do_rescale, rescale_factor, do_normalize, image_mean,
// image_std. The original LLaVA says `image_aspect_ratio` = "pad" in its config.json: the caller
// puts that key into the table.
SWAGE_API absl::StatusOr<std::unique_ptr<Processor>> clip_processor(
    const Value& preprocessor_config);

// Qwen2-VL, Qwen2.5-VL: pixel_values [patches, 3 * temporal_patch_size * patch_size²],
// image_grid_thw [1, 3]. Sides become multiples of patch_size * merge_size; patches come in blocks
// of merge_size², a patch is ordered channel, frame, row, column, and the frames of a picture are
// equal. Keys: do_resize, size {shortest_edge, longest_edge} (both counts of pixels), min_pixels,
// max_pixels, resample, patch_size, temporal_patch_size, merge_size, and those of values as above.
SWAGE_API absl::StatusOr<std::unique_ptr<Processor>> qwen2_vl_processor(
    const Value& preprocessor_config);

// Llama 3.2 Vision: pixel_values [max_image_tiles, 3, h, w] with zeros in tiles that are not used,
// aspect_ratio_ids [1] (from 1), aspect_ratio_mask [1, max_image_tiles], num_tiles [1].
// Keys: size (of a square tile), max_image_tiles, resample, and those of values as above.
SWAGE_API absl::StatusOr<std::unique_ptr<Processor>> mllama_processor(
    const Value& preprocessor_config);

// InternVL: pixel_values [tiles, 3, h, w]: tiles row by row, then a thumbnail if there are several.
// Keys: size, min_patches, max_patches, resample, and those of values as above. `crop_to_patches`
// is not among them: InternVL's processor asks for tiles whatever the file says. The original model
// keeps the numbers in its config.json: the caller puts min_dynamic_patch, max_dynamic_patch,
// use_thumbnail, dynamic_image_size and force_image_size into the table, where they come first.
SWAGE_API absl::StatusOr<std::unique_ptr<Processor>> internvl_processor(
    const Value& preprocessor_config);

}  // namespace swage::image
