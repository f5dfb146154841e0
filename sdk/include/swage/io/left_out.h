#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "swage/export.h"

namespace swage::io {

// A file or folder beside a checkpoint's weights that does not go along where these go, and why.
struct SWAGE_API LeftOut {
  std::string name;  // relative to the checkpoint's folder; a folder ends in "/"
  std::string why;
};

// Everything in a checkpoint's folder that is neither read as its weights nor a side file, but for
// what other tools keep there for themselves (.git, .cache …). Sorted by name; nothing for a file.
SWAGE_API absl::StatusOr<std::vector<LeftOut>> left_out_files(const std::string& path);

}  // namespace swage::io
