#include "core/catalog/data_files.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/prefix.h"
#include "swage/suggest.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMostBytes = 1 << 20;  // they have a few kilobytes

}  // namespace

std::vector<std::string> data_folders(const Catalog& catalog, const std::string& kind) {
  std::vector<std::string> folders = catalog.directories();
  const std::string plural = kind == "mix" ? "mixes" : kind + "s";
  folders.push_back(installation_prefix() + "/share/swage/" + plural);
  return folders;
}

DataFiles::DataFiles(const std::vector<std::string>& folders, const std::string& kind)
    : folders_(folders), suffix_(absl::StrCat(".", kind, ".toml")) {
  for (const std::string& folder : folders_) {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string file = it->path().filename().string();
      if (file.size() <= suffix_.size() || !absl::EndsWith(file, suffix_)) continue;
      paths_.try_emplace(file.substr(0, file.size() - suffix_.size()), it->path().string());
    }
  }
}

std::vector<std::string> DataFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, path] : paths_) names.push_back(name);
  return names;
}

absl::StatusOr<DataFiles::File> DataFiles::read(const std::string& name,
                                                const std::string& what) const {
  const auto found = paths_.find(name);
  if (found == paths_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no ", what, " \"", name, "\"",
                                            suggestion(name, names()), "; looked for ", name,
                                            suffix_, " in ", absl::StrJoin(folders_, ", ")));
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
  return File{found->second, text.str()};
}

}  // namespace swage
