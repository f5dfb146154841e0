#pragma once
#include "absl/status/status.h"
#include "swage/weight_source.h"

namespace swage::compressed_tensors {

// Are all tensors beside compressed linears ones that decoding understands? InvalidArgument names
// one that would be passed over: a scale of keys and values, of outputs, a second scale, a bitmask.
absl::Status check_parts_known(const WeightSource& tensors);

}  // namespace swage::compressed_tensors
