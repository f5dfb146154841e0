#include "core/engine/reference_cache.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/files.h"
#include "core/engine/process.h"
#include "swage/io/safetensors.h"
#include "swage/result.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTensor = "hidden";
constexpr const char* kDigest = "digest";  // of the other one

at::Tensor bytes_of(const std::string& text) {
  return at::tensor(std::vector<int64_t>(text.begin(), text.end()), at::kLong);
}

std::string digest_of(const std::string& text) { return digest(bytes_of(text)); }

absl::StatusOr<at::Tensor> read(const std::string& file) {
  SWAGE_ASSIGN_OR_RETURN(const auto source, io::open_safetensors({file}));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor hidden, source->read(kTensor));
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor recorded, source->read(kDigest));
  if (recorded.equal(bytes_of(digest(hidden)))) return hidden;
  return absl::DataLossError(file);
}

}  // namespace

ReferenceCache::ReferenceCache(std::string folder, const OpenedModel& model)
    : folder_(std::move(folder)), model_(model) {}

absl::StatusOr<std::string> ReferenceCache::file_of(const TokenStream& stream) const {
  if (weights_.empty()) {
    // Names and sizes do not tell two trainings of one architecture apart: the weights do.
    const WeightSource& weights = model_.checkpoint().weights();
    std::string all;
    for (const std::string& name : weights.names()) {
      SWAGE_RETURN_IF_ERROR(interrupted());
      SWAGE_ASSIGN_OR_RETURN(const at::Tensor tensor, weights.read(name));
      all += digest(tensor);
    }
    weights_ = digest_of(all);
  }
  const std::string key =
      absl::StrCat(SWAGE_VERSION, " ", model_.identity(), " ", weights_, " ",
                   at::toString(model_.options().compute), " ", model_.options().device.str(), " ",
                   stream.sequences->digest());
  return (fs::path(folder_) / absl::StrCat("reference-", digest_of(key), ".safetensors")).string();
}

absl::Status ReferenceCache::load(TokenStream* stream, Reporter& reporter) const {
  if (folder_.empty()) return absl::OkStatus();
  SWAGE_ASSIGN_OR_RETURN(const std::string file, file_of(*stream));
  if (!fs::exists(file)) return absl::OkStatus();
  const absl::StatusOr<at::Tensor> hidden = read(file);
  if (!hidden.ok() || hidden->dim() != 2 || hidden->size(0) != stream->sequences->token_count()) {
    reporter.note(absl::StrCat(file,
                               ": is damaged or of another format, so the original is passed "
                               "again"));
    return absl::OkStatus();
  }
  stream->hidden = hidden->to(model_.options().device);
  stream->finished = true;
  return absl::OkStatus();
}

absl::Status ReferenceCache::store(const TokenStream& stream) const {
  if (folder_.empty() || stream.finished) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(make_folder(folder_));
  SWAGE_ASSIGN_OR_RETURN(const std::string file, file_of(stream));
  return io::write_safetensors(
      file, {{kTensor, stream.hidden}, {kDigest, bytes_of(digest(stream.hidden))}});
}

}  // namespace swage
