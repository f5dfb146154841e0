#pragma once
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace swage::io {

// File name -> the tensors that model.safetensors.index.json puts there. Names are plain ones of
// .safetensors files: none leads out of the folder.
using Shards = std::map<std::string, std::vector<std::string>, std::less<>>;
absl::StatusOr<Shards> read_index(const std::string& path);

}  // namespace swage::io
