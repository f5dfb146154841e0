#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_split.h"
#include "core/base/prefix.h"
#include "core/catalog/catalog.h"

namespace swage {

std::vector<std::string> plugin_search_path(const std::vector<std::string>& command_line,
                                            const std::vector<std::string>& pipeline) {
  std::vector<std::string> path = command_line;
  path.insert(path.end(), pipeline.begin(), pipeline.end());
  if (const char* environment = std::getenv("SWAGE_PLUGIN_PATH")) {
    for (absl::string_view folder : absl::StrSplit(environment, ':', absl::SkipEmpty()))
      path.emplace_back(folder);
  }
  path.push_back(installation_prefix() + "/lib/swage/plugins");
  return path;
}

}  // namespace swage
