#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/linear.h"
#include "swage/quant/quantizer.h"

// The column sweep: columns are quantized in order and each rounding error is spread over the
// columns that follow (Frantar et al. 2022), in the H = R Rᵀ form (R upper triangular; U of the
// paper is R⁻¹), which needs no inverse.
namespace swage::solve {

enum class Order { kNatural, kActivation };  // kActivation: descending diagonal of H (act-order)

// What factorize() had to do. Later rungs cost accuracy; nothing of it is silent.
enum class Rung { kClean, kMoreDamping, kDouble, kIdentity };

struct SWAGE_API Factor {
  at::Tensor r;        // [in, in] upper triangular, in sweep order; fp32 (fp64 for fp64 Hessians)
  at::Tensor order;    // int64 [in]: column that is swept k-th
  at::Tensor dead;     // bool [in], original order: inputs that never were non-zero
  double damping = 0;  // share of the mean diagonal that was finally added
  Rung rung = Rung::kClean;
  std::string remark;  // not empty: what a user should know ("Hessian needed 10x damping")
};

// H [in, in] = Σ xᵀx. The factor is built in own tiles (same bytes for every thread count) and
// `hessian` is left as it is.
SWAGE_API absl::StatusOr<Factor> factorize(const at::Tensor& hessian, double damping, Order order);

struct SWAGE_API Swept {
  CompressedLinear result;
  double loss = 0;  // ½ Σ ((w' - q) R_cc)², the paper's loss
};

// Sweeps the linear's weight under a scheme. Groups are static: grids come from the weight before
// the sweep (honouring its clip limits), so codes stay in original column order whatever
// `factor.order` is. Rows are independent. Dead columns are quantized as zero.
SWAGE_API absl::StatusOr<Swept> column_sweep(const Linear& linear, const Factor& factor,
                                             const WeightScheme& scheme,
                                             at::ScalarType scale_dtype);
// The same on a given grid, tensors only: codes [out, in]. The reference version is the plain loop
// over columns.
SWAGE_API at::Tensor sweep_codes(const at::Tensor& weight, const Factor& factor,
                                 const quant::Grid& grid, double* loss);
SWAGE_API at::Tensor sweep_codes_reference(const at::Tensor& weight, const Factor& factor,
                                           const quant::Grid& grid, double* loss);

}  // namespace swage::solve
