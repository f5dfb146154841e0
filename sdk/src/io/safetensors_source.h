#pragma once
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/safetensors_header.h"
#include "swage/weight_source.h"

namespace swage::io {

// Tensors of files whose headers were read already.
absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors(
    const std::vector<CheckpointFile>& files);

}  // namespace swage::io
