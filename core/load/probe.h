#pragma once
#include "absl/status/status.h"
#include "core/catalog/catalog.h"

namespace swage {

// Lets a child process (libexec/swage/swage-probe) open the file first, so that one that crashes,
// hangs or throws while it is opened costs the child and not the run. Files of the installation
// itself are trusted. A file that passed is not tried again while it stays the same (path, size,
// time, build id): remembered in the user's cache folder.
absl::Status probe(const PluginEntry& entry);

}  // namespace swage
