#pragma once
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "core/catalog/spelling.h"

namespace swage {

// What manifests say of one checkpoint: the adapter that its config.json chooses, the one that
// serves its language tower where that is another, and how their names are spelled here.
struct AdapterRules {
  Catalog::Found adapter;
  std::optional<Catalog::Found> language;
  Spelling spelling, language_spelling;
  Value language_config;
  bool chosen = false;  // the pipeline file names the adapter
  // The adapter's manifest with the globs of both, over names as the checkpoint spells them.
  ComponentManifest manifest;
};

// "vision", "projector" …; "language" for what belongs to no other tower.
std::string tower_of(const ComponentManifest& adapter, const std::string& module);

// `names` are those of the checkpoint's tensors. NotFound: no adapter for config.json, or for its
// language model.
absl::StatusOr<AdapterRules> adapter_rules(const Catalog& catalog, const Value& config,
                                           const std::vector<std::string>& names);

}  // namespace swage
