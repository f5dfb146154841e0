#include "core/engine/codec_book.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/exit_codes.h"
#include "swage/status.h"

namespace swage {

absl::StatusOr<std::shared_ptr<const Codec>> codec_of(const Scheme& scheme) {
  static std::mutex mutex;
  static auto* const known = new std::vector<std::shared_ptr<const Codec>>;
  const std::lock_guard lock(mutex);
  const auto found = std::find_if(known->begin(), known->end(),
                                  [&](const auto& codec) { return codec->scheme() == scheme; });
  if (found != known->end()) return *found;
  SWAGE_ASSIGN_OR_RETURN(std::shared_ptr<const Codec> codec, make_codec(scheme));
  known->push_back(codec);
  return codec;
}

absl::StatusOr<LinearCodecs> codecs_of(const Step& step, const LinearScheme& scheme) {
  LinearCodecs codecs;
  const auto refused = [&](const absl::Status& status, const char* table) {
    return with_exit_code(
        annotate(status, absl::StrCat(step.where.text(), ": step \"", step.name, "\", ", table)),
        ExitCode::kPipeline);
  };
  if (step.takes_weight) {
    auto weight = codec_of(scheme.weight);
    if (!weight.ok()) return refused(weight.status(), "weight");
    codecs.weight = *std::move(weight);
  }
  if (!scheme.activation) return codecs;
  auto activation = codec_of(*scheme.activation);
  if (!activation.ok()) return refused(activation.status(), "activation");
  codecs.activation = *std::move(activation);
  return codecs;
}

}  // namespace swage
