#pragma once
#include <memory>

#include "swage/nn/vision.h"

namespace swage::nn {

// The entrance of a vision tower with a grid; leaves kPlaces, kCells and, with windows, the order
// of its tokens and kSegments.
absl::StatusOr<std::unique_ptr<Embedding>> load_grid_embedding(const VisionDescription& description,
                                                               const WeightSource& source,
                                                               const LoadOptions& options);

// The entrance of its projector: merges patches, back in the order of the image.
absl::StatusOr<std::unique_ptr<Embedding>> load_grid_merger(const VisionDescription& description,
                                                            const WeightSource& source,
                                                            const LoadOptions& options);

}  // namespace swage::nn
