#include "swage/train/fake_quantize.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "quant/view.h"
#include "swage/quant/scalar_codec.h"
#include "swage/status.h"

namespace swage::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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

struct StraightThrough : torch::autograd::Function<StraightThrough> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& low, const at::Tensor& high, const at::Tensor& inside,
                            const at::Tensor& result, const quant::ScalarCodec& codec) {
    context->save_for_backward({weight, inside, result});
    context->saved_data["width"] = codec.group_width(weight.size(1));
    // Scales are linear in the ends of a range, so their slopes are all that backward needs.
    const at::Tensor groups = grouped(inside, codec.group_width(weight.size(1)));
    at::Tensor of_low, of_high;
    codec.scale_slopes(groups.amin(2), groups.amax(2), &of_low, &of_high);
    context->saved_data["low"] = of_low;
    context->saved_data["high"] = of_high;
    return result;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight = saved[0], &inside = saved[1], &result = saved[2];
    const int64_t width = context->saved_data["width"].toInt();
    const at::Tensor gradient = gradients[0].contiguous();
    const at::Tensor above = weight.gt(inside), below = weight.lt(inside);
    const at::Tensor of_scale = group_sums(gradient * (result - inside), width);
    const Ends slopes = {context->saved_data["low"].toTensor(),
                         context->saved_data["high"].toTensor()};
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

Ends group_ends(const at::Tensor& weight, const Codec& codec) {
  const at::Tensor groups = grouped(weight.contiguous(), codec.group_width(weight.size(1)));
  return {groups.amin(2), groups.amax(2)};
}

absl::StatusOr<at::Tensor> fake_quantize(const at::Tensor& weight, const at::Tensor& low,
                                         const at::Tensor& high, const Codec& codec,
                                         at::ScalarType scale_dtype) {
  const auto* scalar = dynamic_cast<const quant::ScalarCodec*>(&codec);
  if (scalar == nullptr || !codec.takes_limits() || scalar->layout().outer_groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("range limits are learned for formats with levels of their own for every "
                     "group of a row, not for ",
                     codec.describe()));
  }
  const int64_t out = weight.size(0), in = weight.size(1);
  const at::Tensor inside =
      quant::clamp_to_limits(weight.detach(), codec.group_width(in), low.detach(), high.detach())
          .contiguous();
  FitRequest request;
  request.scale_dtype = scale_dtype;
  request.range = "minmax";
  SWAGE_ASSIGN_OR_RETURN(const Parts levels, codec.fit(inside, request));
  SWAGE_ASSIGN_OR_RETURN(const quant::ScalarGrid grid, codec.grid(levels, out, in));
  return StraightThrough::apply(weight, low, high, inside, quant::round_trip(inside, grid),
                                *scalar);
}

}  // namespace swage::train
