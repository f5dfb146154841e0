#pragma once
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "swage/value.h"

namespace swage {

// Words of other programs, answered with ours. All that is known of them stands in one table
// (foreign_names.cc); each answer begins with "; " and is empty where there is none to give.

// For a key that is not known where it stands: "; here it is called "group"". Where that key is
// none of `known`, the answer says where it belongs, as for a key of ours that stands elsewhere;
// `otherwise` where the word is neither.
std::string foreign_key(const std::string& key, const std::vector<std::string>& known,
                        const std::string& otherwise);

// Our key of the same meaning, wherever it stands; "": the word is not known.
std::string own_key(const std::string& foreign);

// For an algorithm, evaluator, exporter or format that is not there: `kind` as in manifests.
std::string foreign_component(const std::string& kind, const std::string& name);

// For a value of a scheme's key that other programs write.
std::string foreign_value(const std::string& key, const Value& value);

// For a path that does not exist: names of models and of data sets on a hub, "~".
std::string foreign_path(const std::string& path);
// The same for "~" alone: for paths that are no models and no data.
std::string foreign_home(const std::string& path);

// For a file that is no TOML: what it looks like.
std::string foreign_text(const std::string& text);

// An error for a file that is a recipe of YAML or JSON.
absl::Status foreign_pipeline(const std::string& file);

}  // namespace swage
