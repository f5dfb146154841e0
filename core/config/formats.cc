#include "core/config/formats.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/config/foreign_names.h"
#include "swage/suggest.h"

namespace swage {

Formats::Formats(const Catalog& catalog) {
  for (const PluginEntry& plugin : catalog.plugins()) {
    if (plugin.state != PluginState::kCompatible && plugin.manifest.components.empty())
      absl::StrAppend(&unread_, "; ", place_of(plugin), " is not usable: ", plugin.reason);
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind != "format") continue;
      if (plugin.state != PluginState::kCompatible) {
        refused_[component.name] =
            absl::StrCat(place_of(plugin), " holds it but is refused: ", plugin.reason);
        continue;
      }
      Format format{component.name, component.summary, {}};
      for (const std::string& table : component.tables)
        format.keys[table] = keys_in(component.params, table);
      formats_.push_back(std::move(format));
    }
  }
}

const Formats::Format* Formats::find(const std::string& name) const {
  const auto it = std::find_if(formats_.begin(), formats_.end(),
                               [&](const Format& format) { return format.name == name; });
  return it == formats_.end() ? nullptr : &*it;
}

std::vector<const Formats::Format*> Formats::in(const std::string& table) const {
  std::vector<const Format*> found;
  for (const Format& format : formats_) {
    if (table.empty() || format.keys.count(table) > 0) found.push_back(&format);
  }
  return found;
}

std::string Formats::why_not(const std::string& name, const std::string& table,
                             ExitCode* code) const {
  *code = ExitCode::kPipeline;
  std::vector<std::string> known;
  for (const Format* format : in(table)) known.push_back(format->name);
  if (find(name) != nullptr) {
    return absl::StrCat("\"format\" is \"", name, "\", which is none for ", table,
                        " tables; those are ", absl::StrJoin(known, ", "));
  }
  const auto refused = refused_.find(name);
  if (refused != refused_.end()) {
    *code = ExitCode::kPlugin;
    return absl::StrCat("there is no format \"", name, "\"; ", refused->second);
  }
  const std::string foreign = foreign_component("format", name);
  return absl::StrCat("there is no format \"", name, "\"",
                      foreign.empty() ? suggestion(name, known) + unread_ : foreign);
}

std::vector<std::string> known_scheme_keys(const std::string& table) {
  static const auto* const builtin = new Formats(Catalog::from({}));
  std::set<std::string> keys = {"format"};
  for (const Formats::Format* format : builtin->in(table)) {
    for (const ParamManifest& key : format->keys.at(table)) keys.insert(key.name);
  }
  return {keys.begin(), keys.end()};
}

bool measures(const Formats& formats, const std::string& table, const Scheme& scheme) {
  const Formats::Format* const format = formats.find(scheme.format);
  if (format == nullptr || format->keys.count(table) == 0) return false;
  const std::vector<ParamManifest>& keys = format->keys.at(table);
  return std::any_of(keys.begin(), keys.end(), [&](const ParamManifest& key) {
    const auto value = scheme.keys.find(key.name);
    return value != scheme.keys.end() &&
           std::count(key.measured.begin(), key.measured.end(), value->second) > 0;
  });
}

std::string condition_text(const ParamManifest::Condition& condition) {
  return absl::StrCat(
      condition.key, " = ",
      absl::StrJoin(condition.values, " or ", [](std::string* out, const Value& value) {
        absl::StrAppend(out, to_json(value, -1));
      }));
}

}  // namespace swage
