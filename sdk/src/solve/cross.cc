// The cross term of inputs that are changed already, by solves with the factor in tiles of fixed
// size.
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>

#include "absl/strings/str_cat.h"
#include "solve/reverse_cholesky.h"
#include "swage/product.h"
#include "swage/solve/column_sweep.h"

namespace swage::solve {
namespace {

constexpr int64_t kTile = 64;

// a R⁻ᵀ: columns from the last to the first.
at::Tensor times_inverse_transposed(const at::Tensor& a, const at::Tensor& r) {
  at::Tensor result = at::empty_like(a);
  for (int64_t end = a.size(1); end > 0;) {
    const int64_t first = (end - 1) / kTile * kTile, width = end - first;
    at::Tensor rest = a.narrow(1, first, width);
    if (end < a.size(1)) {
      const at::Tensor beyond = r.narrow(0, first, width).narrow(1, end, a.size(1) - end);
      rest = rest - product(result.narrow(1, end, a.size(1) - end), beyond.t());
    }
    const at::Tensor tile = r.narrow(0, first, width).narrow(1, first, width);
    result.narrow(1, first, width).copy_(product(rest, inverse_of_tile(tile).t()));
    end = first;
  }
  return result;
}

// a R⁻¹: columns from the first to the last.
at::Tensor times_inverse(const at::Tensor& a, const at::Tensor& r) {
  at::Tensor result = at::empty_like(a);
  for (int64_t first = 0; first < a.size(1); first += kTile) {
    const int64_t width = std::min(kTile, a.size(1) - first);
    at::Tensor rest = a.narrow(1, first, width);
    if (first > 0) {
      const at::Tensor before = r.narrow(0, 0, first).narrow(1, first, width);
      rest = rest - product(result.narrow(1, 0, first), before);
    }
    const at::Tensor tile = r.narrow(0, first, width).narrow(1, first, width);
    result.narrow(1, first, width).copy_(product(rest, inverse_of_tile(tile)));
  }
  return result;
}

}  // namespace

absl::Status correct_inputs(Factor& factor, const at::Tensor& cross, double share) {
  const int64_t in = factor.r.size(0);
  if (cross.dim() != 2 || cross.size(0) != in || cross.size(1) != in) {
    return absl::InvalidArgumentError(
        absl::StrCat("a cross term needs ", in, " rows and columns, as the Hessian has"));
  }
  if (!at::isfinite(cross).all().item<bool>())
    return absl::InvalidArgumentError("the cross term is not finite everywhere");
  factor.cross = at::Tensor();
  if (factor.rung == Rung::kIdentity || share == 0) return absl::OkStatus();
  const at::Tensor known = cross.to(factor.r.options()).masked_fill(factor.dead.unsqueeze(0), 0);
  const at::Tensor ordered =
      known.index_select(0, factor.order).index_select(1, factor.order).contiguous();
  at::Tensor above = times_inverse_transposed(ordered, factor.r);
  for (int64_t first = 0; first < in; first += kTile)  // nothing on the blocks and below them
    above.narrow(0, first, std::min(kTile, in - first)).narrow(1, 0, first).zero_();
  for (int64_t first = 0; first < in; first += factor.block) {
    const int64_t low = first / kTile * kTile, end = std::min(first + factor.block, in);
    above.narrow(0, first, end - first).narrow(1, low, end - low).zero_();
  }
  factor.cross = times_inverse(above, factor.r) * share;
  return absl::OkStatus();
}

}  // namespace swage::solve
