#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"
#include "swage/linear.h"

namespace swage::quant {

// The request with what the linear itself knows: its clip limits.
SWAGE_API FitRequest request_for(const Linear& linear, const Target& target);

// The weight as its fit sees it: within its clip limits, zero where it is pruned.
SWAGE_API at::Tensor fitted_weight(const Linear& linear, const Codec& codec);

// Round to nearest of one linear, honouring its clip limits and its mask: what `rtn` is made of.
SWAGE_API absl::StatusOr<Result> quantize(const Linear& linear, const Target& target);

}  // namespace swage::quant
