#include "io/side_files.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/io/gguf.h"
#include "swage/io/left_out.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxFileBytes = int64_t{256} << 20, kMaxAllBytes = int64_t{1} << 30;
constexpr size_t kMaxFiles = 2000;
constexpr int kMaxDepth = 4;

constexpr const char* kWeights[] = {".safetensors", ".bin",  ".pt",      ".pth",       ".gguf",
                                    ".ggml",        ".onnx", ".h5",      ".ckpt",      ".npz",
                                    ".npy",         ".pkl",  ".msgpack", ".ot",        ".tflite",
                                    ".engine",      ".part", ".tmp",     ".onnx_data", ".mlmodel"};
// They would describe weights that are no longer there.
constexpr const char* kForms[] = {"quantize_config.json", "quant_config.json",
                                  "hf_quant_config.json", "adapter_config.json",
                                  "trainer_state.json"};
// Every export gets its own.
constexpr const char* kConfig = "config.json";
constexpr const char* kOwn[] = {"swage.json", "swage_verdict.json", "swage_export.json",
                                "__pycache__"};
// Hidden files and folders of other tools, which are no part of a model.
constexpr const char* kTools[] = {".git",         ".gitattributes", ".gitignore", ".cache",
                                  ".huggingface", ".locks",         ".DS_Store"};

bool is_weights(const std::string& name) {
  if (absl::EndsWith(name, ".index.json")) return true;
  return std::any_of(std::begin(kWeights), std::end(kWeights),
                     [&](const char* type) { return absl::EndsWith(name, type); });
}

template <class List>
bool is_one_of(const std::string& name, const List& list) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool counts_for_nobody(const std::string& name, int depth) {
  return name.empty() || (depth == 0 && name == kConfig) || is_one_of(name, kOwn) ||
         is_one_of(name, kTools);
}

// Empty: it goes along.
const char* why_left_out(const std::string& name) {
  if (absl::EndsWith(name, ".index.json")) return "an index of weights";
  if (is_weights(name)) return "weights in another form";
  if (is_one_of(name, kForms)) return "describes another form of the weights";
  return name[0] == '.' ? "hidden" : "";
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const auto [end, unused] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end();
}

// The hub's cache keeps files as links: models--…/snapshots/REVISION/NAME -> ../../blobs/HASH.
fs::path blobs_of(const fs::path& folder) {
  const fs::path snapshots = folder.parent_path();
  return snapshots.filename() == "snapshots" ? snapshots.parent_path() / "blobs" : fs::path();
}

class Walk {
 public:
  explicit Walk(const std::string& folder) : root_(folder) {
    std::error_code error;
    real_ = fs::canonical(root_, error);
  }

