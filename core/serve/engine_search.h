#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"
#include "core/serve/engine_profile.h"

namespace swage {

// Folders with files <name>.engine.toml: those in which the catalog looked for plugins, then what
// the installation brings (<prefix>/share/swage/engines).
std::vector<std::string> engine_search_path(const Catalog& catalog);

// Names of all profiles in these folders, sorted: of two files of one name the first counts.
std::vector<std::string> engine_names(const std::vector<std::string>& folders);

// NotFound: there is none of this name, and which are; else what is wrong with its file.
absl::StatusOr<EngineProfile> find_engine(const std::string& name,
                                          const std::vector<std::string>& folders,
                                          const Formats* formats);

// A profile for people: what the engine reads, rule by rule.
std::string describe(const EngineProfile& profile);

}  // namespace swage
