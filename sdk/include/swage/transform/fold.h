#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "swage/block.h"
#include "swage/export.h"

// Folding a per-channel scale: x becomes x / s, so the op in front is divided by s and every
// reader's columns are multiplied by s. Exact for norms (1 + w form included), v rows under GQA,
// and up rows of a gated MLP.
namespace swage::transform {

// The statistic [in] made equal (its maximum) over channels that share a row of the fold target
// (GQA); unchanged otherwise.
SWAGE_API at::Tensor tie_channels(const FoldTarget& fold, const at::Tensor& statistic);

// Applies the fold to the op and to subset.linears and subset.readers, and returns the scale that
// was really folded: a norm is rounded to its storage dtype at once, and the readers get old /
// rounded new, so the function stays exact in what will be stored. Range limits of a linear whose
// rows are divided follow. FailedPrecondition: no fold target (why), or a scale that differs
// between tied channels; InvalidArgument: not positive or not finite.
SWAGE_API absl::StatusOr<at::Tensor> fold_scale(Subset& subset, const at::Tensor& scale);

// Keys become k / s and queries q * s, in the rows (and biases) that make them; `scale` [key heads,
// head_dim] > 0 (Lin et al. 2024, SmoothAttention). Computed in fp64 and left in the compute dtype.
// FailedPrecondition: no such rows (why: norms of queries and keys), a scale that differs between
// channels that turn together, a linear that is quantized already; InvalidArgument: another shape,
// not positive or not finite.
SWAGE_API absl::Status fold_keys(const KeySites& sites, const at::Tensor& scale);

}  // namespace swage::transform
