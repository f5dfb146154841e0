#pragma once
#include <memory>
#include <string>

#include "swage/nn/vision.h"

namespace swage::nn {

// The slot in which the input of block 0 (layer 0) or the output of block `layer` - 1 stays.
std::string layer_slot(int64_t layer);

// The entrance of a vision tower; `leaves_input` keeps layer 0 for the features.
absl::StatusOr<std::unique_ptr<Embedding>> load_patch_embedding(const PatchDescription& description,
                                                                bool leaves_input,
                                                                const WeightSource& source,
                                                                const LoadOptions& options);

// The entrance of a projector: features out of what the vision tower has left.
absl::StatusOr<std::unique_ptr<Embedding>> load_feature_selection(
    const VisionDescription& description, const WeightSource& source, const LoadOptions& options);

}  // namespace swage::nn
