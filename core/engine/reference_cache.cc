#include "core/engine/reference_cache.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/engine/files.h"
#include "swage/compressed_linear.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTensor = "hidden";

std::string digest_of(const std::string& text) {
  std::vector<int64_t> letters(text.begin(), text.end());
  return digest(at::tensor(letters, at::kLong));
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

void ReferenceCache::load(TokenStream* stream) const {
  if (folder_.empty()) return;
  const auto file = file_of(*stream);
  if (!file.ok() || !fs::exists(*file)) return;
  const auto source = io::open_safetensors({*file});
  const auto hidden = source.ok() ? (*source)->read(kTensor) : source.status();
  if (!hidden.ok() || hidden->dim() != 2 || hidden->size(0) != stream->sequences->token_count())
    return;
  stream->hidden = hidden->to(model_.options().device);
  stream->finished = true;
}

absl::Status ReferenceCache::store(const TokenStream& stream) const {
  if (folder_.empty() || stream.finished) return absl::OkStatus();
  SWAGE_RETURN_IF_ERROR(make_folder(folder_));
  SWAGE_ASSIGN_OR_RETURN(const std::string file, file_of(stream));
  return io::write_safetensors(file, {{kTensor, stream.hidden}});
}

}  // namespace swage
