// The factor of a Hessian and its failure ladder: nothing on it is silent.
#include <ATen/ops/argsort.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>

#include "solve/reverse_cholesky.h"
#include "swage/one_piece.h"
#include "swage/solve/column_sweep.h"

namespace swage::solve {
namespace {

constexpr int kMoreDampingSteps = 3;  // each ten times the one before

struct Prepared {
  at::Tensor hessian;  // finite, no zero on the diagonal, in sweep order
  double mean_diagonal = 1;
};

// Rows and columns of entries that are not finite are taken out, as if these inputs never occurred.
int64_t zero_what_is_not_finite(at::Tensor& hessian) {
  if (at::isfinite(hessian.sum()).item<bool>()) return 0;
  const at::Tensor finite = at::isfinite(hessian);
  const at::Tensor diagonal_bad = finite.diagonal().logical_not();
  const at::Tensor bad =
      diagonal_bad.any().item<bool>() ? diagonal_bad : finite.all(1).logical_not();
  hessian.masked_fill_(bad.unsqueeze(0), 0).masked_fill_(bad.unsqueeze(1), 0);
  hessian.masked_fill_(at::isfinite(hessian).logical_not(), 0);
  return bad.sum().item<int64_t>();
}

bool try_factor(const Prepared& prepared, double damping, at::ScalarType type, at::Tensor& r) {
  r = prepared.hessian.to(type, /*non_blocking=*/false, /*copy=*/true);
  r.diagonal().add_(damping * prepared.mean_diagonal);
  return reverse_cholesky(r);
}

void climb(const Prepared& prepared, double damping, Factor& factor) {
  const at::ScalarType type = prepared.hessian.scalar_type();
  factor.damping = damping;
  if (try_factor(prepared, damping, type, factor.r)) return;
  factor.rung = Rung::kMoreDamping;
  for (int step = 1; step <= kMoreDampingSteps && damping > 0; ++step) {
    factor.damping = damping * std::pow(10.0, step);
    if (!try_factor(prepared, factor.damping, type, factor.r)) continue;
    absl::StrAppend(&factor.remark, "the Hessian is not positive definite: damping raised from ",
                    damping, " to ", factor.damping, "; ");
    return;
  }
  factor.rung = Rung::kDouble;
  factor.damping = damping;
  if (try_factor(prepared, damping, at::kDouble, factor.r)) {
    factor.r = factor.r.to(type);
    absl::StrAppend(&factor.remark,
                    "the Hessian is not positive definite in fp32: it was factored in fp64; ");
    return;
  }
  factor.rung = Rung::kIdentity;
  factor.damping = 0;
  factor.r = at::eye(prepared.hessian.size(0), prepared.hessian.options());
  absl::StrAppend(
      &factor.remark,
      "the Hessian is not positive definite at any damping: its columns are rounded to nearest; ");
}

// Descending diagonal, blocks of columns by their largest.
at::Tensor descending(const at::Tensor& diagonal, int64_t block) {
  const auto sorted = [](const at::Tensor& values) {
    return values.argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  };
  if (block == 1) return sorted(diagonal);
  const at::Tensor blocks = sorted(diagonal.view({-1, block}).amax(1));
  return (blocks.unsqueeze(1) * block + at::arange(0, block, blocks.options())).flatten();
}

}  // namespace

absl::StatusOr<Factor> factorize(const at::Tensor& hessian, double damping, Order order,
                                 int64_t block) {
  if (hessian.dim() != 2 || hessian.size(0) != hessian.size(1) || hessian.numel() == 0) {
    return absl::InvalidArgumentError("a Hessian needs as many rows as columns, at least one");
  }
  if (!(damping >= 0) || !std::isfinite(damping)) {
    return absl::InvalidArgumentError(
        absl::StrCat("damping is ", damping, ", expected a number from 0"));
  }
  if (block < 1 || hessian.size(0) % block != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("blocks of ", block, " columns do not divide ", hessian.size(0), " inputs"));
  }
  const bool wide = hessian.scalar_type() == at::kDouble;
  Prepared prepared{hessian.to(wide ? at::kDouble : at::kFloat, false, true).contiguous()};
  Factor factor;
  factor.block = block;
  if (const int64_t count = zero_what_is_not_finite(prepared.hessian)) {
    absl::StrAppend(&factor.remark, "the Hessian is not finite for ", count, " of ",
                    hessian.size(0), " inputs, which count as unused; ");
  }
  at::Tensor diagonal = prepared.hessian.diagonal();
  factor.dead = diagonal == 0;
  diagonal.masked_fill_(factor.dead, 1);
  prepared.mean_diagonal = in_one_piece([&] { return diagonal.mean().item<double>(); });
  factor.order = order == Order::kActivation
                     ? descending(diagonal, block)
                     : at::arange(0, hessian.size(0), diagonal.options().dtype(at::kLong));
  if (order == Order::kActivation) {
    prepared.hessian = prepared.hessian.index_select(0, factor.order).index_select(1, factor.order);
  }
  climb(prepared, damping, factor);
  if (!factor.remark.empty()) factor.remark.resize(factor.remark.size() - 2);
  return factor;
}

}  // namespace swage::solve
