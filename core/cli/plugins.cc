#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "core/base/plain_output.h"
#include "core/catalog/catalog.h"
#include "core/cli/verbs.h"
#include "core/serve/engine_search.h"

namespace swage {
namespace {

const char* name_of(PluginState state) {
  switch (state) {
    case PluginState::kCompatible:
      return "compatible";
    case PluginState::kNotAPlugin:
      return "not a plugin";
    case PluginState::kRefused:
      return "refused";
  }
  return "";
}

Value to_value(const PluginEntry& plugin) {
  Value::List components;
  for (const ComponentManifest& component : plugin.manifest.components) {
    components.push_back(Value::Table{{"kind", component.kind},
                                      {"name", component.name},
                                      {"interface", component.interface},
                                      {"summary", component.summary}});
  }
  return Value(Value::Table{{"file", plugin.file},
                            {"state", name_of(plugin.state)},
                            {"built_in", plugin.file.empty()},
                            {"reason", plugin.reason},
                            {"fingerprint", plugin.fingerprint},
                            {"build_id", plugin.build_id},
                            {"id", plugin.manifest.id},
                            {"version", plugin.manifest.version},
                            {"components", std::move(components)}});
}

void print_for_programs(const Catalog& catalog) {
  Value::List plugins;
  for (const PluginEntry& plugin : catalog.plugins()) plugins.push_back(to_value(plugin));
  const auto& folders = catalog.directories();
  const std::vector<std::string> engines = engine_names(engine_search_path(catalog));
  const Value all(Value::Table{{"plugins", std::move(plugins)},
                               {"engines", Value::List(engines.begin(), engines.end())},
                               {"directories", Value::List(folders.begin(), folders.end())}});
  print_json(to_json(all));
}

void print_usable(const Catalog& catalog) {
  for (const std::string& kind : component_kinds()) {
    for (const PluginEntry& plugin : catalog.plugins()) {
      if (plugin.state != PluginState::kCompatible) continue;
      for (const ComponentManifest& component : plugin.manifest.components) {
        if (component.kind != kind) continue;
        absl::PrintF("%-10s %-20s %s %s%s: %s\n", component.kind, component.name,
                     plugin.manifest.id, plugin.manifest.version,
                     plugin.file.empty() ? " (built in)" : "", component.summary);
      }
    }
  }
}

void print_engines(const Catalog& catalog) {
  const std::vector<std::string> folders = engine_search_path(catalog);
  const Formats formats(catalog);
  for (const std::string& name : engine_names(folders)) {
    const auto profile = find_engine(name, folders, &formats);
    absl::PrintF(
        "%-10s %-20s %s\n", "engine", name,
        profile.ok() ? profile->summary : absl::StrCat("not usable: ", profile.status().message()));
  }
}

}  // namespace

absl::Status plugins(const Arguments& arguments) {
  const Catalog catalog = Catalog::scan(plugin_search_path(arguments.plugin_path, {}));
  if (arguments.json) return print_for_programs(catalog), absl::OkStatus();
  print_usable(catalog);
  print_engines(catalog);
  for (const PluginEntry& plugin : catalog.plugins()) {
    if (plugin.state == PluginState::kCompatible) continue;
    absl::PrintF("\n%s: %s\n    %s\n", name_of(plugin.state), place_of(plugin),
                 absl::StrReplaceAll(plugin.reason, {{"\n", "\n    "}}));
  }
  absl::PrintF("\nlooked in\n");
  for (const std::string& folder : catalog.directories()) absl::PrintF("    %s\n", folder);
  return absl::OkStatus();
}

}  // namespace swage
