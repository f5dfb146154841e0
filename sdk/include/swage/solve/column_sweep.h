#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "swage/export.h"
#include "swage/linear.h"
#include "swage/quant/quantizer.h"
#include "swage/quant/scalar_grid.h"

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
  at::Tensor cross;    // of correct_inputs(), or undefined: [in, in], block upper, in sweep order
  int64_t block = 1;   // columns that stay side by side
  double damping = 0;  // share of the mean diagonal that was finally added
  Rung rung = Rung::kClean;
  std::string remark;  // not empty: what a user should know ("Hessian needed 10x damping")
};

// H [in, in] = Σ xᵀx. The factor is built in own tiles (same bytes for every thread count) and
// `hessian` is left as it is. Columns stay side by side in blocks of `block`, where a format rounds
// as many at once (Codec::block_columns): blocks are then ordered by the largest diagonal of
// theirs.
SWAGE_API absl::StatusOr<Factor> factorize(const at::Tensor& hessian, double damping, Order order,
                                           int64_t block = 1);

// Makes up for inputs that layers before have changed already (Li et al. 2025, GPTAQ): `cross`
// [in, in] = Σ (x₀ - x)ᵀ x over tokens, x₀ the input of the original model and x the one of the
// Hessian, in its units and its order of columns. Column c then aims at W_c + Σ_{j<c} t_j P_jc in
// place of W_c, t_j what column j aimed at when it was rounded, with P = share · T R⁻¹, T the part
// of cross · R⁻ᵀ above the diagonal (above the blocks that are rounded at once). InvalidArgument:
// another shape, values that are not finite. A factor that fell to kIdentity stays without.
SWAGE_API absl::Status correct_inputs(Factor& factor, const at::Tensor& cross, double share);

// What becomes of columns whose inputs never were non-zero: nothing is known about them.
enum class Dead { kZero, kNearest };

struct SWAGE_API SweepOptions {
  Dead dead = Dead::kZero;
};

struct SWAGE_API Swept {
  Result result;
  double loss = 0;  // ½ Σ ((w' - q) R_cc)², the paper's loss
};

// Sweeps the linear's weight under a target. Levels are static: they come from the weight before
// the sweep (honouring its clip limits), so codes stay in original column order whatever
// `factor.order` is. Rows are independent; what the linear's mask prunes stays zero, and its error
// is spread like any other.
SWAGE_API absl::StatusOr<Swept> column_sweep(const Linear& linear, const Factor& factor,
                                             const Target& target,
                                             const SweepOptions& options = {});

// The same on a given grid, tensors only: codes [out, in]. `mask` [out, in] may be undefined. The
// plain version is the loop over columns in tensor operations, on any device.
SWAGE_API at::Tensor sweep_codes(const at::Tensor& weight, const Factor& factor,
                                 const quant::ScalarGrid& grid, const at::Tensor& mask,
                                 double* loss);
SWAGE_API at::Tensor sweep_codes_plain(const at::Tensor& weight, const Factor& factor,
                                       const quant::ScalarGrid& grid, const at::Tensor& mask,
                                       double* loss);
// Blocks of columns for a codec that rounds them at once: the parts with codes. The plain version
// is the loop over blocks in fp64.
SWAGE_API Parts sweep_blocks(const at::Tensor& weight, const Factor& factor, const Codec& codec,
                             Parts levels, const at::Tensor& mask, double* loss);
SWAGE_API Parts sweep_blocks_plain(const at::Tensor& weight, const Factor& factor,
                                   const Codec& codec, Parts levels, const at::Tensor& mask,
                                   double* loss);

}  // namespace swage::solve
