#pragma once
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/model_summary.h"
#include "swage/codec.h"

namespace swage {

// What a model would weigh with all its linears in one scheme, scales in the checkpoint's dtype.
struct SchemeWeight {
  std::shared_ptr<const Codec> codec;
  double bits_per_weight = 0;  // of the linears
  int64_t bytes = 0;           // of linears and kept tensors together
  int64_t uneven = 0;          // an input width that the format does not cut; 0: all are even
};
SchemeWeight weigh(const ModelSummary& model, std::shared_ptr<const Codec> codec);
// w4 in groups of 128 and, where they divide the widths, of 64 (else of the largest size that
// does), w8 and fp8 per channel, and 4-bit floats.
absl::StatusOr<std::vector<SchemeWeight>> weigh_common_schemes(const ModelSummary& model);

}  // namespace swage
