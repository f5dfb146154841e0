// The column sweep as the plain loop over columns, in fp64.
#include <ATen/ops/index_select.h>

#include "swage/solve/column_sweep.h"

namespace swage::solve {

at::Tensor sweep_codes_reference(const at::Tensor& weight, const Factor& factor,
                                 const quant::Grid& grid, double* loss) {
  const int64_t columns = weight.size(1), width = grid.scheme.group_width(columns);
  const at::Tensor w = weight.to(at::kDouble), r = factor.r.to(at::kDouble);
  at::Tensor errors = at::zeros_like(w);  // in sweep order
  at::Tensor codes;
  double total = 0;
  for (int64_t c = 0; c < columns; ++c) {
    const int64_t column = factor.order[c].item<int64_t>();
    const double pivot = r[c][c].item<double>();
    at::Tensor original = w.narrow(1, column, 1);
    if (factor.dead[column].item<bool>()) original = at::zeros_like(original);
    at::Tensor compensated = original.clone();
    if (c > 0) compensated += errors.narrow(1, 0, c).mm(r.narrow(0, 0, c).narrow(1, c, 1)) / pivot;
    quant::Grid one = grid;
    one.scheme.granularity = Granularity::kChannel;
    one.scales = grid.scales.narrow(1, column / width, 1).expand({w.size(0), 1});
    if (grid.zeros.defined())
      one.zeros = grid.zeros.narrow(1, column / width, 1).expand({w.size(0), 1});
    const at::Tensor code = quant::encode_reference(compensated, one);
    const at::Tensor value = quant::decode(code, one).to(at::kDouble);
    if (!codes.defined()) codes = at::empty(w.sizes(), code.options());
    codes.narrow(1, column, 1).copy_(code);
    errors.narrow(1, c, 1).copy_(original - value);
    total += 0.5 * ((compensated - value) * pivot).square().sum().item<double>();
  }
  if (loss) *loss = total;
  return codes;
}

}  // namespace swage::solve
