// What MLX calls affine: code · scale + offset, both floats of one dtype, for groups of columns.
// Codes are stored as those of "int", 2^(bits-1) below what files hold.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "format/keys.h"
#include "quant/kernels.h"
#include "quant/level_finder.h"
#include "swage/part_check.h"
#include "swage/register.h"
#include "swage/status.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;

constexpr char kCodes[] = "codes", kScales[] = "scales", kOffsets[] = "offsets";
constexpr double kLeastHalf = 6.103515625e-05;  // normal numbers
constexpr int64_t kBits = 4, kGroup = 64;       // where the keys name none

quant::ScalarLayout affine_layout(const Value& keys) {
  quant::ScalarLayout layout;
  layout.columns = keys.i64("group", kGroup);
  layout.code_bits = static_cast<double>(keys.i64("bits", kBits));
  layout.zeros = true;
  layout.float_zeros = true;
  return layout;
}

class Affine final : public quant::ScalarCodec {
 public:
  explicit Affine(const Params& params) : Affine(Value(params.values())) {}

 private:
  explicit Affine(const Value& keys)
      : ScalarCodec(quant::ScalarTable::integers(-half_of(keys), half_of(keys) - 1),
                    affine_layout(keys)),
        keys_(keys),
        half_(half_of(keys)) {}

  static int half_of(const Value& keys) { return 1 << (keys.i64("bits", kBits) - 1); }

  std::string do_describe() const override {
    return absl::StrCat("affine w", layout().code_bits, " g", layout().columns);
  }

  // The zero point says where the offset lies until fit() has rounded it.
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    Level<T> level;
    const T offset = storage.round(low), steps = T(2 * half_ - 1);
    const T wanted = low == high ? std::abs(low) : (high - low) / steps;
    level.scale = wanted == 0 ? T(1) : storage.round(wanted);
    if (level.scale == 0)
      level.scale =
          storage.scales == at::kHalf ? T(kLeastHalf) : T(std::numeric_limits<float>::min());
    // Of code 0, where decoding adds up.
    const auto middle = static_cast<float>(offset + T(half_) * level.scale);
    if (!std::isfinite(middle)) level.scale = T(std::numeric_limits<float>::infinity());
    level.stored = level.scale;
    level.zero = -offset / level.scale - T(half_);
    return level;
  }
  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }

  at::ScalarType do_scale_type(at::ScalarType open) const override {
    return scale_type_of(keys_, open);
  }
  at::ScalarType do_open_scale_type(at::ScalarType storage, bool quantized_input) const override {
    return open_type_of(keys_, storage, quantized_input);
  }
  // MLX multiplies codes and sums of inputs in fp32: no weight is ever rounded.
  at::ScalarType do_decoded_type(const Parts&) const override { return at::kFloat; }
  bool do_takes_limits() const override { return false; }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    SWAGE_RETURN_IF_ERROR(quant::check_groups(*this, weight.size(1)));
    SWAGE_ASSIGN_OR_RETURN(const quant::Levels levels, quant::find_levels(*this, weight, request));
    const at::ScalarType type = do_scale_type(request.scale_dtype);
    return Parts{{kScales, levels.scales.to(type)},
                 {kOffsets, (-(levels.zeros + half_) * levels.scales).to(type)}};
  }

  absl::StatusOr<quant::ScalarGrid> do_grid(const Parts& levels, int64_t out,
                                            int64_t in) const override {
    SWAGE_ASSIGN_OR_RETURN(quant::ScalarGrid grid, ScalarCodec::do_grid(levels, out, in));
    grid.offset = part(levels, kOffsets).to(grid.scale.scalar_type()) + half_ * grid.scale;
    return grid;
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    const PartCheck check(parts);
    if (in % layout().columns != 0)
      return check.wrong(kCodes, absl::StrCat(in, " columns wide"),
                         absl::StrCat("a multiple of ", layout().columns));
    SWAGE_RETURN_IF_ERROR(check.shape(kCodes, {out, in}));
    SWAGE_RETURN_IF_ERROR(check.type(kCodes, at::kChar));
    const at::ScalarType type = part(parts, kScales).scalar_type();
    if (!at::isFloatingType(type) || c10::elementSize(type) == 1)
      return check.wrong(kScales, c10::toString(type), "floats of 16 bits or more");
    SWAGE_RETURN_IF_ERROR(check.type(kScales, do_scale_type(type)));
    SWAGE_RETURN_IF_ERROR(check.type(kOffsets, type));
    for (const char* name : {kScales, kOffsets}) {
      SWAGE_RETURN_IF_ERROR(check.shape(name, {out, in / layout().columns}));
      SWAGE_RETURN_IF_ERROR(check.finite(name));
    }
    SWAGE_RETURN_IF_ERROR(check.only({kCodes, kScales, kOffsets}));
    return check.codes_of(kCodes, table().values());
  }

  int64_t do_level_bits(const Parts& parts) const override {
    const at::Tensor& scales = part(parts, kScales);
    return 2 * scales.numel() * scale_bits(scales.scalar_type());
  }
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType open) const override {
    return 2 * out * (in / layout().columns) * scale_bits(do_scale_type(open));
  }

  const Value keys_;
  const int half_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Affine, "affine");
