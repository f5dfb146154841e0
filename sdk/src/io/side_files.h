#pragma once
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace swage::io {

// Paths, relative to a checkpoint folder, of the files that go with its weights wherever these go:
// tokenizers, templates, code, licences; all but weights of any format, their indices, config.json
// and what describes an earlier quantization. Sorted; those of folders as "folder/name".
// InvalidArgument: a link that leads out of the folder (or, in a cache of the hub, out of its
// blobs) or nowhere.
absl::StatusOr<std::vector<std::string>> list_side_files(const std::string& folder);

// The same with their content.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> read_side_files(
    const std::string& folder);

}  // namespace swage::io
