#include "core/engine/reference_cache.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
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

std::string ReferenceCache::file_of(const TokenStream& stream) const {
  const std::string key = absl::StrCat(
      SWAGE_VERSION, " ", model_.identity(), " ", at::toString(model_.options().compute), " ",
      model_.options().device.str(), " ", stream.sequences->digest());
  return (fs::path(folder_) / absl::StrCat("reference-", digest_of(key), ".safetensors")).string();
}

void ReferenceCache::load(TokenStream* stream) const {
  const std::string file = folder_.empty() ? "" : file_of(*stream);
  if (file.empty() || !fs::exists(file)) return;
  const auto source = io::open_safetensors({file});
  const auto hidden = source.ok() ? (*source)->read(kTensor) : source.status();
  if (!hidden.ok() || hidden->dim() != 2 || hidden->size(0) != stream->sequences->token_count())
    return;
  stream->hidden = hidden->to(model_.options().device);
  stream->finished = true;
}

absl::Status ReferenceCache::store(const TokenStream& stream) const {
  if (folder_.empty() || stream.finished) return absl::OkStatus();
  std::error_code ignored;  // writing reports what is wrong
  fs::create_directories(folder_, ignored);
  return io::write_safetensors(file_of(stream), {{kTensor, stream.hidden}});
}

}  // namespace swage
