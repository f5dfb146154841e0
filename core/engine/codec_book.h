#pragma once
#include <memory>

#include "absl/status/statusor.h"
#include "core/config/pipeline.h"
#include "swage/codec.h"

namespace swage {

// The codec of a scheme: one for all that are equal. Errors are those of make_codec.
absl::StatusOr<std::shared_ptr<const Codec>> codec_of(const Scheme& scheme);

// Codecs of one linear under a step. The error says which step asks for the scheme.
struct LinearCodecs {
  std::shared_ptr<const Codec> weight, activation;  // null where the step leaves them in floats
};
absl::StatusOr<LinearCodecs> codecs_of(const Step& step, const LinearScheme& scheme);

}  // namespace swage
