#pragma once
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/catalog/catalog.h"

namespace swage {

// Where data files <name>.<kind>.toml lie: in the folders in which the catalog looked for plugins,
// then in <prefix>/share/swage/<kinds>.
std::vector<std::string> data_folders(const Catalog& catalog, const std::string& kind);

// The files of a kind in some folders: of two of one name the first counts.
class DataFiles {
 public:
  DataFiles(const std::vector<std::string>& folders, const std::string& kind);

  std::vector<std::string> names() const;  // sorted

  struct File {
    std::string path, text;
  };
  // NotFound: there is none of this name, and which are. `what`: "engine profile", for messages.
  absl::StatusOr<File> read(const std::string& name, const std::string& what) const;

 private:
  const std::vector<std::string> folders_;
  const std::string suffix_;
  std::map<std::string, std::string> paths_;  // by name
};

}  // namespace swage
