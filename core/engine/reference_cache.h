#pragma once
#include <string>

#include "absl/status/status.h"
#include "core/engine/opened_model.h"
#include "core/engine/reporter.h"
#include "core/engine/token_stream.h"

namespace swage {

// Hidden states of original models behind their last block, one file for each model, text and
// compute type. Runs that compare recipes on one model then pass its weights once.
class ReferenceCache {
 public:
  // `folder` "" keeps nothing. The model outlives the cache.
  ReferenceCache(std::string folder, const OpenedModel& model);

  // Fills the stream and marks it finished where a file holds it. A file that does not fit, or not
  // its digest, is as good as none, and noted.
  absl::Status load(TokenStream* stream, Reporter& reporter) const;
  // Keeps a stream that stands behind the last block, unless it came from here.
  absl::Status store(const TokenStream& stream) const;

 private:
  absl::StatusOr<std::string> file_of(const TokenStream& stream) const;

  const std::string folder_;
  const OpenedModel& model_;
  mutable std::string weights_;  // digest of every tensor, once it was needed
};

}  // namespace swage
