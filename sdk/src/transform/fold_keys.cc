#include <ATen/ops/ones.h>

#include "swage/status.h"
#include "swage/transform/fold.h"

namespace swage::transform {
namespace {

absl::Status check(const KeySites& sites, const at::Tensor& scale) {
  if (!sites.why_none.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("keys cannot be scaled: ", sites.why_none));
  }
  if (scale.sizes() != sites.key_rows.sizes() || scale.le(0).any().item<bool>() ||
      !scale.isfinite().all().item<bool>()) {
    return absl::InvalidArgumentError(
        absl::StrCat(sites.key->name, ": expected a positive finite scale for each of ",
                     sites.key_rows.size(0), " heads of ", sites.key_rows.size(1), " channels"));
  }
  const int64_t half = sites.rotary_dim / 2;
  if (!scale.slice(1, 0, half).equal(scale.slice(1, half, 2 * half))) {
    return absl::FailedPreconditionError(
        absl::StrCat(sites.key->name, ": channels j and j + ", half,
                     " of a head turn together, so they must share a scale"));
  }
  for (const Linear* linear : {sites.query, sites.key}) {
    if (!linear->result() && !linear->clip_low.defined()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(linear->name, " has been quantized already; steps that scale come first"));
  }
  return absl::OkStatus();
}

void multiply_rows(Linear& linear, const at::Tensor& rows, const at::Tensor& factor) {
  at::Tensor all = at::ones({linear.out()}, at::kDouble);
  all.index_copy_(0, rows.flatten(), factor.to(at::kDouble).flatten());
  linear.weight =
      (linear.weight.to(at::kDouble) * all.unsqueeze(1)).to(linear.weight.scalar_type());
  if (linear.bias.defined())
    linear.bias = (linear.bias.to(at::kDouble) * all).to(linear.bias.scalar_type());
}

}  // namespace

absl::Status fold_keys(const KeySites& sites, const at::Tensor& scale) {
  SWAGE_RETURN_IF_ERROR(check(sites, scale));
  const int64_t group = sites.query_rows.size(0) / sites.key_rows.size(0);
  multiply_rows(*sites.key, sites.key_rows, scale.to(at::kDouble).reciprocal());
  multiply_rows(*sites.query, sites.query_rows, scale.repeat_interleave(group, 0));
  return absl::OkStatus();
}

}  // namespace swage::transform
