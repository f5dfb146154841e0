#include "swage/solve/column_sweep.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

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
  BlockedSweep(const at::Tensor& weight, const Factor& factor, const quant::ScalarGrid& grid,
               const at::Tensor& mask)
      : factor_(factor),
        table_(grid.table),
        rows_(weight.size(0)),
        columns_(weight.size(1)),
        stride_((rows_ + kLanes - 1) / kLanes * kLanes) {
    const auto options = weight.options().dtype(c10::CppTypeToScalarType<T>::value);
    errors_ = at::zeros({columns_, stride_}, options);
    errors_.narrow(1, 0, rows_).copy_(weight.to(options.dtype()).t().index_select(0, factor.order));
    codes_ = at::empty({columns_, stride_}, options.dtype(at::kByte));
    loss_ = at::zeros({stride_}, options);
    scales_ = spread(grid.scale, grid, options, 1);
    zeros_ = spread(grid.zero.defined() ? grid.zero : at::zeros_like(grid.scale), grid, options, 0);
    if (grid.offset.defined()) offsets_ = spread(grid.offset, grid, options, 0);
    // What a zero point has behind the point counts in the arithmetic of offsets alone.
    if (!offsets_.defined() && zeros_.ne(zeros_.round()).any().template item<bool>())
      offsets_ = at::zeros_like(scales_);
    if (mask.defined()) {
      keep_ = at::zeros({columns_, stride_}, options.dtype(at::kByte));
      keep_.narrow(1, 0, rows_).copy_(mask.t().index_select(0, factor.order));
    }
    r_ = factor.r.to(options.dtype());
    if (factor.cross.defined()) {
      cross_ = factor.cross.to(options.dtype());
      targets_ = at::empty_like(errors_);
    }
    const int64_t* order = factor.order.const_data_ptr<int64_t>();
    for (int64_t c = 0; c < columns_; ++c) groups_.push_back(order[c] / grid.width);
    tile_.stride = stride_;
    tile_.table = grid.table.get();
    tile_.storage = grid.decoded;
  }

  at::Tensor run(double* loss) {
    for (int64_t first = 0; first < columns_; first += kBlock) {
      const int64_t width = std::min(kBlock, columns_ - first);
      const at::Tensor carry = first > 0
                                   ? product(r_.narrow(0, 0, first).narrow(1, first, width).t(),
                                             errors_.narrow(0, 0, first))
                                   : at::zeros({width, stride_}, errors_.options());
      if (first > 0 && cross_.defined()) {
        add_product(errors_.narrow(0, first, width),
                    cross_.narrow(0, 0, first).narrow(1, first, width).t(),
                    targets_.narrow(0, 0, first));
      }
      sweep_block(first, width, carry);
    }
    if (loss) *loss = 0.5 * loss_.to(at::kDouble).sum().template item<double>();
    const at::Tensor back = factor_.order.argsort();
    return codes_.index_select(0, back).narrow(1, 0, rows_).t().contiguous().view(table_->type());
  }

 private:
  at::Tensor spread(const at::Tensor& levels, const quant::ScalarGrid& grid,
                    const at::TensorOptions& options, double padding) const {
    at::Tensor rows = levels.to(options.dtype());
    if (grid.height > 1)
      rows = rows.size(0) == 1 ? rows.expand({rows_, rows.size(1)})
                               : rows.repeat_interleave(grid.height, 0).narrow(0, 0, rows_);
    at::Tensor result = at::empty({levels.size(1), stride_}, options).fill_(padding);
    result.narrow(1, 0, rows_).copy_(rows.t());
    return result;
  }

  void sweep_block(int64_t first, int64_t width, const at::Tensor& carry) {
    const auto tile_of = [&](const at::Tensor& matrix) {
      return matrix.narrow(0, first, width).narrow(1, first, width).t().contiguous();
    };
    const at::Tensor factor = tile_of(r_), cross = cross_.defined() ? tile_of(cross_) : cross_;
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
        if (offsets_.defined()) tile.offsets = offsets_.template const_data_ptr<T>() + row;
        if (keep_.defined())
          tile.keep = keep_.template const_data_ptr<uint8_t>() + first * stride_ + row;
        if (cross.defined()) {
          tile.cross = cross.template const_data_ptr<T>();
          tile.targets = targets_.template mutable_data_ptr<T>() + first * stride_ + row;
        }
        tile.carry = carry.template const_data_ptr<T>() + row;
        tile.weight = errors_.template mutable_data_ptr<T>() + first * stride_ + row;
        tile.codes = codes_.template mutable_data_ptr<uint8_t>() + first * stride_ + row;
        tile.loss = loss_.template mutable_data_ptr<T>() + row;
        sweep_tile(tile);
      }
    });
  }

  const Factor& factor_;
  const quant::ScalarTable::Pointer table_;
  const int64_t rows_, columns_, stride_;
  at::Tensor errors_;   // holds the weight until a column has been swept
  at::Tensor targets_;  // what columns aimed at; only with a cross term
  at::Tensor codes_, loss_, scales_, zeros_, offsets_, keep_, r_, cross_;
  std::vector<int64_t> groups_;
  SweepTile<T> tile_;
};

