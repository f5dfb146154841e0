// Which files make up a model in GGUF.
#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "swage/io/gguf_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;

// NAME-00002-of-00003.gguf
struct SplitName {
  std::string stem;
  int count = 0;  // 0: the name of a whole file
};

SplitName split_name(const std::string& file) {
  constexpr size_t kEnd = sizeof("-00001-of-00002.gguf") - 1;
  if (file.size() <= kEnd) return {};
  const std::string end = file.substr(file.size() - kEnd);
  int number = 0, count = 0;
  if (end.substr(0, 1) != "-" || end.substr(6, 4) != "-of-" ||
      !absl::SimpleAtoi(end.substr(1, 5), &number) || !absl::SimpleAtoi(end.substr(10, 5), &count))
    return {};
  return {file.substr(0, file.size() - kEnd), count > 1 && number >= 1 ? count : 0};
}

absl::StatusOr<std::vector<std::string>> parts_of(const fs::path& folder, const SplitName& name) {
  std::vector<std::string> parts;
  std::error_code error;
  for (int i = 1; i <= name.count; ++i) {
    const fs::path part =
        folder / absl::StrFormat("%s-%05d-of-%05d.gguf", name.stem, i, name.count);
    if (!fs::is_regular_file(part, error))
      return absl::NotFoundError(absl::StrCat(part.string(), ": part ", i, " of ", name.count,
                                              " is missing; fetch the model again"));
    parts.push_back(part.string());
  }
  return parts;
}

// Weights for transformers come first, as they always did.
bool has_safetensors(const fs::path& folder) {
  std::error_code error;
  for (const char* file : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(fs::symlink_status(folder / file, error))) return true;
  }
  return false;
}

absl::StatusOr<std::vector<std::string>> files_in(const fs::path& folder) {
  std::set<std::string> models;  // of a split one, its first part
  std::error_code error;
  if (has_safetensors(folder)) return std::vector<std::string>();
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    // The projector of a model for images is a file beside its language model.
    if (!absl::EndsWith(file, ".gguf") || absl::StartsWith(file, "mmproj")) continue;
    const SplitName split = split_name(file);
    models.insert(split.count == 0
                      ? file
                      : absl::StrFormat("%s-00001-of-%05d.gguf", split.stem, split.count));
  }
  if (models.empty()) return std::vector<std::string>();
  if (models.size() > 1)
    return absl::InvalidArgumentError(absl::StrCat(folder.string(), ": holds ", models.size(),
                                                   " models (", absl::StrJoin(models, ", "),
                                                   "); give the file of one of them"));
  return gguf_files((folder / *models.begin()).string());
}

}  // namespace

absl::StatusOr<std::vector<std::string>> gguf_files(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return files_in(path);
  const SplitName name = split_name(fs::path(path).filename().string());
  if (name.count == 0) return std::vector<std::string>{path};
  return parts_of(fs::path(path).parent_path(), name);
}

}  // namespace swage::io
