#include "core/catalog/catalog.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/log.h"
#include "core/catalog/elf_note.h"
#include "core/catalog/fingerprint.h"
#include "swage/builtin_formats.h"
#include "swage/host_fingerprint.h"
#include "swage/status.h"
#include "swage/suggest.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".swage.so";

// Plugin files of a folder by name, so that the outcome does not depend on the order on disk.
std::vector<std::string> plugin_files(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() >= sizeof kSuffix && absl::EndsWith(name, kSuffix))
      files.push_back(it->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

PluginEntry examine(const std::string& file) {
  PluginEntry entry;
  entry.file = file;
  const absl::StatusOr<ElfNotes> notes = read_elf_notes(file);
  if (!notes.ok()) {
    entry.state =
        absl::IsInvalidArgument(notes.status()) ? PluginState::kNotAPlugin : PluginState::kRefused;
    entry.reason = std::string(notes.status().message());
    return entry;
  }
  if (notes->fingerprint.empty() && notes->manifest.empty()) {
    entry.reason =
        "a shared library without notes of swage; plugins are made by swage_add_plugin()";
    return entry;
  }
  entry.state = PluginState::kRefused;
  entry.fingerprint = notes->fingerprint;
  entry.build_id = notes->build_id;
  // A manifest of a later version may hold keys that are unknown here, so the fingerprint speaks
  // first.
  entry.reason = fingerprint_difference(notes->fingerprint, host_fingerprint());
  absl::StatusOr<Manifest> manifest = parse_manifest(notes->manifest, file + "[manifest]");
  if (manifest.ok()) entry.manifest = *std::move(manifest);
  if (!entry.reason.empty()) return entry;
  entry.reason = manifest.ok() ? interface_difference(entry.manifest)
                               : std::string(manifest.status().message());
  if (entry.reason.empty()) entry.state = PluginState::kCompatible;
  return entry;
}

// Why `later` cannot be used beside `first`; "" when it can.
std::string repetition(const PluginEntry& first, const PluginEntry& later) {
  if (!later.build_id.empty() && first.build_id == later.build_id)
    return "a copy of " + first.file + ", which is used";
  if (first.manifest.id == later.manifest.id) {
    return absl::StrCat("repeats the plugin id \"", later.manifest.id, "\" of ", place_of(first),
                        " (version ", first.manifest.version,
                        "), which comes first; remove one of them");
  }
  for (const ComponentManifest& ours : first.manifest.components) {
    for (const ComponentManifest& theirs : later.manifest.components) {
      if (ours.kind != theirs.kind || ours.name != theirs.name) continue;
      return absl::StrCat("repeats the ", ours.kind, " \"", ours.name, "\" of ", place_of(first),
                          ", which comes first; give it another name");
    }
  }
  return "";
}

PluginEntry make_builtin() {
  PluginEntry entry;
  entry.fingerprint = host_fingerprint();
  absl::StatusOr<Manifest> manifest = parse_manifest(builtin_formats(), "built-in formats");
  if (manifest.ok()) {
    entry.state = PluginState::kCompatible;
    entry.manifest = *std::move(manifest);
  } else {
    entry.state = PluginState::kRefused;
    entry.reason = std::string(manifest.status().message());
  }
  return entry;
}

std::string names_of(const std::vector<std::string>& words) {
  return words.empty() ? "nothing" : absl::StrJoin(words, ", ");
}

bool holds(const std::vector<std::string>& words, const std::string& word) {
  return std::count(words.begin(), words.end(), word) > 0;
}

std::vector<std::string> architectures_of(const Value& config) {
  std::vector<std::string> architectures;
  if (const Value::List* list = config["architectures"].list()) {
    for (const Value& item : *list) {
      if (item.text() != nullptr) architectures.push_back(*item.text());
    }
  }
  return architectures;
}

// "; the nearest that are served: …", a handful of them.
std::string nearest_architectures(const std::vector<std::string>& wanted,
                                  std::vector<std::string> known) {
  constexpr size_t kHandful = 5;
  std::vector<std::string> found;
  for (const std::string& word : wanted) {
    while (found.size() < kHandful) {
      const std::string near = nearest(word, known);
      if (near.empty()) break;
      found.push_back(near);
      known.erase(std::remove(known.begin(), known.end(), near), known.end());
    }
  }
  if (!found.empty()) return absl::StrCat("; the nearest that are served: ", names_of(found));
  return known.size() > kHandful ? ""
                                 : absl::StrCat("; installed adapters serve ", names_of(known));
}

// A model_type that only another adapter knows is another network's.
absl::Status agree(const Catalog::Found& found, const std::string& architecture,
                   const std::string* type, const std::vector<Catalog::Found>& models) {
  const std::vector<std::string>& own = found.component->model_types;
  if (type == nullptr || own.empty() || holds(own, *type)) return absl::OkStatus();
  for (const Catalog::Found& model : models) {
    if (!holds(model.component->model_types, *type)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("config.json: architectures says ", architecture, ", which the adapter \"",
                     found.component->name, "\" serves, but model_type is \"", *type,
                     "\", which \"", model.component->name, "\" serves: one of them is wrong"));
  }
  return absl::OkStatus();
}

void warn_once(const std::string& line) {
  static auto* const said = new std::set<std::string>();
  static auto* const mutex = new std::mutex();
  const std::lock_guard<std::mutex> lock(*mutex);
  if (said->insert(line).second) log_warning(line);
}

}  // namespace

