#pragma once
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/io/safetensors_header.h"
#include "swage/weight_source.h"

namespace swage::io {

// Tensors of files whose headers were read already; `header`, where asked for, is that of them all.
absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors(
    std::vector<CheckpointFile> files, std::shared_ptr<const Header>* header);

}  // namespace swage::io
