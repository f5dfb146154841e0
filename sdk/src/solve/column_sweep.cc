#include "swage/solve/column_sweep.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/index_select.h>

#include "quant/view.h"
#include "solve/sweep_tile.h"
#include "swage/product.h"
#include "swage/status.h"

namespace swage::solve {
namespace {

constexpr int64_t kBlock = 64;  // columns between two matrix products

// Rows become vector lanes: everything is kept transposed, [column in sweep order, padded row].
template <class T>
class BlockedSweep {
 public:
  BlockedSweep(const at::Tensor& weight, const Factor& factor, const quant::Grid& grid)
      : factor_(factor),
        rows_(weight.size(0)),
        columns_(weight.size(1)),
        stride_((rows_ + kLanes - 1) / kLanes * kLanes) {
    const auto options = weight.options().dtype(c10::CppTypeToScalarType<T>::value);
    errors_ = at::zeros({columns_, stride_}, options);
    errors_.narrow(1, 0, rows_).copy_(weight.to(options.dtype()).t().index_select(0, factor.order));
    errors_.masked_fill_(factor.dead.index_select(0, factor.order).unsqueeze(1), 0);
    codes_ = at::empty({columns_, stride_}, options.dtype(at::kByte));
    loss_ = at::zeros({stride_}, options);
    scales_ = spread(grid.scales, options, 1);
    zeros_ = spread(grid.zeros.defined() ? grid.zeros : at::zeros_like(grid.scales), options, 0);
    r_ = factor.r.to(options.dtype());
    const int64_t width = grid.scheme.group_width(columns_);
    const int64_t* order = factor.order.const_data_ptr<int64_t>();
    for (int64_t c = 0; c < columns_; ++c) groups_.push_back(order[c] / width);
    tile_.stride = stride_;
    tile_.low = T(quant::code_min(grid.scheme.bits));
    tile_.high = T(quant::code_max(grid.scheme.bits));
    tile_.format = grid.scheme.format;
    tile_.storage = grid.scales.scalar_type();
  }

  at::Tensor run(double* loss) {
    for (int64_t first = 0; first < columns_; first += kBlock) {
      const int64_t width = std::min(kBlock, columns_ - first);
      const at::Tensor carry = first > 0
                                   ? product(r_.narrow(0, 0, first).narrow(1, first, width).t(),
                                             errors_.narrow(0, 0, first))
                                   : at::zeros({width, stride_}, errors_.options());
      sweep_block(first, width, carry);
    }
    if (loss) *loss = 0.5 * loss_.to(at::kDouble).sum().template item<double>();
    const at::Tensor back = factor_.order.argsort();
    return codes_.index_select(0, back)
        .narrow(1, 0, rows_)
        .t()
        .contiguous()
        .view(quant::code_type(tile_.format));
  }

 private:
  at::Tensor spread(const at::Tensor& levels, const at::TensorOptions& options,
                    double padding) const {
    at::Tensor result = at::empty({levels.size(1), stride_}, options).fill_(padding);
    result.narrow(1, 0, rows_)
        .copy_(levels.to(options.dtype()).expand({rows_, levels.size(1)}).t());
    return result;
  }

  void sweep_block(int64_t first, int64_t width, const at::Tensor& carry) {
    const at::Tensor factor = r_.narrow(0, first, width).narrow(1, first, width).t().contiguous();
    at::parallel_for(0, (stride_ + kTileRows - 1) / kTileRows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        const int64_t row = index * kTileRows;
        SweepTile<T> tile = tile_;
        tile.rows = std::min(kTileRows, stride_ - row);
        tile.columns = width;
        tile.factor = factor.template const_data_ptr<T>();
        tile.group = groups_.data() + first;
        tile.scales = scales_.template const_data_ptr<T>() + row;
        tile.zeros = zeros_.template const_data_ptr<T>() + row;
        tile.carry = carry.template const_data_ptr<T>() + row;
        tile.weight = errors_.template mutable_data_ptr<T>() + first * stride_ + row;
        tile.codes = codes_.template mutable_data_ptr<uint8_t>() + first * stride_ + row;
        tile.loss = loss_.template mutable_data_ptr<T>() + row;
        sweep_tile(tile);
      }
    });
  }

  const Factor& factor_;
  const int64_t rows_, columns_, stride_;
  at::Tensor errors_;  // holds the weight until a column has been swept
  at::Tensor codes_, loss_, scales_, zeros_, r_;
  std::vector<int64_t> groups_;
  SweepTile<T> tile_;
};

}  // namespace

at::Tensor sweep_codes(const at::Tensor& weight, const Factor& factor, const quant::Grid& grid,
                       double* loss) {
  if (weight.scalar_type() == at::kDouble)
    return BlockedSweep<double>(weight, factor, grid).run(loss);
  return BlockedSweep<float>(weight, factor, grid).run(loss);
}

absl::StatusOr<Swept> column_sweep(const Linear& linear, const Factor& factor,
                                   const WeightScheme& scheme, at::ScalarType scale_dtype) {
  if (linear.in() != factor.r.size(0)) {
    return absl::InvalidArgumentError(absl::StrCat(linear.name, ": its input has ", linear.in(),
                                                   " channels, the Hessian ", factor.r.size(0)));
  }
  const bool any_dead = factor.dead.any().item<bool>();
  const at::Tensor weight =
      any_dead ? linear.weight.masked_fill(factor.dead.unsqueeze(0), 0) : linear.weight;
  auto grid = quant::find_grid(weight, scheme, scale_dtype, linear.clip_low, linear.clip_high);
  if (!grid.ok()) return annotate(std::move(grid).status(), linear.name);
  Swept swept;
  swept.result =
      quant::make_result(linear.name, *grid, sweep_codes(weight, factor, *grid, &swept.loss));
  return swept;
}

}  // namespace swage::solve
