// Which files make up a checkpoint folder, and what they hold.
#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "safetensors_index.h"
#include "swage/io/gguf_header.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;

std::string examples(const std::vector<std::string>& names) {
  const size_t shown = std::min<size_t>(names.size(), 3);
  return absl::StrCat(
      absl::StrJoin(names.begin(), names.begin() + static_cast<int64_t>(shown), ", "),
      names.size() > shown ? absl::StrCat(" and ", names.size() - shown, " more") : "");
}

absl::Status lora_adapter(const std::string& folder) {
  return absl::InvalidArgumentError(absl::StrCat(
      folder,
      ": is a LoRA adapter (adapter_config.json), a difference to a model and no model; "
      "merge it into its base model first (peft: merge_and_unload(), then "
      "save_pretrained(folder))"));
}

// Why there is neither model.safetensors nor an index, and what helps.
absl::Status no_weights(const std::string& folder) {
  std::error_code error;
  if (fs::exists(fs::path(folder) / "adapter_config.json", error)) return lora_adapter(folder);
  std::vector<std::string> pickles, others;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::directory_entry& entry = *it;
    const std::string file = entry.path().filename().string(),
                      type = entry.path().extension().string();
    if (type == ".bin" || type == ".pt" || type == ".pth") pickles.push_back(file);
    if (type == ".safetensors") others.push_back(file);
  }
  std::string advice;
  if (!others.empty())
    advice = absl::StrCat("; it holds ", examples(others), ", but shards need their index");
  else if (!pickles.empty())
    advice = absl::StrCat(
        "; it holds ", examples(pickles),
        ", which can run code when they are loaded and are not read: "
        "convert them with transformers' save_pretrained(folder, safe_serialization=True)");
  return absl::NotFoundError(absl::StrCat(
      folder, ": holds neither model.safetensors nor model.safetensors.index.json", advice));
}

absl::Status all_there(const std::string& folder, const Shards& shards) {
  std::vector<std::string> missing;
  for (const auto& [file, tensors] : shards) {
    std::error_code error;
    if (!fs::is_regular_file(fs::path(folder) / file, error)) missing.push_back(file);
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(folder, ": ", missing.size(), " of ", shards.size(),
                                          " shards are missing: ", examples(missing),
                                          "; fetch the checkpoint again"));
}

absl::StatusOr<CheckpointFile> read_shard(const std::string& path,
                                          const std::vector<std::string>& tensors,
                                          const std::string& index) {
  SWAGE_ASSIGN_OR_RETURN(Header header, read_header(path));
  for (const std::string& tensor : tensors) {
    if (header.find(tensor) == header.end()) {
      return absl::DataLossError(absl::StrCat(path, ": tensor \"", tensor,
                                              "\" is not there, although ", index, " says so"));
    }
  }
  return CheckpointFile{path, std::move(header)};
}

// A checkpoint folder in one file, or in shards by its index.
struct Layout {
  std::string single, index;  // one of them
  Shards shards;
};

absl::StatusOr<Layout> layout_of(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    return absl::NotFoundError(absl::StrCat(folder, ": there is no such folder"));
  const fs::path single = fs::path(folder) / "model.safetensors",
                 index = fs::path(folder) / "model.safetensors.index.json";
  // As transformers does: the single file comes first.
  if (fs::exists(fs::symlink_status(single, error))) return Layout{single.string(), "", {}};
  if (!fs::exists(fs::symlink_status(index, error))) return no_weights(folder);
  Layout layout;
  layout.index = index.string();
  SWAGE_ASSIGN_OR_RETURN(layout.shards, read_index(layout.index));
  SWAGE_RETURN_IF_ERROR(all_there(folder, layout.shards));
  return layout;
}

}  // namespace

absl::StatusOr<std::vector<CheckpointFile>> read_checkpoint_files(const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const Layout layout, layout_of(folder));
  std::vector<CheckpointFile> files;
  if (layout.index.empty()) {
    SWAGE_ASSIGN_OR_RETURN(CheckpointFile file, read_shard(layout.single, {}, ""));
    files.push_back(std::move(file));
  }
  for (const auto& [name, tensors] : layout.shards) {
    SWAGE_ASSIGN_OR_RETURN(CheckpointFile file,
                           read_shard((fs::path(folder) / name).string(), tensors, layout.index));
    files.push_back(std::move(file));
  }
  return files;
}

absl::StatusOr<std::vector<std::string>> checkpoint_files(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error))
    return absl::NotFoundError(absl::StrCat(path, ": there is no such folder or file"));
  SWAGE_ASSIGN_OR_RETURN(std::vector<std::string> gguf, gguf_files(path));
  if (!gguf.empty()) return gguf;
  SWAGE_ASSIGN_OR_RETURN(const Layout layout, layout_of(path));
  if (layout.index.empty()) return std::vector<std::string>{layout.single};
  std::vector<std::string> paths;
  for (const auto& [name, tensors] : layout.shards)
    paths.push_back((fs::path(path) / name).string());
  return paths;
}

absl::StatusOr<Header> read_checkpoint_header(const std::string& path) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> gguf, gguf_files(path));
  if (!gguf.empty()) return read_gguf_header(path);
  SWAGE_ASSIGN_OR_RETURN(std::vector<CheckpointFile> files, read_checkpoint_files(path));
  Header all;
  for (CheckpointFile& file : files) {
    all.merge(file.header);
    if (!file.header.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.path, ": tensor \"", file.header.begin()->first, "\" also lies in another file"));
    }
  }
  return all;
}

}  // namespace swage::io
