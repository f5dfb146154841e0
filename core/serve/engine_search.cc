#include "core/serve/engine_search.h"

#include "core/catalog/data_files.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr char kKind[] = "engine";

}  // namespace

std::vector<std::string> engine_search_path(const Catalog& catalog) {
  return data_folders(catalog, kKind);
}

std::vector<std::string> engine_names(const std::vector<std::string>& folders) {
  return DataFiles(folders, kKind).names();
}

absl::StatusOr<EngineProfile> find_engine(const std::string& name,
                                          const std::vector<std::string>& folders,
                                          const Formats* formats) {
  SWAGE_ASSIGN_OR_RETURN(const DataFiles::File file,
                         DataFiles(folders, kKind).read(name, "engine profile"));
  return parse_engine_profile(file.text, name, file.path, formats);
}

}  // namespace swage
