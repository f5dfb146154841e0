#pragma once
#include <string>
#include <vector>

#include "core/catalog/manifest.h"

namespace swage {

// The keys of a pipeline file that belong to the host. Reading, the JSON Schema and `swage help
// pipeline` all follow this table; components add their own keys to [[step]], [[evaluate]] and
// [[export]].
struct Section {
  std::string name;  // "model"
  std::string summary;
  bool is_list = false;  // [[step]]
  std::string kind;      // lists of components: "algorithm", "evaluator", "exporter"
  std::vector<ParamManifest> keys;
  std::vector<std::string> scheme_tables;  // keys that hold a scheme: "weight", "activation"
};

const std::vector<Section>& sections();
const Section& section(const std::string& name);  // must be there

// The keys of [[step.override]] beside its scheme tables.
const std::vector<ParamManifest>& override_keys();

}  // namespace swage
