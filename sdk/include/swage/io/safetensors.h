#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/io/safetensors_header.h"
#include "swage/value.h"
#include "swage/weight_source.h"

namespace swage::io {

// Several safetensors files as one source. Tensors are read (pread), never mapped, so that no page
// of the model stays resident. A tensor that two files hold is an error.
SWAGE_API absl::StatusOr<std::unique_ptr<WeightSource>> open_safetensors(
    const std::vector<std::string>& files);

// Writes one file at once: tensors by descending element size, then name, so that every one is
// aligned; header padded to 8; to `path`.tmp first, fsynced, renamed, folder fsynced. Any error (a
// full disk) leaves no `path` behind.
SWAGE_API absl::Status write_safetensors(
    const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors);

// Lays out a Hugging Face checkpoint in `directory`: model.safetensors, or shards of at most
// `shard_bytes` with an index, config.json and the side files. Tensors are copied from `source` one
// at a time. Every file is fsynced.
SWAGE_API absl::Status write_hf_checkpoint(
    const std::string& directory, const WeightSource& source, const Value& config,
    const std::vector<std::pair<std::string, std::string>>& side_files, int64_t shard_bytes);

SWAGE_API absl::StatusOr<at::ScalarType> to_scalar_type(StoredType type);
SWAGE_API absl::StatusOr<StoredType> to_stored_type(at::ScalarType type);

}  // namespace swage::io
