#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/checkpoint.h"

namespace swage::io {

// As open_checkpoint(), but tensors and config.json are what the files hold: weights published in
// fp8 are codes, with their scales beside them and a quantization_config.
SWAGE_API absl::StatusOr<std::unique_ptr<Checkpoint>> open_stored_checkpoint(
    const std::string& path);

// Name and content of the files beside the weights of a folder, as Checkpoint::side_files() has
// them: for what makes a Checkpoint of a folder of another kind.
SWAGE_API absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files_of(
    const std::string& folder);

}  // namespace swage::io