// Codes of pruned weights are those of zero, as where they are rounded to nearest.
at::Tensor pruned(const at::Tensor& codes, const at::Tensor& mask, const quant::ScalarGrid& grid) {
  const at::Tensor zeros = quant::encode(at::zeros(mask.sizes(), grid.scale.options()), grid);
  return at::where(mask, codes.view(at::kByte), zeros.view(at::kByte)).view(codes.scalar_type());
}

// Do k columns that are rounded at once lie side by side in the order of the sweep?
bool keeps_blocks(const Factor& factor, int64_t k) {
  if (k <= 1) return true;
  if (factor.r.size(0) % k != 0 || (factor.cross.defined() && factor.block % k != 0)) return false;
  const at::Tensor blocks = factor.order.view({-1, k}), first = blocks.narrow(1, 0, 1);
  return first.remainder(k).eq(0).all().item<bool>() &&
         (blocks - first).eq(at::arange(k, blocks.options())).all().item<bool>();
}

}  // namespace

at::Tensor sweep_codes(const at::Tensor& weight, const Factor& factor,
                       const quant::ScalarGrid& grid, const at::Tensor& mask, double* loss) {
  if (!weight.is_cpu()) return sweep_codes_plain(weight, factor, grid, mask, loss);
  if (weight.scalar_type() == at::kDouble)
    return BlockedSweep<double>(weight, factor, grid, mask).run(loss);
  return BlockedSweep<float>(weight, factor, grid, mask).run(loss);
}

absl::StatusOr<Swept> column_sweep(const Linear& linear, const Factor& factor, const Target& target,
                                   const SweepOptions& options) {
  const int64_t out = linear.out(), in = linear.in();
  if (in != factor.r.size(0)) {
    return absl::InvalidArgumentError(absl::StrCat(linear.name, ": its input has ", in,
                                                   " channels, the Hessian ", factor.r.size(0)));
  }
  const Codec& codec = *target.codec;
  if (!keeps_blocks(factor, codec.block_columns())) {
    return absl::InvalidArgumentError(
        absl::StrCat(linear.name, ": ", codec.describe(), " rounds ", codec.block_columns(),
                     " columns at once; the factor must be made for blocks of as many"));
  }
  at::Tensor weight = linear.weight;
  FitRequest request = quant::request_for(linear, target);
  if (options.dead == Dead::kZero && factor.dead.any().item<bool>()) {
    const at::Tensor dead = factor.dead.unsqueeze(0);
    weight = weight.masked_fill(dead, 0);
    for (at::Tensor& other : request.fused) other = other.masked_fill(dead, 0);
  }
  // Levels cover what is kept; what is pruned is an error that the sweep spreads.
  auto levels = codec.fit(
      linear.mask.defined() ? weight.masked_fill(linear.mask.logical_not(), 0) : weight, request);
  if (!levels.ok()) return annotate(std::move(levels).status(), linear.name);
  Swept swept;
  Parts parts = *std::move(levels);
  if (codec.block_columns() > 0) {
    parts = sweep_blocks(weight, factor, codec, std::move(parts), linear.mask, &swept.loss);
  } else {
    SWAGE_ASSIGN_OR_RETURN(const quant::ScalarGrid grid, codec.grid(parts, out, in));
    at::Tensor codes = sweep_codes(weight, factor, grid, linear.mask, &swept.loss);
    if (linear.mask.defined()) codes = pruned(codes, linear.mask, grid);
    parts.insert_or_assign("codes", std::move(codes));
  }
  swept.result = Result(linear.name, target.codec, out, in, std::move(parts));
  if (linear.mask.defined()) swept.result.set_mask(linear.mask);
  return swept;
}

}  // namespace swage::solve
