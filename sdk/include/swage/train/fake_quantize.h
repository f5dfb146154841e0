#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"

namespace swage::train {

// What a weight [out, in] decodes to when it is rounded to nearest within the limits low, high
// [out, groups] (all of one dtype, fp32 or fp64): the value of quant::quantize with these limits,
// and differentiable in all three arguments.
//
// Backward is straight-through (Bengio et al. 2013): the rounding residual r = (result - inside) /
// s of every entry is taken as a constant, where inside = clamp(weight, low, high) and s is the
// scale, a function of the ends of the range. So an entry within the limits passes its gradient to
// the weight, one outside to its limit, and every entry adds r ds/dlimit where the limit is an end
// of its group's range.
//
// The scheme's rule for ranges is ignored, since the limits are the range. InvalidArgument: a
// format without ranges of its own for every group of a row (Codec::takes_limits()), or what
// Codec::fit refuses.
SWAGE_API absl::StatusOr<at::Tensor> fake_quantize(const at::Tensor& weight, const at::Tensor& low,
                                                   const at::Tensor& high, const Codec& codec,
                                                   at::ScalarType scale_dtype);

// Ends of the range of every group, [out, groups] in the dtype of the weight.
struct SWAGE_API Ends {
  at::Tensor low, high;
};
SWAGE_API Ends group_ends(const at::Tensor& weight, const Codec& codec);

}  // namespace swage::train
