#include "core/load/library.h"

#include <boost/dll/shared_library.hpp>
#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "core/load/origins.h"
#include "core/load/probe.h"
#include "swage/border.h"
#include "swage/call_site.h"
#include "swage/host_fingerprint.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace dll = boost::dll;

struct Opened {
  std::mutex mutex;
  std::map<std::string, absl::StatusOr<const swage_plugin*>> by_file;
  std::vector<const swage_plugin*> in_order;
  std::vector<const dll::shared_library*> libraries;  // never closed
};

// Never destroyed, and so is every library: tensors and exceptions made by a plugin may outlive all
// else.
Opened& opened() {
  static Opened* const all = new Opened;
  return *all;
}

absl::StatusOr<const swage_plugin*> call_entry(const std::string& file) {
  static const swage_host_info host = {sizeof(swage_host_info), SWAGE_ABI_MAJOR, SWAGE_ABI_MINOR,
                                       host_fingerprint()};
  const swage_plugin* plugin = nullptr;
  try {
    // The throwing overload: its message holds what the dynamic linker said.
    const auto* library =
        new dll::shared_library(file, dll::load_mode::rtld_now | dll::load_mode::rtld_local);
    opened().libraries.push_back(library);
    if (!library->has(SWAGE_PLUGIN_SYMBOL)) {
      return absl::FailedPreconditionError("cannot be opened: it has no symbol " SWAGE_PLUGIN_SYMBOL
                                           "; build it with swage_add_plugin()");
    }
    plugin = library->get<const swage_plugin*(const swage_host_info*)>(SWAGE_PLUGIN_SYMBOL)(&host);
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(absl::StrCat("cannot be opened: ", error.what()));
  }
  if (plugin != nullptr) return plugin;
  return absl::FailedPreconditionError(
      absl::StrCat("refuses this host (null descriptor), which speaks ABI ", SWAGE_ABI_MAJOR, ".",
                   SWAGE_ABI_MINOR, "; build the plugin again with this host's SDK"));
}

std::string text(const char* value) { return value == nullptr ? "(null)" : value; }

absl::Status disagree(const std::string& what, const std::string& manifest,
                      const std::string& descriptor) {
  return absl::FailedPreconditionError(absl::StrCat("disagrees with its own manifest: ", what,
                                                    " is \"", manifest, "\" in the manifest and \"",
                                                    descriptor, "\" in the code; build it again"));
}

absl::Status check_descriptor(const swage_plugin& plugin, const PluginEntry& entry) {
  if (!SWAGE_HAS(&plugin, component_count) || plugin.abi_major != SWAGE_ABI_MAJOR) {
    return absl::FailedPreconditionError(
        absl::StrCat("speaks ABI ", plugin.abi_major, ", this host ", SWAGE_ABI_MAJOR,
                     "; build the plugin again with this host's SDK"));
  }
  if (plugin.abi_minor != SWAGE_ABI_MINOR) {
    return absl::FailedPreconditionError(absl::StrCat(
        "speaks ABI ", plugin.abi_major, ".", plugin.abi_minor, ", this host ", SWAGE_ABI_MAJOR,
        ".", SWAGE_ABI_MINOR, "; ", plugin.abi_minor > SWAGE_ABI_MINOR ? "update swage, or " : "",
        "build the plugin again with this host's SDK"));
  }
  const Manifest& manifest = entry.manifest;
  if (text(plugin.fingerprint) != entry.fingerprint) {
    return disagree("the fingerprint", entry.fingerprint, text(plugin.fingerprint));
  }
  if (text(plugin.id) != manifest.id) return disagree("the id", manifest.id, text(plugin.id));
  if (text(plugin.version) != manifest.version)
    return disagree("the version", manifest.version, text(plugin.version));
  for (uint32_t i = 0; i < plugin.component_count; ++i) {
    const swage_component* component = plugin.components[i];
    if (component == nullptr || !SWAGE_HAS(component, destroy) || component->create == nullptr ||
        component->destroy == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("component ", i, " is incomplete, a bug of the plugin"));
    }
  }
  return absl::OkStatus();
}

std::string describe(const std::string& kind, const std::string& name,
                     const std::string& interface) {
  return absl::StrCat(kind, " ", name, " (", interface, ")");
}

absl::Status check_components(const swage_plugin& plugin, const Manifest& manifest) {
  for (const ComponentManifest& wanted : manifest.components) {
    if (find_component(plugin, wanted) == nullptr) {
      return disagree("a component", describe(wanted.kind, wanted.name, wanted.interface),
                      "nothing of that kind, name and interface");
    }
  }
  if (plugin.component_count == manifest.components.size()) return absl::OkStatus();
  return disagree("the number of components", absl::StrCat(manifest.components.size()),
                  absl::StrCat(plugin.component_count));
}

absl::StatusOr<const swage_plugin*> open_and_check(const PluginEntry& entry) {
  SWAGE_RETURN_IF_ERROR(probe(entry));
  absl::StatusOr<const swage_plugin*> plugin = nullptr;
  // Of the fault alone: errors of the file itself name it where they are returned.
  SWAGE_RETURN_IF_ERROR(call_plugin({entry.manifest.id, "load", entry.file}, [&] {
    plugin = call_entry(entry.file);
    return plugin.status();
  }));
  SWAGE_RETURN_IF_ERROR(check_descriptor(**plugin, entry));
  SWAGE_RETURN_IF_ERROR(check_components(**plugin, entry.manifest));
  return plugin;
}

}  // namespace

absl::StatusOr<const swage_plugin*> open_plugin(const PluginEntry& entry) {
  Opened& all = opened();
  const std::lock_guard lock(all.mutex);
  const auto known = all.by_file.find(entry.file);
  if (known != all.by_file.end()) return known->second;
  const absl::StatusOr<const swage_plugin*> plugin = open_and_check(entry);
  if (plugin.ok()) all.in_order.push_back(*plugin);
  all.by_file.emplace(entry.file, plugin);
  return plugin;
}

const swage_component* find_component(const swage_plugin& plugin, const ComponentManifest& wanted) {
  for (uint32_t i = 0; i < plugin.component_count; ++i) {
    const swage_component* component = plugin.components[i];
    if (text(component->kind) == wanted.kind && text(component->name) == wanted.name &&
        text(component->iface) == wanted.interface) {
      return component;
    }
  }
  return nullptr;
}

absl::Status shutdown_plugins() {
  Opened& all = opened();
  const std::lock_guard lock(all.mutex);
  absl::Status first;
  for (auto plugin = all.in_order.rbegin(); plugin != all.in_order.rend(); ++plugin) {
    if (!SWAGE_HAS(*plugin, shutdown) || (*plugin)->shutdown == nullptr) continue;
    first.Update(
        call_plugin({(*plugin)->id, "shutdown", absl::StrCat("version ", (*plugin)->version)},
                    [&] { return (*plugin)->shutdown(), absl::OkStatus(); }));
  }
  all.in_order.clear();
  return first;
}

}  // namespace swage