  absl::Status folder(const fs::path& place, int depth) {
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator it(place, error), end; !error && it != end; it.increment(error))
      entries.push_back(*it);
    if (error)
      return absl::FailedPreconditionError(
          absl::StrCat(place.string(), ": cannot be listed (", error.message(), ")"));
    // Weights in a folder of their own are another format's, and so is what lies beside them.
    if (depth > 0 && std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
          return is_weights(entry.path().filename().string());
        })) {
      leave_out(place, "weights of a form of their own, and what lies beside them", "/");
      return absl::OkStatus();
    }
    for (const fs::directory_entry& entry : entries) SWAGE_RETURN_IF_ERROR(one(entry, depth));
    return absl::OkStatus();
  }

  std::vector<std::string> files;
  std::vector<LeftOut> left_out;

 private:
  void leave_out(const fs::path& path, const char* why, const char* end = "") {
    left_out.push_back({path.lexically_relative(root_).string() + end, why});
  }

  absl::Status one(const fs::directory_entry& entry, int depth) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (counts_for_nobody(name, depth)) return absl::OkStatus();
    if (const char* const why = why_left_out(name); *why != '\0') {
      leave_out(entry.path(), why);
      return absl::OkStatus();
    }
    std::error_code error;
    if (entry.is_symlink(error)) SWAGE_RETURN_IF_ERROR(check_link(entry.path()));
    if (entry.is_directory(error)) {
      // A link to a folder may lead in circles.
      if (entry.is_symlink(error))
        leave_out(entry.path(), "a link to a folder", "/");
      else if (depth >= kMaxDepth)
        leave_out(entry.path(), "more than 4 folders deep", "/");
      else
        return folder(entry.path(), depth + 1);
      return absl::OkStatus();
    }
    if (!entry.is_regular_file(error)) {  // pipes and the like are no files
      if (entry.path().extension() != ".json" && name != "tokenizer.model") {
        leave_out(entry.path(), "a pipe, socket or device");
        return absl::OkStatus();
      }
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": is a pipe, socket or device, expected a file; remove it"));
    }
    if (files.size() >= kMaxFiles) {
      return absl::InvalidArgumentError(
          absl::StrCat(root_.string(), ": holds more than ", kMaxFiles,
                       " files beside the weights; expected the folder of one checkpoint"));
    }
    files.push_back(entry.path().lexically_relative(root_).string());
    return absl::OkStatus();
  }

  absl::Status check_link(const fs::path& link) const {
    std::error_code error;
    const std::string target = fs::read_symlink(link, error).string();
    const fs::path real = fs::canonical(link, error);
    if (error) {
      return absl::InvalidArgumentError(
          absl::StrCat(link.string(), ": is a link to \"", target, "\", which leads nowhere (",
                       error.message(), "); fetch the checkpoint again, or remove the link"));
    }
    const fs::path blobs = blobs_of(real_);
    if (lies_in(real, real_) || (!blobs.empty() && lies_in(real, blobs))) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        link.string(), ": is a link to \"", target,
        "\", outside of the model's folder, and would be copied into exports; put the file itself "
        "there, or remove the link"));
  }

  fs::path root_, real_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> list_side_files(const std::string& folder) {
  Walk walk(folder);
  SWAGE_RETURN_IF_ERROR(walk.folder(folder, 0));
  std::sort(walk.files.begin(), walk.files.end());
  return std::move(walk.files);
}

absl::StatusOr<std::vector<LeftOut>> left_out_files(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<LeftOut>();
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> weights, checkpoint_files(path));
  std::set<std::string> read = {"model.safetensors.index.json"};
  for (const std::string& file : weights) read.insert(fs::path(file).filename().string());
  Walk walk(path);
  SWAGE_RETURN_IF_ERROR(walk.folder(path, 0));
  std::vector<LeftOut> found;
  for (LeftOut& one : walk.left_out)
    if (read.count(one.name) == 0) found.push_back(std::move(one));
  std::sort(found.begin(), found.end(),
            [](const LeftOut& a, const LeftOut& b) { return a.name < b.name; });
  return found;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> read_side_files(
    const std::string& folder) {
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_side_files(folder));
  std::vector<std::pair<std::string, std::string>> files;
  int64_t left = kMaxAllBytes;
  for (const std::string& name : names) {
    SWAGE_ASSIGN_OR_RETURN(std::string content, read_file((fs::path(folder) / name).string(),
                                                          std::min(left, kMaxFileBytes)));
    // What would count as absent is what an interrupted download has left.
    if (content.empty() && fs::path(name).extension() == ".json")
      return absl::InvalidArgumentError(
          absl::StrCat((fs::path(folder) / name).string(),
                       ": is empty, expected JSON; fetch it again, or remove it"));
    left -= static_cast<int64_t>(content.size());
    files.emplace_back(name, std::move(content));
  }
  return files;
}

absl::Status write_side_files(const std::string& directory,
                              const std::vector<std::pair<std::string, std::string>>& files,
                              std::vector<std::string>* written) {
  for (const auto& [name, content] : files) {
    const fs::path relative(name);
    if (relative.is_absolute() || relative.lexically_normal() != relative ||
        *relative.begin() == "..") {
      return absl::InvalidArgumentError(
          absl::StrCat("the side file \"", name, "\" leads out of ", directory));
    }
    const fs::path file = fs::path(directory) / relative;
    written->push_back(file.string());
    std::error_code error;  // what it stops, the file says
    fs::create_directories(file.parent_path(), error);
    SWAGE_RETURN_IF_ERROR(write_file_atomically(file.string(), content));
  }
  return absl::OkStatus();
}

}  // namespace swage::io
