#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/source_location.h"
#include "swage/value.h"

namespace swage {

// A TOML file as a tree of values, with the place of each. Paths are written "step[0].weight.bits";
// "" is the file.
struct Document {
  struct Place {
    SourceLocation key, value;
  };
  Value root{Value::Table{}};
  std::map<std::string, Place> places;

  // Where the key, or its value, stands; for a path that is not there the nearest table round it.
  const Place& place(std::string_view path) const;
};

// "step[0]" and "bits" -> "step[0].bits"; a key of the file itself stays as it is.
std::string join_path(std::string_view table, std::string_view key);

// Errors name file:line:column. Dates and numbers that are not finite are refused. `origin` stands
// for the file's name.
absl::StatusOr<Document> parse_toml(std::string_view text, const std::string& origin);

// A file and what it includes: include = ["base.toml"] (paths relative to the file that says so).
// Tables are merged, the including file wins; lists of tables ([[step]]) of the included files come
// first. A cycle is refused.
absl::StatusOr<Document> read_toml(const std::string& file);

// "step.gptq.weight.bits=3": sets one value. In the lists step, evaluate and export the second word
// is an entry's name (or `use`). The text behind "=" is read as TOML, and as a plain string when it
// is none.
absl::Status apply_set(const std::string& assignment, Document* document);

}  // namespace swage
