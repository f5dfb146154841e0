#include "swage/transform/fold.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scatter_reduce.h>
#include <ATen/ops/where.h>

#include "swage/status.h"

namespace swage::transform {
namespace {

// Tied channels carry copies of one number, but copies that took different paths through vector
// code may differ in the last place.
constexpr double kTieTolerance = 1e-5;

absl::Status check_scale(const Subset& subset, const at::Tensor& scale) {
  const int64_t in = subset.linears.empty() ? subset.readers.at(0)->in() : subset.linears[0]->in();
  if (scale.dim() != 1 || scale.size(0) != in) {
    return absl::InvalidArgumentError(absl::StrCat(subset.name, ": a scale for each of the ", in,
                                                   " input channels is needed, found ",
                                                   scale.numel()));
  }
  const at::Tensor good = scale.isfinite().logical_and(scale.gt(0));
  if (good.all().item<bool>()) return absl::OkStatus();
  const int64_t channel = good.logical_not().to(at::kByte).argmax().item<int64_t>();
  return absl::InvalidArgumentError(absl::StrCat(subset.name, ": the scale of channel ", channel,
                                                 " is ", scale[channel].item<double>(),
                                                 ", expected a positive finite number"));
}

absl::Status check_limits(const Subset& subset) {
  for (const std::vector<Linear*>* readers : {&subset.linears, &subset.readers}) {
    for (const Linear* linear : *readers) {
      if (!linear->clip_low.defined()) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          linear->name,
          ": it has range limits, which do not survive a new scale of its input channels; let the "
          "steps that fold come before those that search limits (awq)"));
    }
  }
  return absl::OkStatus();
}

// Divides the norm, rounded to what is stored, and returns old / new. A channel whose new weight
// the storage dtype cannot hold keeps its old one.
at::Tensor fold_norm(const FoldTarget& fold, const at::Tensor& scale) {
  Parameter& weight = *fold.norm_weight;
  const double offset = fold.norm_offset ? 1 : 0;
  const at::Tensor old = weight.value.to(at::kDouble);
  const at::Tensor factor = old + offset;
  const at::Tensor wanted = (factor / scale - offset).to(weight.storage).to(at::kDouble);
  const at::Tensor lost =
      wanted.isfinite().logical_and((wanted + offset).ne(0)).logical_or(factor.eq(0)).logical_not();
  const at::Tensor stored = at::where(lost, old, wanted);
  weight.value = stored.to(weight.value.scalar_type());
  const at::Tensor folded = at::where(factor.eq(0), scale, factor / (stored + offset));
  if (fold.norm_bias != nullptr) {
    // No other tensor could make up for a rounded bias; it is rounded once, when the block is done.
    Parameter& bias = *fold.norm_bias;
    bias.value = (bias.value.to(at::kDouble) / folded).to(bias.value.scalar_type());
  }
  return folded;
}

// Divides the rows that feed the channels, once each, and returns the scale that every channel got.
absl::StatusOr<at::Tensor> fold_rows(const Subset& subset, const at::Tensor& scale) {
  Linear& linear = *subset.fold.linear;
  const at::Tensor& rows = subset.fold.row_of_channel;
  const at::Tensor per_row = at::ones({linear.out()}, scale.options()).scatter(0, rows, scale);
  const at::Tensor tied = per_row.index_select(0, rows);
  const at::Tensor differs = (tied - scale).abs().gt(kTieTolerance * scale);
  if (differs.any().item<bool>()) {
    const int64_t channel = differs.to(at::kByte).argmax().item<int64_t>();
    return absl::FailedPreconditionError(absl::StrCat(
        subset.name, ": channel ", channel, " has scale ", scale[channel].item<double>(),
        ", another one that row ", rows[channel].item<int64_t>(), " of ", linear.name,
        " feeds has ", tied[channel].item<double>(),
        "; channels of one row share a scale (transform::tie_channels)"));
  }
  const auto divide = [&](at::Tensor& tensor) {
    if (!tensor.defined()) return;
    const at::Tensor divisor = per_row.to(tensor.scalar_type());
    tensor = tensor / (tensor.dim() == 2 ? divisor.unsqueeze(1) : divisor);
  };
  for (at::Tensor* tensor : {&linear.weight, &linear.bias, &linear.clip_low, &linear.clip_high}) {
    divide(*tensor);
  }
  return tied;
}

}  // namespace

at::Tensor tie_channels(const FoldTarget& fold, const at::Tensor& statistic) {
  if (fold.kind != FoldTarget::Kind::kLinearRows) return statistic;
  const at::Tensor& rows = fold.row_of_channel;
  const at::Tensor greatest =
      at::full({fold.linear->out()}, -std::numeric_limits<double>::infinity(), statistic.options())
          .scatter_reduce(0, rows, statistic, "amax");
  return greatest.index_select(0, rows);
}

absl::StatusOr<at::Tensor> fold_scale(Subset& subset, const at::Tensor& scale) {
  if (subset.fold.kind == FoldTarget::Kind::kNone) {
    return absl::FailedPreconditionError(
        absl::StrCat(subset.name, ": no scale can be folded here: ", subset.fold.why_none));
  }
  SWAGE_RETURN_IF_ERROR(check_scale(subset, scale));
  SWAGE_RETURN_IF_ERROR(check_limits(subset));
  at::Tensor folded;
  if (subset.fold.kind == FoldTarget::Kind::kNorm) {
    folded = fold_norm(subset.fold, scale.to(at::kDouble));
  } else {
    SWAGE_ASSIGN_OR_RETURN(folded, fold_rows(subset, scale.to(at::kDouble)));
  }
  for (const std::vector<Linear*>* readers : {&subset.linears, &subset.readers}) {
    for (Linear* linear : *readers) {
      linear->weight = linear->weight * folded.to(linear->weight.scalar_type());
    }
  }
  return folded.to(scale.scalar_type());
}

}  // namespace swage::transform
