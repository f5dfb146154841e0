#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/export.h"
#include "swage/io/safetensors.h"

namespace swage::io {

// Tensors that lie one behind the other in a file, in this order, so that a reader can take them
// for one. Those of a list have one dtype, and no tensor is in two lists.
using JoinedTensors = std::vector<std::vector<std::string>>;

// write_hf_checkpoint() with tensors joined. The modules of a list stay in one shard.
SWAGE_API absl::Status write_joined_checkpoint(
    const std::string& directory, const WeightSource& source, const Value& config,
    const std::vector<std::pair<std::string, std::string>>& side_files, int64_t shard_bytes,
    const JoinedTensors& joined);

}  // namespace swage::io
