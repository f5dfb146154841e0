#include "swage/io/checkpoint.h"

#include <xxhash.h>

#include <filesystem>

#include "absl/strings/str_join.h"
#include "io/fp8_source.h"
#include "io/fused_experts_source.h"
#include "io/safetensors_source.h"
#include "io/side_files.h"
#include "swage/io/gguf.h"
#include "swage/io/safetensors.h"
#include "swage/io/safetensors_header.h"
#include "swage/io/stored_checkpoint.h"
#include "swage/status.h"

namespace swage::io {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kMaxConfigBytes = 16 << 20;

// Name, dtype, shape and place of every tensor, so that a replaced file is noticed without reading
// weights.
std::string identify(const std::string& config, const std::vector<CheckpointFile>& files) {
  std::string text = config;
  std::error_code unsized;
  for (const auto& [path, header] : files) {
    absl::StrAppend(&text, "\n", fs::path(path).filename().string(), " ",
                    fs::file_size(path, unsized), "\n");
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
    return read_side_files(path_);
  }

 private:
  std::string path_;
  Value config_;
  std::unique_ptr<WeightSource> weights_;
  std::string identity_;
};

enum class Fp8 { kAsFloats, kAsStored };

absl::StatusOr<std::unique_ptr<Checkpoint>> open_folder(const std::string& path, Fp8 fp8) {
  const std::string config_file = (fs::path(path) / "config.json").string();
  std::error_code error;
  if (!fs::exists(config_file, error)) {
    // It says what is wrong with a folder that is something else.
    if (fs::exists(fs::path(path) / "adapter_config.json", error))
      SWAGE_RETURN_IF_ERROR(read_checkpoint_files(path).status());
    if (fs::is_symlink(fs::symlink_status(config_file, error)))
      return absl::NotFoundError(absl::StrCat(config_file, ": is a link to \"",
                                              fs::read_symlink(config_file, error).string(),
                                              "\", which leads nowhere; download the model again"));
    return absl::NotFoundError(absl::StrCat(
        path, ": holds no config.json; expected a Hugging Face checkpoint folder or a GGUF file"));
  }
  SWAGE_ASSIGN_OR_RETURN(const std::string text, read_file(config_file, kMaxConfigBytes));
  SWAGE_ASSIGN_OR_RETURN(Value config, parse_json(text, config_file));
  if (config.table() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(config_file, ": is a ", config.type_name(), ", expected a table"));
  }
  SWAGE_RETURN_IF_ERROR(list_side_files(path).status());  // links that lead nowhere or elsewhere
  SWAGE_ASSIGN_OR_RETURN(std::vector<CheckpointFile> files, read_checkpoint_files(path));
  std::string identity = identify(text, files);
  std::shared_ptr<const Header> header;
  SWAGE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> weights,
                         open_safetensors(std::move(files), &header));
  if (fp8 == Fp8::kAsFloats && is_fp8(config)) {
    auto floats = dequantized_source(std::move(weights), header, config);
    if (!floats.ok()) return annotate(floats.status(), path);
    weights = *std::move(floats);
    config = without_fp8(config);
  } else if (has_fused_experts(*header)) {
    weights = by_expert(std::move(weights), *header, expert_names(config));
  }
  return std::make_unique<HuggingFaceCheckpoint>(path, std::move(config), std::move(weights),
                                                 std::move(identity));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> open(const std::string& path, Fp8 fp8) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": there is no such folder or file",
                                            error ? " (" + error.message() + ")" : ""));
  }
  const std::string type = fs::path(path).extension().string();
  if (!fs::is_directory(path, error) && (type == ".safetensors" || type == ".json")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is a file of a model; give the folder that it lies in, \"",
                     fs::path(path).parent_path().string(), "\""));
  }
  SWAGE_ASSIGN_OR_RETURN(const std::vector<std::string> gguf, gguf_files(path));
  return gguf.empty() ? open_folder(path, fp8) : open_gguf(path, GgufView::kBlocks);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> open_checkpoint(const std::string& path) {
  return open(path, Fp8::kAsFloats);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> open_stored_checkpoint(const std::string& path) {
  return open(path, Fp8::kAsStored);
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> side_files_of(
    const std::string& folder) {
  return read_side_files(folder);
}

}  // namespace swage::io