std::string place_of(const PluginEntry& plugin) {
  return plugin.file.empty() ? "swage itself" : plugin.file;
}

Catalog Catalog::from(const std::vector<PluginEntry>& plugins) {
  static const auto* const builtin = new PluginEntry(make_builtin());
  Catalog catalog;
  catalog.plugins_ = {*builtin};
  catalog.plugins_.insert(catalog.plugins_.end(), plugins.begin(), plugins.end());
  return catalog;
}

Catalog Catalog::scan(const std::vector<std::string>& directories) {
  Catalog catalog = from({});
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const std::string& directory : directories) {
    std::error_code error;
    const std::string absolute = fs::absolute(directory, error).lexically_normal().string();
    catalog.directories_.push_back(absolute);
    for (const std::string& file : plugin_files(absolute)) {
      struct stat info;
      // The same file again, through a link or a folder named twice, is no second plugin.
      if (stat(file.c_str(), &info) == 0 && !seen.emplace(info.st_dev, info.st_ino).second)
        continue;
      PluginEntry entry = examine(file);
      for (const PluginEntry& first : catalog.plugins_) {
        if (entry.state != PluginState::kCompatible || first.state != PluginState::kCompatible)
          continue;
        entry.reason = repetition(first, entry);
        if (!entry.reason.empty()) entry.state = PluginState::kRefused;
      }
      catalog.plugins_.push_back(std::move(entry));
    }
  }
  return catalog;
}

absl::StatusOr<Catalog::Found> Catalog::find(const std::string& kind,
                                             const std::string& name) const {
  std::vector<std::string> known;
  std::string refused, unread;
  for (const PluginEntry& plugin : plugins_) {
    if (plugin.state != PluginState::kCompatible && plugin.manifest.components.empty())
      absl::StrAppend(&unread, "; ", plugin.file, " is not usable: ", plugin.reason);
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind != kind) continue;
      if (plugin.state == PluginState::kCompatible) {
        if (component.name == name) return Found{&plugin, &component};
        known.push_back(component.name);
      } else if (component.name == name) {
        absl::StrAppend(&refused, "; ", plugin.file, " holds it but is refused: ", plugin.reason);
      }
    }
  }
  const std::string text = absl::StrCat("no ", kind, " \"", name, "\" in ", names_of(directories_));
  if (!refused.empty())
    return with_exit_code(absl::NotFoundError(text + refused), ExitCode::kPlugin);
  return absl::NotFoundError(absl::StrCat(text, suggestion(name, known), unread));
}

absl::StatusOr<Catalog::Found> Catalog::only(const std::vector<Found>& serving,
                                             const std::string& what,
                                             const std::string& advice) const {
  std::vector<std::string> holders;
  for (const Found& one : serving) {
    if (one.plugin == serving.front().plugin && &one != &serving.front()) continue;
    holders.push_back(absl::StrCat("\"", one.component->name, "\" of ", one.plugin->file));
  }
  if (holders.size() > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, " is served by ", absl::StrJoin(holders, " and "), "; ", advice));
  }
  const Found& found = serving.front();
  for (const PluginEntry& plugin : plugins_) {
    if (plugin.state != PluginState::kRefused || plugin.build_id == found.plugin->build_id)
      continue;
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind == found.component->kind && component.name == found.component->name)
        warn_once(absl::StrCat("the ", component.kind, " \"", component.name, "\" is that of ",
                               found.plugin->file, "; ", plugin.file,
                               " holds one of that name too: ", plugin.reason));
    }
  }
  return found;
}

