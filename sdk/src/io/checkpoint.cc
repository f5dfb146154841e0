#include "swage/io/checkpoint.h"

#include <xxhash.h>

#include <filesystem>

#include "absl/strings/str_join.h"
#include "io/fp8_source.h"
#include "io/fused_experts_source.h"
#include "io/safetensors_source.h"
#include "swage/io/gguf.h"
#include "swage/io/safetensors.h"
#include "swage/io/safetensors_header.h"
#include "swage/status.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kMaxConfigBytes = 16 << 20, kMaxSideFileBytes = 256 << 20;
constexpr const char* kSideFiles[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "tokenizer.model",
                                      "vocab.json",
                                      "merges.txt",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "generation_config.json",
                                      "preprocessor_config.json",
                                      "video_preprocessor_config.json",
                                      "processor_config.json"};

// Name, dtype, shape and place of every tensor, so that a replaced file is noticed without reading
// weights.
std::string identify(const std::string& config, const std::vector<CheckpointFile>& files) {
  std::string text = config;
  for (const auto& [path, header] : files) {
    absl::StrAppend(&text, "\n", fs::path(path).filename().string(), " ", fs::file_size(path),
                    "\n");
    for (const auto& [tensor, info] : header) {
      absl::StrAppend(&text, tensor, " ", name(info.type), " ", absl::StrJoin(info.shape, ","), " ",
                      info.begin, "\n");
    }
  }
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

class HuggingFaceCheckpoint final : public Checkpoint {
 public:
  HuggingFaceCheckpoint(std::string path, Value config, std::unique_ptr<WeightSource> weights,
                        std::string identity)
      : path_(std::move(path)),
        config_(std::move(config)),
        weights_(std::move(weights)),
        identity_(std::move(identity)) {}

  const Value& config() const override { return config_; }
  const WeightSource& weights() const override { return *weights_; }
  const std::string& path() const override { return path_; }
  std::string identity() const override { return identity_; }

  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files() const override {
    std::vector<std::string> names(std::begin(kSideFiles), std::end(kSideFiles));
    // Code that config.json's auto_map names must stay beside it.
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == ".py") names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    std::vector<std::pair<std::string, std::string>> files;
    for (const std::string& name : names) {
      const fs::path file = fs::path(path_) / name;
      if (!fs::is_regular_file(file)) continue;
      SWAGE_ASSIGN_OR_RETURN(std::string content, read_file(file.string(), kMaxSideFileBytes));
      files.emplace_back(name, std::move(content));
    }
    return files;
  }

 private:
  std::string path_;
  Value config_;
  std::unique_ptr<WeightSource> weights_;
  std::string identity_;
};

absl::StatusOr<std::unique_ptr<Checkpoint>> open_folder(const std::string& path) {
  const std::string config_file = (fs::path(path) / "config.json").string();
  if (!fs::exists(config_file)) {
    // It says what is wrong with a folder that is something else.
    if (fs::exists(fs::path(path) / "adapter_config.json"))
      SWAGE_RETURN_IF_ERROR(read_checkpoint_files(path).status());
    return absl::NotFoundError(absl::StrCat(
        path, ": holds no config.json; expected a Hugging Face checkpoint folder or a GGUF file"));
  }
  SWAGE_ASSIGN_OR_RETURN(const std::string text, read_file(config_file, kMaxConfigBytes));
  SWAGE_ASSIGN_OR_RETURN(Value config, parse_json(text, config_file));
  if (config.table() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(config_file, ": is a ", config.type_name(), ", expected a table"));
  }
  SWAGE_ASSIGN_OR_RETURN(std::vector<CheckpointFile> files, read_checkpoint_files(path));
  SWAGE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> weights, open_safetensors(files));
  std::string identity = identify(text, files);
  Header header = std::move(files.front().header);
  for (size_t i = 1; i < files.size(); ++i) header.merge(files[i].header);
  if (is_fp8(config)) {
    auto floats = dequantized_source(std::move(weights), std::move(header), config);
    if (!floats.ok()) return annotate(floats.status(), path);
    weights = *std::move(floats);
    config = without_fp8(config);
  } else if (has_fused_experts(header)) {
    weights = by_expert(std::move(weights), header, expert_names(config));
  }
  return std::make_unique<HuggingFaceCheckpoint>(path, std::move(config), std::move(weights),
                                                 std::move(identity));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path) {
  if (!fs::exists(path))
    return absl::NotFoundError(absl::StrCat(path, ": there is no such folder or file"));
  return fs::is_directory(path) ? open_folder(path) : open_gguf(path);
}

}  // namespace swage::io
