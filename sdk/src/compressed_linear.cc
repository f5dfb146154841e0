#include "swage/compressed_linear.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/where.h>

#include "swage/quant/quantizer.h"

namespace swage {
namespace {

constexpr int64_t kIndexBits = 32;

int64_t stored_bits(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) * 8 : 0;
}

at::Tensor rounded_to(const at::Tensor& value, at::ScalarType storage) {
  return value.to(storage).to(value.scalar_type());
}

// Columns of a group lie anywhere: one scale per entry.
at::Tensor decode_gathered(const CompressedLinear& linear) {
  const at::Tensor group = linear.g_idx.to(at::kLong);
  at::Tensor level = linear.codes.to(at::kFloat);
  if (linear.zeros.defined()) level = level - linear.zeros.to(at::kFloat).index_select(1, group);
  return rounded_to(level * linear.scales.to(at::kFloat).index_select(1, group),
                    linear.scales.scalar_type());
}

at::Tensor decode_codes(const CompressedLinear& linear) {
  if (linear.scheme.format == NumberFormat::kDense) return linear.codes.to(at::kFloat);
  if (linear.codebook.defined()) {
    return linear.codebook.index_select(0, linear.codes.flatten().to(at::kLong))
        .view({linear.out, linear.in})
        .to(at::kFloat);
  }
  if (linear.g_idx.defined()) return decode_gathered(linear);
  return quant::decode(linear.codes, {linear.scheme, linear.scales, linear.zeros});
}

}  // namespace

at::Tensor decode(const CompressedLinear& linear) {
  at::Tensor weight = decode_codes(linear);
  if (linear.mask.defined())
    weight = at::where(linear.mask, weight, at::zeros({}, weight.options()));
  if (linear.outlier_index.defined()) {
    weight.index_put_({linear.outlier_index.select(1, 0), linear.outlier_index.select(1, 1)},
                      linear.outlier_value.to(weight.scalar_type()));
  }
  if (linear.low_rank_left.defined()) {
    weight = weight + at::mm(linear.low_rank_left.to(weight.scalar_type()),
                             linear.low_rank_right.to(weight.scalar_type()));
  }
  return weight;
}

int64_t storage_bits(const CompressedLinear& linear) {
  const bool dense = linear.scheme.format == NumberFormat::kDense;
  const int64_t code_bits =
      dense ? static_cast<int64_t>(linear.codes.element_size()) * 8 : linear.scheme.bits;
  int64_t bits = linear.mask.defined()
                     ? linear.mask.sum().item<int64_t>() * code_bits + linear.mask.numel()
                     : linear.codes.numel() * code_bits;
  if (linear.zeros.defined()) bits += linear.zeros.numel() * linear.scheme.bits;
  if (linear.g_idx.defined()) bits += linear.g_idx.numel() * kIndexBits;
  if (linear.outlier_index.defined()) bits += linear.outlier_index.numel() * kIndexBits;
  return bits + stored_bits(linear.scales) + stored_bits(linear.outlier_value) +
         stored_bits(linear.low_rank_left) + stored_bits(linear.low_rank_right) +
         stored_bits(linear.codebook);
}

}  // namespace swage
