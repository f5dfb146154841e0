#pragma once
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/manifest.h"

namespace swage {

// What became of a plugin file. States are data: `swage plugins` prints every one.
enum class PluginState { kCompatible, kNotAPlugin, kRefused };

struct PluginEntry {
  std::string file;  // absolute path; "": built in, the formats that the SDK itself brings
  PluginState state = PluginState::kNotAPlugin;
  std::string reason;  // why not compatible: every differing field, both values, and the remedy
  std::string fingerprint;
  std::string build_id;
  Manifest manifest;  // empty when it could not be read
};

// The file, or "swage itself": what messages call a plugin by.
std::string place_of(const PluginEntry& plugin);

// All plugin files of a search path, read without running a line of them: ELF notes only. The
// formats that are built in come first.
class Catalog {
 public:
  // Directories in order of precedence; each is scanned for *.swage.so. A missing directory is
  // skipped, and remembered for messages. Of two files with the same plugin id, build id or a
  // component of the same kind and name the first wins, the second is refused by name.
  static Catalog scan(const std::vector<std::string>& directories);

  // Of manifests that are at hand already: what a test of anything behind the catalog starts from.
  static Catalog from(const std::vector<PluginEntry>& plugins);

  const std::vector<PluginEntry>& plugins() const { return plugins_; }
  const std::vector<std::string>& directories() const { return directories_; }

  // The model component that find_adapter takes, whatever config.json says; "": none.
  void choose_adapter(const std::string& name) { adapter_ = name; }
  bool adapter_is_chosen() const { return !adapter_.empty(); }

  struct Found {
    const PluginEntry* plugin;
    const ComponentManifest* component;
  };
  // NotFound names the nearest component of that kind, refused files that hold one of that name,
  // and the places searched.
  absl::StatusOr<Found> find(const std::string& kind, const std::string& name) const;
  // The model component for a config.json, by `architectures` then `model_type`. NotFound names
  // both and what is there; FailedPrecondition: plugins that serve the same, or a model_type of
  // another adapter than the architecture's. A file that is passed over for one of the same name is
  // said in the log, once.
  absl::StatusOr<Found> find_model(const Value& config) const;
  // The same for the whole config.json of a checkpoint, or what choose_adapter named.
  absl::StatusOr<Found> find_adapter(const Value& config) const;
  // The exporter whose manifest says it reads checkpoints with this
  // quantization_config.quant_method. FailedPrecondition: two plugins do.
  absl::StatusOr<Found> find_reader(const std::string& quant_method) const;
  // How checkpoints of exporters are known where quantization_config names no method.
  struct FormSign {
    std::string quant_method, config_key;  // a table of config.json; "": there is none
    std::vector<std::string> tensor_ends;  // of names that only such checkpoints have
  };
  std::vector<FormSign> form_signs() const;
  // Keys of config.json that say how weights are stored.
  std::set<std::string> storage_keys() const;
  // config.json without them.
  Value without_storage(const Value& config) const;
  // Usable ones of a kind, in order of the search path.
  std::vector<Found> components(const std::string& kind) const;

 private:
  // The first of `serving`, which all serve `what`; an error where they are of several plugins.
  absl::StatusOr<Found> only(const std::vector<Found>& serving, const std::string& what,
                             const std::string& advice) const;
  std::vector<PluginEntry> plugins_;
  std::vector<std::string> directories_;
  std::string adapter_;
};

// --plugin-path, [plugins] path, SWAGE_PLUGIN_PATH, <prefix>/lib/swage/plugins beside the running
// program: in that order.
std::vector<std::string> plugin_search_path(const std::vector<std::string>& command_line,
                                            const std::vector<std::string>& pipeline);

}  // namespace swage
