#pragma once
#include <ATen/core/Tensor.h>

#include "swage/algorithm.h"
#include "swage/export.h"

// Statistics of a subset's input, summed in a fixed order: one sequence after the other, so the
// bytes do not depend on micro-batches or threads.
namespace swage::stats {

class SWAGE_API Accumulator {
 public:
  // `in` channels, sums in `compute` (fp32 at least); the Hessian is summed into one [in, in]
  // buffer, its lower half is filled in by finish().
  Accumulator(const Needs& needs, int64_t in, at::ScalarType compute, at::Device device);
  // x [tokens, in]: whole sequences of the given lengths.
  void add(const at::Tensor& x, const std::vector<int64_t>& lengths);
  // The statistics; the accumulator is empty afterwards. `sample` stays empty.
  SubsetStats finish();

 private:
  Needs needs_;
  SubsetStats stats_;
};

// Counts by bf16 bits, int64 [65536]: exact, so that no order of summation matters.
SWAGE_API at::Tensor bf16_counts(const at::Tensor& x);

// Upper triangle of `hessian` += xᵀx by row strips: half the work of the full product.
SWAGE_API void add_gram_upper(at::Tensor& hessian, const at::Tensor& x);
SWAGE_API void mirror_upper(at::Tensor& hessian);

}  // namespace swage::stats
