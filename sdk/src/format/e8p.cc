// QuIP#'s lattice (Tseng et al. 2024): eight columns at once, two bits a weight, a scale a row or
// for the matrix. Weights without outliers are asked for: rotate them first.
#include "format/e8p.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "format/vectors.h"
#include "quant/view.h"
#include "swage/part_check.h"
#include "swage/register.h"
#include "swage/value.h"

namespace swage::format {
namespace {

constexpr char kCodes[] = "codes", kScales[] = "scales";
// Of least squared error for Gaussian weights: their root mean square becomes this.
constexpr double kSpread = 1.03;
constexpr int kIndexBits = 16;

class E8p final : public Codec {
 public:
  explicit E8p(const Params& params)
      : whole_(Value(params.values()).str("granularity", "channel") == "tensor") {}

 private:
  std::string do_describe() const override { return whole_ ? "e8p per tensor" : "e8p per channel"; }
  std::string do_form() const override { return do_describe(); }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    SWAGE_RETURN_IF_ERROR(check_vectors(format(), weight, e8p::kColumns));
    const at::Tensor inside =
        quant::clamp_to_limits(weight, weight.size(1), request.clip_low, request.clip_high);
    const at::Tensor w = inside.to(at::kCPU, at::kDouble).contiguous();
    const int64_t rows = w.size(0), columns = w.size(1);
    at::Tensor scales = at::empty({whole_ ? 1 : rows, 1}, w.options());
    const double* x = w.const_data_ptr<double>();
    double* scale = scales.mutable_data_ptr<double>();
    double all = 0;
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < columns; ++c) sum += x[r * columns + c] * x[r * columns + c];
      all += sum;
      if (!whole_) scale[r] = std::sqrt(sum / static_cast<double>(columns)) / kSpread;
    }
    if (whole_) scale[0] = std::sqrt(all / static_cast<double>(rows * columns)) / kSpread;
    const at::Tensor stored = scales.to(request.scale_dtype);
    SWAGE_RETURN_IF_ERROR(check_stored("the scale", stored, whole_));
    return Parts{{kScales, stored.to(weight.device())}};
  }

  // Scales of zero, under which everything decodes to zero, divide as one.
  static at::Tensor indices_of(const at::Tensor& weight, const Parts& levels) {
    const at::ScalarType type = quant::arithmetic_type(weight.scalar_type());
    const at::Tensor scales = part(levels, kScales).to(type);
    return e8p::nearest(weight.to(type) / at::where(scales.eq(0), at::ones_like(scales), scales));
  }

  // In fp32 (fp64 where the scales are), rounded once to the dtype of the scales.
  static at::Tensor values_of(const at::Tensor& codes, const Parts& levels) {
    const at::Tensor& scales = part(levels, kScales);
    const at::ScalarType type = quant::arithmetic_type(scales.scalar_type());
    const at::Tensor index = codes.to(at::kInt).bitwise_and((1 << kIndexBits) - 1).flatten();
    const at::Tensor vectors =
        e8p::vectors().to(codes.device()).index_select(0, index).view({codes.size(0), -1});
    return (vectors.to(type) * scales.to(type)).to(scales.scalar_type());
  }

  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    const at::Tensor codes = indices_of(weight, levels);
    levels.insert_or_assign(kCodes, codes);
    return levels;
  }
  at::Tensor do_decode(const Parts& parts, int64_t, int64_t) const override {
    return values_of(part(parts, kCodes), parts).to(at::kFloat);
  }
  RoundedBlock do_round_block(const at::Tensor& target, const Parts& levels,
                              int64_t) const override {
    const at::Tensor codes = indices_of(target, levels);
    return {codes, values_of(codes, levels).to(target.scalar_type())};
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    if (in % e8p::kColumns != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("its width is ", in, ", expected a multiple of ", e8p::kColumns));
    }
    const PartCheck check(parts);
    SWAGE_RETURN_IF_ERROR(check.shape(kCodes, {out, in / e8p::kColumns}));
    SWAGE_RETURN_IF_ERROR(check.type(kCodes, at::kShort));
    SWAGE_RETURN_IF_ERROR(check.shape(kScales, {whole_ ? 1 : out, 1}));
    SWAGE_RETURN_IF_ERROR(check.finite(kScales));
    return check.only({kCodes, kScales});
  }

  double do_code_bits() const override {
    return static_cast<double>(kIndexBits) / static_cast<double>(e8p::kColumns);
  }
  int64_t do_level_bits(const Parts& parts) const override {
    const at::Tensor& scales = part(parts, kScales);
    return scales.numel() * static_cast<int64_t>(scales.element_size()) * 8;
  }
  int64_t do_planned_level_bits(int64_t out, int64_t, at::ScalarType type) const override {
    return (whole_ ? 1 : out) * static_cast<int64_t>(c10::elementSize(type)) * 8;
  }
  int64_t do_column_multiple() const override { return e8p::kColumns; }
  at::ScalarType do_decoded_type(const Parts& parts) const override {
    return part(parts, kScales).scalar_type();
  }
  int64_t do_block_columns() const override { return e8p::kColumns; }

  const bool whole_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::E8p, "e8p");
