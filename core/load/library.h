#pragma once
#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "swage/abi.h"

namespace swage {

// Opens the file once in the life of the process and compares its descriptor with `entry`, which
// was read from its notes. A file from outside the installation is first tried in a child process
// (probe.h). The result is never freed.
absl::StatusOr<const swage_plugin*> open_plugin(const PluginEntry& entry);

// Null when the plugin has no such component.
const swage_component* find_component(const swage_plugin& plugin, const ComponentManifest& wanted);

// Calls `shutdown` of all opened plugins, the last opened first; the first error.
absl::Status shutdown_plugins();

}  // namespace swage
