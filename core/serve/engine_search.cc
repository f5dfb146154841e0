#include "core/serve/engine_search.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/exit_codes.h"
#include "core/base/prefix.h"
#include "swage/suggest.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".engine.toml";
constexpr std::uintmax_t kMostBytes = 1 << 20;  // a profile has a few kilobytes

std::map<std::string, std::string> files_in(const std::vector<std::string>& folders) {
  std::map<std::string, std::string> files;
  for (const std::string& folder : folders) {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (name.size() < sizeof kSuffix || !absl::EndsWith(name, kSuffix)) continue;
      files.try_emplace(name.substr(0, name.size() + 1 - sizeof kSuffix), it->path().string());
    }
  }
  return files;
}

}  // namespace

std::vector<std::string> engine_search_path(const Catalog& catalog) {
  std::vector<std::string> folders = catalog.directories();
  folders.push_back(installation_prefix() + "/share/swage/engines");
  return folders;
}

std::vector<std::string> engine_names(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  for (const auto& [name, file] : files_in(folders)) names.push_back(name);
  return names;
}

absl::StatusOr<EngineProfile> find_engine(const std::string& name,
                                          const std::vector<std::string>& folders,
                                          const Formats* formats) {
  const std::map<std::string, std::string> files = files_in(folders);
  const auto found = files.find(name);
  if (found == files.end()) {
    return absl::NotFoundError(absl::StrCat(
        "there is no engine profile \"", name, "\"", suggestion(name, engine_names(folders)),
        "; looked for ", name, kSuffix, " in ", absl::StrJoin(folders, ", ")));
  }
  std::error_code error;
  const std::uintmax_t size = fs::file_size(found->second, error);
  std::ifstream file(found->second);
  if (error || !file || size > kMostBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        found->second, size > kMostBytes && !error ? " is larger than 1 MiB" : " cannot be read"));
  }
  std::stringstream text;
  text << file.rdbuf();
  return parse_engine_profile(text.str(), name, found->second, formats);
}

}  // namespace swage
