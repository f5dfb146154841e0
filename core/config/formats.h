#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/exit_codes.h"
#include "core/catalog/catalog.h"
#include "swage/scheme.h"

namespace swage {

// The number formats that `weight` and `activation` tables may name, as their manifests declare
// them. A copy of its own: it outlives the catalog.
class Formats {
 public:
  explicit Formats(const Catalog& catalog);

  struct Format {
    std::string name, summary;
    std::map<std::string, std::vector<ParamManifest>> keys;  // by table
  };
  const Format* find(const std::string& name) const;  // null: there is none
  // Those that may stand in a table, in the order of the catalog; "": all.
  std::vector<const Format*> in(const std::string& table) const;
  // Why a name cannot be used in a table, and what class of error that is.
  std::string why_not(const std::string& name, const std::string& table, ExitCode* code) const;

 private:
  std::vector<Format> formats_;
  std::map<std::string, std::string> refused_;  // by name: of files that cannot be used
  std::string unread_;                          // files whose manifests are not known at all
};

// Names of all keys that the built-in formats have in a table, "format" itself included: what is
// completed and what a misplaced key is recognized by.
std::vector<std::string> known_scheme_keys(const std::string& table);

// One thing that is wrong with a table; `key` is where, "" the table itself.
struct SchemeProblem {
  std::string key, text;
  ExitCode code = ExitCode::kPipeline;
};

// What a table of TOML makes of `base`, and what is wrong with it; the base where anything is. A
// table that names no format or the base's is merged over the base's keys, another format starts
// from its own defaults.
//   * A key that exists only under a condition sets what it needs: `group = 64` makes granularity
//     "group", unless the table itself says otherwise, which is an error.
//   * Keys whose condition does not hold are left out.
Scheme read_scheme(const Formats& formats, const std::string& table, const Value& given,
                   const Scheme& base, std::vector<SchemeProblem>* problems);

// Does the scheme take statistics of inputs, as static activations do?
bool measures(const Formats& formats, const std::string& table, const Scheme& scheme);

// `granularity = "group"`: how messages and help say a condition.
std::string condition_text(const ParamManifest::Condition& condition);

}  // namespace swage
