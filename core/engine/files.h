#pragma once
#include <string>

#include "absl/status/status.h"

namespace swage {

// Folders as a run needs them. Errors name the path, what the system said and what to do.

// The folder, and those above it.
absl::Status make_folder(const std::string& path);
// What was made, renamed or removed in the folder is on disk.
absl::Status sync_folder(const std::string& path);

}  // namespace swage
