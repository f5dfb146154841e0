// The column sweep over formats that round k columns at once.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "solve/reverse_cholesky.h"
#include "swage/product.h"
#include "swage/solve/column_sweep.h"

namespace swage::solve {
namespace {

constexpr int64_t kPanel = 64;  // columns between two large products

// With errors D of the blocks before, block B aims at W_B + D R_·B R_BB⁻¹: the least squares of
// what is left (Tseng et al. 2024, block LDLQ). What panels before leave in a panel is one product;
// within it the products are narrow.
class PanelSweep {
 public:
  PanelSweep(const at::Tensor& weight, const Factor& factor, const Codec& codec, Parts levels,
             const at::Tensor& mask)
      : codec_(codec),
        levels_(std::move(levels)),
        k_(codec.block_columns()),
        r_(factor.r),
        cross_(factor.cross),
        order_(factor.order.cpu()),
        blocks_(static_cast<size_t>(weight.size(1) / k_)) {
    errors_ = weight.to(r_.scalar_type()).index_select(1, factor.order);
    if (mask.defined()) keep_ = mask.index_select(1, factor.order).to(r_.scalar_type());
    if (cross_.defined()) targets_ = at::empty_like(errors_);
    total_ = at::zeros({}, errors_.options().dtype(at::kDouble));
  }

  Parts run(double* loss) {
    const int64_t panel = std::max(k_, kPanel / k_ * k_), columns = errors_.size(1);
    for (int64_t first = 0; first < columns; first += panel)
      sweep_panel(first, std::min(panel, columns - first));
    if (loss) *loss = 0.5 * total_.item<double>();
    levels_.insert_or_assign("codes", at::cat(blocks_, 1));
    return std::move(levels_);
  }

 private:
  void sweep_panel(int64_t first, int64_t width) {
    const at::Tensor r = r_.narrow(0, first, width).narrow(1, first, width).contiguous();
    at::Tensor errors = errors_.narrow(1, first, width);
    at::Tensor carry = at::zeros_like(errors), cross, targets;
    if (first > 0) {
      carry = product(errors_.narrow(1, 0, first), r_.narrow(0, 0, first).narrow(1, first, width));
      if (cross_.defined()) {
        errors.add_(product(targets_.narrow(1, 0, first),
                            cross_.narrow(0, 0, first).narrow(1, first, width)));
      }
    }
    if (cross_.defined()) {
      cross = cross_.narrow(0, first, width).narrow(1, first, width).contiguous();
      targets = targets_.narrow(1, first, width);
    }
    for (int64_t c = 0; c < width; c += k_) {
      const at::Tensor pivot = r.narrow(0, c, k_).narrow(1, c, k_);
      at::Tensor original = errors.narrow(1, c, k_), left = carry.narrow(1, c, k_);
      if (c > 0) {
        left = left + product(errors.narrow(1, 0, c), r.narrow(0, 0, c).narrow(1, c, k_));
        if (cross.defined()) {
          original.add_(product(targets.narrow(1, 0, c), cross.narrow(0, 0, c).narrow(1, c, k_)));
        }
      }
      const at::Tensor target =
          original + (k_ == 1 ? left / pivot : product(left, inverse_of_tile(pivot)));
      if (targets.defined()) targets.narrow(1, c, k_).copy_(target);
      const int64_t column = order_.const_data_ptr<int64_t>()[first + c];
      RoundedBlock rounded = codec_.round_block(target, levels_, column);
      at::Tensor value = rounded.decoded.to(original.scalar_type());
      if (keep_.defined()) value = value * keep_.narrow(1, first + c, k_);
      blocks_[static_cast<size_t>(column / k_)] = rounded.codes;
      total_ += product(target - value, pivot).to(at::kDouble).square().sum();
      original.sub_(value);
    }
  }

  const Codec& codec_;
  Parts levels_;
  const int64_t k_;
  const at::Tensor r_, cross_, order_;
  std::vector<at::Tensor> blocks_;
  at::Tensor errors_;   // in sweep order; holds the weight until a block has been swept
  at::Tensor targets_;  // what blocks aimed at; only with a cross term
  at::Tensor keep_, total_;
};

}  // namespace

Parts sweep_blocks(const at::Tensor& weight, const Factor& factor, const Codec& codec, Parts levels,
                   const at::Tensor& mask, double* loss) {
  return PanelSweep(weight, factor, codec, std::move(levels), mask).run(loss);
}

}  // namespace swage::solve
