// The column sweep as the plain loop over columns, in fp64 and in tensor operations.
#include <ATen/ops/index_select.h>

#include "swage/solve/column_sweep.h"

namespace swage::solve {
namespace {

// The grid of one column: each row's levels.
quant::ScalarGrid column_of(const quant::ScalarGrid& grid, int64_t column, int64_t rows) {
  quant::ScalarGrid one = grid;
  const auto take = [&](const at::Tensor& levels) {
    if (!levels.defined()) return levels;
    return levels.narrow(1, column / grid.width, 1)
        .repeat_interleave(grid.height, 0)
        .narrow(0, 0, rows);
  };
  one.scale = take(grid.scale);
  one.zero = take(grid.zero);
  one.offset = take(grid.offset);
  one.width = 1;
  one.height = 1;
  return one;
}

at::Tensor in_double(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(at::kDouble) : tensor;
}

}  // namespace

at::Tensor sweep_codes_plain(const at::Tensor& weight, const Factor& factor,
                             const quant::ScalarGrid& grid, const at::Tensor& mask, double* loss) {
  const at::Tensor w = weight.to(at::kDouble), r = factor.r.to(at::kDouble);
  const at::Tensor order = factor.order.cpu(), cross = in_double(factor.cross);
  at::Tensor errors = at::zeros_like(w), targets = at::zeros_like(w);  // in sweep order
  at::Tensor codes = at::empty(w.sizes(), w.options().dtype(grid.table->type()));
  at::Tensor total = at::zeros({}, w.options());
  for (int64_t c = 0; c < w.size(1); ++c) {
    const int64_t column = order.const_data_ptr<int64_t>()[c];
    const at::Tensor pivot = r.select(0, c).select(0, c);
    at::Tensor original = w.narrow(1, column, 1);
    if (c > 0 && factor.cross.defined())
      original = original + targets.narrow(1, 0, c).mm(cross.narrow(0, 0, c).narrow(1, c, 1));
    at::Tensor compensated = original.clone();
    if (c > 0) compensated += errors.narrow(1, 0, c).mm(r.narrow(0, 0, c).narrow(1, c, 1)) / pivot;
    targets.narrow(1, c, 1).copy_(compensated);
    const quant::ScalarGrid one = column_of(grid, column, w.size(0));
    const at::Tensor code = quant::encode_plain(compensated, one);
    at::Tensor value = quant::decode_plain(code, one).to(at::kDouble);
    if (mask.defined()) value = value * mask.narrow(1, column, 1);
    codes.narrow(1, column, 1).copy_(code);
    errors.narrow(1, c, 1).copy_(original - value);
    total += ((compensated - value) * pivot).square().sum();
  }
  if (loss) *loss = 0.5 * total.item<double>();
  return codes;
}

Parts sweep_blocks_plain(const at::Tensor& weight, const Factor& factor, const Codec& codec,
                         Parts levels, const at::Tensor& mask, double* loss) {
  const int64_t k = codec.block_columns(), columns = weight.size(1);
  const at::Tensor w = weight.to(at::kDouble), r = factor.r.to(at::kDouble);
  const at::Tensor order = factor.order.cpu(), cross = in_double(factor.cross);
  at::Tensor errors = at::zeros_like(w), targets = at::zeros_like(w);  // in sweep order
  std::vector<at::Tensor> blocks(static_cast<size_t>(columns / k));
  at::Tensor total = at::zeros({}, w.options());
  for (int64_t c = 0; c < columns; c += k) {
    const int64_t first = order.const_data_ptr<int64_t>()[c];
    const at::Tensor pivot = r.narrow(0, c, k).narrow(1, c, k);
    at::Tensor original = w.narrow(1, first, k);
    if (c > 0 && cross.defined())
      original = original + targets.narrow(1, 0, c).mm(cross.narrow(0, 0, c).narrow(1, c, k));
    at::Tensor target = original;
    if (c > 0) {
      const at::Tensor carry = errors.narrow(1, 0, c).mm(r.narrow(0, 0, c).narrow(1, c, k));
      target = original + at::linalg_solve_triangular(pivot, carry, /*upper=*/true, /*left=*/false);
    }
    targets.narrow(1, c, k).copy_(target);
    RoundedBlock rounded = codec.round_block(target, levels, first);
    at::Tensor value = rounded.decoded.to(at::kDouble);
    if (mask.defined()) value = value * mask.narrow(1, first, k);
    blocks[static_cast<size_t>(first / k)] = rounded.codes;
    errors.narrow(1, c, k).copy_(original - value);
    total += (target - value).mm(pivot).square().sum();
  }
  if (loss) *loss = 0.5 * total.item<double>();
  levels.insert_or_assign("codes", at::cat(blocks, 1));
  return levels;
}

}  // namespace swage::solve
