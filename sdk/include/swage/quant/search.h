#pragma once
#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "swage/codec.h"
#include "swage/export.h"

// Kernels of searches that round a weight many times over (Lin et al. 2023, AWQ). Ranges are the
// least and greatest value of each group: a search that compares thousands of roundings leaves
// other rules to the final one. fp32, or fp64 where the weight is fp64; the same bytes for every
// number of threads.
namespace swage::quant {

// decode(encode(w · s)) / s in one pass: what the weight [out, in] would compute if its input
// channels were scaled by s [in]. Errors are those of Codec::fit.
SWAGE_API absl::StatusOr<at::Tensor> round_trip_scaled(const at::Tensor& weight,
                                                       const at::Tensor& scale, const Codec& codec,
                                                       at::ScalarType scale_dtype);

// Σ a · b over all entries of two equal shapes, in fp64.
SWAGE_API double inner_product(const at::Tensor& a, const at::Tensor& b);

// tr(E H Eᵀ) for the error E [out, in] of a weight: the squared error of its outputs, summed over
// the tokens of H = Σ xᵀx and over the outputs.
SWAGE_API double output_error(const at::Tensor& difference, const at::Tensor& hessian);

// Are ranges of the format the same on both sides of zero? Formats without limits: true.
SWAGE_API bool is_symmetric(const Codec& codec);

// Range limits per group, [out, groups], for Linear::clip_low and clip_high.
struct SWAGE_API Limits {
  at::Tensor low, high;
  at::Tensor error;  // fp64 [out, groups]: e H e of each group with these limits
};

struct SWAGE_API LimitSearch {
  bool symmetric = false;  // limits at ± the largest magnitude; else at both ends of the range
  double step = 0.05;      // the range shrinks by 0, step, 2 step …
  int64_t steps = 10;      // … this many candidates
};

// For every row and group the limits with the least error e H_gg eᵀ of that group's share of the
// output, H_gg the group's diagonal block of H = Σ xᵀx [in, in] (all tokens, not a sample). The
// widest of equally good ranges wins. InvalidArgument: a format without ranges of its own for every
// group of a row (Codec::takes_limits()).
SWAGE_API absl::StatusOr<Limits> search_limits(const at::Tensor& weight, const at::Tensor& hessian,
                                               const Codec& codec, at::ScalarType scale_dtype,
                                               const LimitSearch& search);

}  // namespace swage::quant
