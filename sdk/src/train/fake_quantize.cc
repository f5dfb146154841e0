#include "swage/train/fake_quantize.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "quant/view.h"
#include "swage/quant/quantizer.h"
#include "swage/status.h"

namespace swage::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kLeastLlmcSpan = 1e-5;  // of Convention::kLlmc

// x [out, in] as [out, groups, width]; a short last group is filled up with its last column.
at::Tensor grouped(const at::Tensor& x, int64_t width) {
  const int64_t rows = x.size(0), columns = x.size(1);
  const int64_t missing = (width - columns % width) % width;
  if (missing == 0) return x.view({rows, -1, width});
  return at::cat({x, x.narrow(1, columns - 1, 1).expand({rows, missing})}, 1)
      .view({rows, -1, width});
}

at::Tensor group_sums(const at::Tensor& x, int64_t width) {
  const int64_t missing = (width - x.size(1) % width) % width;
  return at::constant_pad_nd(x, {0, missing}).view({x.size(0), -1, width}).sum(2);
}

// 1 / x, and 0 where the range is so narrow that the scale does not follow it.
at::Tensor slope_of(const at::Tensor& x, double least = 0) {
  return at::where(x.abs().gt(least), x.reciprocal(), at::zeros_like(x));
}

// d scale / d end, divided by the scale, for both ends of a group's range: scales are linear in the
// ends, so no other number of the scheme matters.
Ends scale_slopes(const Ends& ends, const WeightScheme& scheme) {
  const at::Tensor none = at::zeros_like(ends.low);
  if (scheme.symmetric) {
    const at::Tensor high_leads = ends.high.ge(-ends.low);
    return {at::where(high_leads, none, slope_of(ends.low)),
            at::where(high_leads, slope_of(ends.high), none)};
  }
  if (scheme.convention == Convention::kLlmc) {
    const at::Tensor slope = slope_of(ends.high - ends.low, kLeastLlmcSpan);
    return {-slope, slope};
  }
  const at::Tensor slope = slope_of(ends.high.clamp_min(0) - ends.low.clamp_max(0));
  return {at::where(ends.low.lt(0), -slope, none), at::where(ends.high.gt(0), slope, none)};
}

struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& low, const at::Tensor& high, const at::Tensor& inside,
                            const at::Tensor& result, const WeightScheme& scheme) {
    context->save_for_backward({weight, inside, result});
    context->saved_data["width"] = scheme.group_width(weight.size(1));
    context->saved_data["symmetric"] = scheme.symmetric;
    context->saved_data["convention"] = static_cast<int64_t>(scheme.convention);
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight = saved[0], &inside = saved[1], &result = saved[2];
    const int64_t width = context->saved_data["width"].toInt();
    WeightScheme scheme;
    scheme.symmetric = context->saved_data["symmetric"].toBool();
    scheme.convention = static_cast<Convention>(context->saved_data["convention"].toInt());
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor above = weight.gt(inside), below = weight.lt(inside);
    const at::Tensor of_scale = group_sums(gradient * (result - inside), width);
    const at::Tensor groups = grouped(inside, width);
    const Ends slopes = scale_slopes({groups.amin(2), groups.amax(2)}, scheme);
    // A limit that cuts nothing off is no end of the range.
    const auto of_limit = [&](const at::Tensor& cut, const at::Tensor& slope) {
      const at::Tensor cuts = grouped(cut, width).any(2);
      return group_sums(gradient * cut, width) +
             at::where(cuts, of_scale * slope, at::zeros_like(slope));
    };
    return {gradient * above.logical_or(below).logical_not(),
            of_limit(below, slopes.low),
            of_limit(above, slopes.high),
            {},
            {},
            {}};
  }
};

}  // namespace

Ends group_ends(const at::Tensor& weight, const WeightScheme& scheme) {
  const at::Tensor groups = grouped(weight.contiguous(), scheme.group_width(weight.size(1)));
  return {groups.amin(2), groups.amax(2)};
}

absl::StatusOr<at::Tensor> fake_quantize(const at::Tensor& weight, const at::Tensor& low,
                                         const at::Tensor& high, const WeightScheme& scheme,
                                         at::ScalarType scale_dtype) {
  if (scheme.format != NumberFormat::kInt || scheme.granularity == Granularity::kTensor) {
    return absl::InvalidArgumentError(absl::StrCat(
        "range limits are learned for integers with a scale per channel or group, not for ",
        describe(scheme)));
  }
  WeightScheme plain = scheme;
  plain.range = RangeRule::kMinmax;
  const at::Tensor inside =
      quant::clamp_to_limits(weight.detach(), plain, low.detach(), high.detach()).contiguous();
  SWAGE_ASSIGN_OR_RETURN(const quant::Grid grid, quant::find_grid(inside, plain, scale_dtype));
  return StraightThrough::apply(weight, low, high, inside, quant::round_trip(inside, grid), plain);
}

}  // namespace swage::train
