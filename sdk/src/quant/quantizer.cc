#include "swage/quant/quantizer.h"

#include "quant/view.h"
#include "swage/status.h"

namespace swage::quant {

FitRequest request_for(const Linear& linear, const Target& target) {
  FitRequest request = target.request;
  request.clip_low = linear.clip_low;
  request.clip_high = linear.clip_high;
  return request;
}

at::Tensor fitted_weight(const Linear& linear, const Codec& codec) {
  const at::Tensor weight = linear.mask.defined()
                                ? linear.weight.masked_fill(linear.mask.logical_not(), 0)
                                : linear.weight;
  return clamp_to_limits(weight, codec.group_width(linear.in()), linear.clip_low, linear.clip_high);
}

absl::StatusOr<Result> quantize(const Linear& linear, const Target& target) {
  const at::Tensor weight = fitted_weight(linear, *target.codec);
  auto levels = target.codec->fit(weight, target.request);
  if (!levels.ok()) return annotate(std::move(levels).status(), linear.name);
  Result result(linear.name, target.codec, linear.out(), linear.in(),
                target.codec->encode(weight, *std::move(levels)));
  if (linear.mask.defined()) result.set_mask(linear.mask);
  return result;
}

}  // namespace swage::quant
