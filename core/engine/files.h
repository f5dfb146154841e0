#pragma once
#include <string>

#include "absl/status/status.h"

namespace swage {

// Folders as a run needs them. Errors name the path, what the system said and what to do.

// The folder, and those above it.
absl::Status make_folder(const std::string& path);
// An empty folder of this name; what lay in it goes.
absl::Status make_empty_folder(const std::string& path);
// `from` gets the name `to`, durably; a folder of that name goes before.
absl::Status replace_folder(const std::string& from, const std::string& to);

}  // namespace swage
