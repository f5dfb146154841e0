#include "swage/quant/scalar_codec.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "quant/kernels.h"
#include "quant/level_finder.h"
#include "swage/part_check.h"
#include "swage/status.h"

namespace swage::quant {
namespace {

constexpr char kCodes[] = "codes", kScales[] = "scales", kZeros[] = "zeros",
               kOuter[] = "outer_scales";

at::ScalarType wide(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

int64_t element_bits(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) * 8 : 0;
}

int64_t cuts(int64_t size, int64_t piece) { return piece == 0 ? 1 : (size + piece - 1) / piece; }

}  // namespace

at::ScalarType LevelAccess::decoded_type(at::ScalarType scales) const {
  return codec_.do_decoded_type({{kScales, at::empty({0}, at::TensorOptions(scales))}});
}

float LevelStorage::round(float scale) const { return round_to_storage(scale, scales); }
double LevelStorage::round(double scale) const { return round_to_storage(scale, scales); }

ScalarCodec::ScalarCodec(ScalarTable::Pointer table, const ScalarLayout& layout)
    : table_(std::move(table)), layout_(layout) {}

at::Tensor ScalarCodec::outer_scales(const at::Tensor&, const at::Tensor&, at::ScalarType) const {
  return {};
}

Level<double> ScalarCodec::level_below(double, const LevelStorage&) const {
  return {std::numeric_limits<double>::quiet_NaN(), 0, 0};
}

int64_t ScalarCodec::scale_bits(at::ScalarType stored) const {
  return static_cast<int64_t>(c10::elementSize(stored)) * 8;
}

at::Tensor ScalarCodec::effective_scales(const Parts& levels) const {
  const at::Tensor& scales = part(levels, kScales);
  return scales.to(wide(scales));
}

void ScalarCodec::scale_slopes(const at::Tensor& low, const at::Tensor& high, at::Tensor* of_low,
                               at::Tensor* of_high) const {
  const auto slope = [](const at::Tensor& end) {
    return at::where(end.ne(0), end.reciprocal(), at::zeros_like(end));
  };
  const at::Tensor none = at::zeros_like(low), high_leads = high.ge(-low);
  *of_low = at::where(high_leads, none, slope(low));
  *of_high = at::where(high_leads, slope(high), none);
}

std::string ScalarCodec::do_form() const {
  return absl::StrCat(
      format(), " ", layout_.code_bits, " bits, ", layout_.rows, " x ", layout_.columns,
      layout_.zeros ? ", zeros" : "", layout_.float_zeros ? " in floats" : "",
      layout_.outer_groups != 0 ? absl::StrCat(" under ", layout_.outer_groups) : "",
      scheme().keys.count("dynamic") == 0          ? ""
      : Value(scheme().keys).flag("dynamic", true) ? ", dynamic"
                                                   : ", static");
}

absl::StatusOr<Parts> ScalarCodec::do_fit(const at::Tensor& weight,
                                          const FitRequest& request) const {
  SWAGE_RETURN_IF_ERROR(check_groups(*this, weight.size(1)));
  SWAGE_ASSIGN_OR_RETURN(Levels levels, find_levels(*this, weight, request));
  const at::ScalarType type = do_scale_type(request.scale_dtype);
  Parts parts;
  if (levels.outer.defined()) parts.emplace(kOuter, std::move(levels.outer));
  if (layout_.zeros) parts.emplace(kZeros, levels.zeros.to(layout_.float_zeros ? type : at::kChar));
  parts.emplace(kScales, levels.scales.to(type));
  return parts;
}

absl::StatusOr<ScalarGrid> ScalarCodec::do_grid(const Parts& levels, int64_t out,
                                                int64_t in) const {
  ScalarGrid grid;
  grid.table = table_;
  grid.scale = effective_scales(levels);
  if (const at::Tensor& zeros = part(levels, kZeros); zeros.defined())
    grid.zero = zeros.to(grid.scale.scalar_type());
  grid.width = layout_.columns > 0 ? layout_.columns : in;
  grid.height = layout_.rows > 0 ? layout_.rows : out;
  grid.decoded = do_decoded_type(levels);
  return grid;
}

at::ScalarType ScalarCodec::do_decoded_type(const Parts& parts) const {
  const at::ScalarType type = part(parts, kScales).scalar_type();
  return c10::isFloatingType(type) && c10::elementSize(type) > 1 ? type : at::kFloat;
}

Parts ScalarCodec::do_encode(const at::Tensor& weight, Parts levels) const {
  const ScalarGrid grid = *do_grid(levels, weight.size(0), weight.size(1));
  levels.insert_or_assign(kCodes, quant::encode(weight, grid));
  return levels;
}

at::Tensor ScalarCodec::do_decode(const Parts& parts, int64_t out, int64_t in) const {
  return quant::decode(part(parts, kCodes), *do_grid(parts, out, in)).to(at::kFloat);
}

absl::Status ScalarCodec::do_validate(const Parts& parts, int64_t out, int64_t in) const {
  const PartCheck check(parts);
  SWAGE_RETURN_IF_ERROR(check.shape(kCodes, {out, in}));
  SWAGE_RETURN_IF_ERROR(check.type(kCodes, table_->type()));
  const int64_t rows = cuts(out, layout_.rows), groups = cuts(in, layout_.columns);
  SWAGE_RETURN_IF_ERROR(check.shape(kScales, {rows, groups}));
  const at::Tensor& scales = part(parts, kScales);
  // Types that the scheme leaves open are floats that scales fit without a level above them.
  const at::ScalarType type = do_scale_type(scales.scalar_type());
  SWAGE_RETURN_IF_ERROR(check.type(kScales, type));
  const bool open =
      do_scale_type(at::kFloat) == at::kFloat && do_scale_type(at::kHalf) == at::kHalf;
  if (open && (!scales.is_floating_point() || scales.element_size() == 1))
    return check.wrong(kScales, c10::toString(type), "floats of 16 bits or more");
  if (scales.is_floating_point()) SWAGE_RETURN_IF_ERROR(check.finite(kScales));
  if (layout_.zeros) {
    SWAGE_RETURN_IF_ERROR(check.shape(kZeros, {rows, groups}));
    if (layout_.float_zeros) {
      SWAGE_RETURN_IF_ERROR(check.type(kZeros, type));
      SWAGE_RETURN_IF_ERROR(check.finite(kZeros));
    } else {
      SWAGE_RETURN_IF_ERROR(check.type(kZeros, at::kChar));
      SWAGE_RETURN_IF_ERROR(check.within(kZeros, static_cast<int64_t>(table_->least()),
                                         static_cast<int64_t>(table_->greatest())));
    }
  }
  if (layout_.outer_groups != 0) {
    const bool one = layout_.outer_groups < 0;
    SWAGE_RETURN_IF_ERROR(
        check.shape(kOuter, {one ? 1 : rows, one ? 1 : cuts(groups, layout_.outer_groups)}));
    SWAGE_RETURN_IF_ERROR(check.finite(kOuter));
    const at::Tensor& outer = part(parts, kOuter);
    if (outer.element_size() == 1)
      return check.wrong(kOuter, c10::toString(outer.scalar_type()), "floats of 16 bits or more");
  }
  SWAGE_RETURN_IF_ERROR(check.only(
      {kCodes, kScales, layout_.zeros ? kZeros : "", layout_.outer_groups != 0 ? kOuter : ""}));
  return check.codes_of(kCodes, table_->values());
}

int64_t ScalarCodec::do_level_bits(const Parts& parts) const {
  const at::Tensor &scales = part(parts, kScales), &zeros = part(parts, kZeros);
  int64_t bits = scales.numel() * scale_bits(scales.scalar_type());
  if (zeros.defined()) {
    bits += layout_.float_zeros ? element_bits(zeros)
                                : zeros.numel() * static_cast<int64_t>(table_->bits());
  }
  return bits + element_bits(part(parts, kOuter));
}

int64_t ScalarCodec::do_planned_level_bits(int64_t out, int64_t in, at::ScalarType open) const {
  const at::ScalarType type = do_scale_type(open);
  const int64_t rows = cuts(out, layout_.rows), groups = cuts(in, layout_.columns);
  int64_t each = scale_bits(type);
  if (layout_.zeros)
    each += layout_.float_zeros ? static_cast<int64_t>(c10::elementSize(type)) * 8 : table_->bits();
  int64_t bits = rows * groups * each;
  if (layout_.outer_groups < 0) bits += 32;
  if (layout_.outer_groups > 0)
    bits += rows * cuts(groups, layout_.outer_groups) *
            static_cast<int64_t>(c10::elementSize(open)) * 8;
  return bits;
}

// Engines have one outer scale for what they multiply as one matrix.
bool ScalarCodec::do_wants_fused() const {
  const char* const otherwise = layout_.outer_groups == -1 ? "fused" : "none";
  return Value(scheme().keys).str("share", otherwise) == "fused";
}

int64_t ScalarCodec::do_column_multiple() const {
  return layout_.columns > 0 && !layout_.short_tail ? layout_.columns : 1;
}

int64_t ScalarCodec::do_group_width(int64_t in) const {
  return layout_.columns > 0 ? layout_.columns : in;
}

}  // namespace swage::quant
