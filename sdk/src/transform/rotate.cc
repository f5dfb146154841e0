#include "swage/transform/rotate.h"

#include "swage/status.h"

namespace swage::transform {
namespace {

// x · matrix along the last dimension, in fp64, back in the dtype of x.
at::Tensor times(const at::Tensor& x, const at::Tensor& matrix) {
  return x.to(at::kDouble).matmul(matrix).to(x.scalar_type());
}

// A norm's weight becomes 1; what it was, fp64 [hidden], goes to the readers. What the norm adds is
// kept, in the new basis.
absl::StatusOr<at::Tensor> absorb(Parameter& weight, Parameter* bias, bool offset,
                                  const at::Tensor& q) {
  const at::Tensor factor = weight.value.to(at::kDouble) + (offset ? 1 : 0);
  weight.value = at::full_like(weight.value, offset ? 0 : 1);
  if (bias == nullptr) return factor;
  const at::Tensor added = bias->value.to(at::kDouble);
  if (factor.eq(0).logical_and(added.ne(0)).any().item<bool>()) {
    return absl::FailedPreconditionError(absl::StrCat(
        weight.name, ": a channel has weight 0 and a bias, which no reader can absorb"));
  }
  const at::Tensor share = at::where(factor.eq(0), at::zeros_like(added), added / factor);
  bias->value = share.matmul(q).to(bias->value.scalar_type());
  return factor;
}

void rotate_reader(at::Tensor& weight, const at::Tensor& factor, const at::Tensor& q) {
  weight = (weight.to(at::kDouble) * factor).matmul(q).to(weight.scalar_type());
}

absl::Status check_free(const Linear& linear) {
  const char* const what = linear.result()             ? "has been quantized already"
                           : linear.clip_low.defined() ? "has range limits"
                           : linear.mask.defined()     ? "has a mask"
                                                       : nullptr;
  if (what == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(linear.name, " ", what, "; steps that rotate come first"));
}

}  // namespace

absl::Status can_rotate(const ResidualSites& sites) {
  if (sites.why_none.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the residual stream cannot be rotated: ", sites.why_none));
}

absl::Status rotate_residual(Block& block, const at::Tensor& q) {
  const ResidualSites sites = block.residual_sites();
  SWAGE_RETURN_IF_ERROR(can_rotate(sites));
  for (const Linear& linear : block.linears()) SWAGE_RETURN_IF_ERROR(check_free(linear));
  for (const size_t index : sites.readers) {
    Subset& subset = block.subsets()[index];
    FoldTarget& fold = subset.fold;
    SWAGE_ASSIGN_OR_RETURN(const at::Tensor factor,
                           absorb(*fold.norm_weight, fold.norm_bias, fold.norm_offset, q));
    for (const std::vector<Linear*>* linears : {&subset.linears, &subset.readers}) {
      for (Linear* linear : *linears) rotate_reader(linear->weight, factor, q);
    }
  }
  for (Linear* linear : sites.writers) {
    linear->weight = times(linear->weight.t(), q).t().contiguous();
    if (linear->bias.defined()) linear->bias = times(linear->bias, q);
  }
  return absl::OkStatus();
}

absl::Status rotate_residual(Embedding& embedding, const at::Tensor& q) {
  const EmbeddingSites sites = embedding.residual_sites();
  SWAGE_RETURN_IF_ERROR(can_rotate({sites.why_none, {}, {}}));
  for (Parameter* table : sites.tables) {
    table->value = table->value.to(at::kDouble).matmul(q).to(sites.compute);
  }
  return absl::OkStatus();
}

absl::Status rotate_residual(Head& head, const at::Tensor& q) {
  SWAGE_RETURN_IF_ERROR(can_rotate({head.residual_sites().why_none, {}, {}}));
  head.untie();
  const HeadSites sites = head.residual_sites();
  SWAGE_ASSIGN_OR_RETURN(const at::Tensor factor,
                         absorb(*sites.norm_weight, sites.norm_bias, sites.norm_offset, q));
  rotate_reader(sites.matrix->value, factor, q);
  return absl::OkStatus();
}

absl::Status rotate_values(Subset& subset, const at::Tensor& q) {
  const FoldTarget& fold = subset.fold;
  if (fold.kind != FoldTarget::Kind::kLinearRows || fold.head_dim == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(subset.name, ": its channels are no heads of values"));
  }
  SWAGE_CHECK(q.size(0) == fold.head_dim);
  SWAGE_RETURN_IF_ERROR(check_free(*fold.linear));
  Linear& values = *fold.linear;
  // Heads that share a key head read the same rows: each run of rows turns once.
  const at::Tensor heads = fold.row_of_channel.view({-1, fold.head_dim});
  at::Tensor weight = values.weight.clone(),
             bias = values.bias.defined() ? values.bias.clone() : at::Tensor();
  for (int64_t h = 0; h < heads.size(0); ++h) {
    const at::Tensor rows = heads[h];
    weight.index_copy_(0, rows, times(values.weight.index_select(0, rows).t(), q).t());
    if (bias.defined()) bias.index_copy_(0, rows, times(values.bias.index_select(0, rows), q));
  }
  values.weight = weight;
  values.bias = bias;
  for (Linear* linear : subset.linears) {
    SWAGE_RETURN_IF_ERROR(check_free(*linear));
    const at::Tensor columns = linear->weight.view({linear->out(), -1, fold.head_dim});
    linear->weight = times(columns, q).reshape(linear->weight.sizes());
  }
  return absl::OkStatus();
}

}  // namespace swage::transform