absl::StatusOr<Catalog::Found> Catalog::find_model(const Value& config) const {
  const std::vector<std::string> architectures = architectures_of(config);
  const std::string* type = config["model_type"].text();
  const std::vector<Found> models = components("model");
  const std::string advice =
      "[model] adapter = \"<name>\" in the pipeline file chooses one, as --adapter does for "
      "inspect "
      "and forward";
  for (const std::string& architecture : architectures) {
    std::vector<Found> serving;
    for (const Found& model : models) {
      if (holds(model.component->architectures, architecture)) serving.push_back(model);
    }
    if (serving.empty()) continue;
    SWAGE_ASSIGN_OR_RETURN(const Found found, only(serving, architecture, advice));
    SWAGE_RETURN_IF_ERROR(agree(found, architecture, type, models));
    return found;
  }
  std::vector<Found> serving;
  std::vector<std::string> known;
  for (const Found& model : models) {
    if (type != nullptr && holds(model.component->model_types, *type)) serving.push_back(model);
    known.insert(known.end(), model.component->architectures.begin(),
                 model.component->architectures.end());
  }
  if (!serving.empty()) return only(serving, absl::StrCat("model_type ", *type), advice);
  for (const PluginEntry& plugin : plugins_) {
    for (const ComponentManifest& component : plugin.manifest.components) {
      const bool serves =
          (type != nullptr && holds(component.model_types, *type)) ||
          std::any_of(architectures.begin(), architectures.end(), [&](const auto& architecture) {
            return holds(component.architectures, architecture);
          });
      if (!serves) continue;
      return with_exit_code(
          absl::NotFoundError(absl::StrCat("the model adapter \"", component.name, "\" of ",
                                           plugin.file, " is refused: ", plugin.reason)),
          ExitCode::kPlugin);
    }
  }
  return absl::NotFoundError(absl::StrCat("no model adapter serves config.json with architectures ",
                                          names_of(architectures), " and model_type ",
                                          type != nullptr ? *type : "nothing",
                                          nearest_architectures(architectures, known),
                                          "; `swage help architectures` lists all, "
                                          "docs/add-a-model.md adds one; looked in ",
                                          names_of(directories_)));
}

absl::StatusOr<Catalog::Found> Catalog::find_adapter(const Value& config) const {
  return adapter_.empty() ? find_model(config) : find("model", adapter_);
}

absl::StatusOr<Catalog::Found> Catalog::find_reader(const std::string& quant_method) const {
  std::vector<std::string> known;
  std::vector<Found> serving;
  for (const Found& exporter : components("exporter")) {
    const std::string& method = exporter.component->quant_method;
    if (method == quant_method && !method.empty()) serving.push_back(exporter);
    if (!method.empty()) known.push_back(method);
  }
  if (!serving.empty()) {
    return only(serving, absl::StrCat("quant_method \"", quant_method, "\""),
                "leave one of them out of the plugin path");
  }
  return absl::NotFoundError(absl::StrCat("no exporter reads checkpoints with quant_method \"",
                                          quant_method, "\"; installed ones read ", names_of(known),
                                          "; looked in ", names_of(directories_)));
}

std::vector<Catalog::FormSign> Catalog::form_signs() const {
  std::vector<FormSign> signs;
  for (const Found& exporter : components("exporter")) {
    const ComponentManifest& manifest = *exporter.component;
    if (!manifest.config_key.empty() || !manifest.tensor_ends.empty())
      signs.push_back({manifest.quant_method, manifest.config_key, manifest.tensor_ends});
  }
  return signs;
}

std::set<std::string> Catalog::storage_keys() const {
  std::set<std::string> keys = {"quantization_config"};
  for (const FormSign& sign : form_signs()) {
    if (!sign.config_key.empty()) keys.insert(sign.config_key);
  }
  return keys;
}

Value Catalog::without_storage(const Value& config) const {
  Value::Table table = *config.table();
  for (const std::string& key : storage_keys()) table.erase(key);
  return Value(std::move(table));
}

std::vector<Catalog::Found> Catalog::components(const std::string& kind) const {
  std::vector<Found> found;
  for (const PluginEntry& plugin : plugins_) {
    if (plugin.state != PluginState::kCompatible) continue;
    for (const ComponentManifest& component : plugin.manifest.components) {
      if (component.kind == kind) found.push_back({&plugin, &component});
    }
  }
  return found;
}

}  // namespace swage
