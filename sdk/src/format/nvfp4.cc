// NVFP4: e2m1 under e4m3 for 16 columns, these under one fp32 number for the tensor: a divisor, as
// compressed-tensors stores it, or a multiplier, as ModelOpt does. No reciprocal is exact, so a run
// computes with the one that is stored.
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "format/float_tables.h"
#include "format/keys.h"
#include "swage/part_check.h"
#include "swage/register.h"
#include "swage/status.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;

constexpr int64_t kColumns = 16;
constexpr double kGreatestElement = 6, kGreatestScale = 448;
// Of a block of zeros, as compressed-tensors stores it.
constexpr double kZeroBlock = 0.125;

quant::ScalarLayout nvfp4_layout() {
  quant::ScalarLayout layout;
  layout.columns = kColumns;
  layout.code_bits = 4;
  layout.outer_groups = -1;
  return layout;
}

// e4m3 without sign, and back.
const quant::ScalarTable& scales() {
  static const auto* const table = new quant::ScalarTable::Pointer(e4m3());
  return **table;
}
double scale_of(uint8_t code) { return scales().values()[code]; }

class Nvfp4 final : public quant::ScalarCodec {
 public:
  explicit Nvfp4(const Params& params)
      : ScalarCodec(e2m1(), nvfp4_layout()),
        keys_(params.values()),
        decoded_(decoded_type_of(keys_)),
        multiplies_(keys_.str("tensor_scale", "divides") == "multiplies") {}

 private:
  std::string do_describe() const override {
    if (!of_inputs(keys_)) return format();
    return absl::StrCat("a-", format(), is_dynamic(keys_) ? "" : " static");
  }
  std::string do_form() const override {
    return absl::StrCat(format(), " as ", c10::toString(decoded_),
                        multiplies_ ? ", a multiplier for the tensor" : "");
  }

  template <class T>
  Level<T> level_at(double stored, const LevelStorage& storage) const {
    const auto scale = static_cast<float>(stored), outer = static_cast<float>(storage.outer);
    Level<T> level;
    level.stored = T(stored);
    level.scale = multiplies_ ? scale * outer : scale / outer;
    return level;
  }
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    const T magnitude = std::max(std::abs(low), std::abs(high));
    if (magnitude == 0) return level_at<T>(kZeroBlock, storage);
    const T element = magnitude / T(kGreatestElement), outer = T(storage.outer);
    const T wanted = multiplies_ ? element / outer : element * outer;
    if (std::isnan(wanted)) return {wanted, T(0), wanted};
    // With no scale above them those of the groups reach only so far.
    if (keys_.str("tensor_scale", "divides") == "none" && wanted > T(kGreatestScale)) {
      constexpr T kBeyond = std::numeric_limits<T>::infinity();
      return {kBeyond, T(0), kBeyond};
    }
    // A block that lies below all scales is not zero yet.
    const uint8_t code = std::max<uint8_t>(scales().code_of(wanted), 1);
    return level_at<T>(scale_of(code), storage);
  }
  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level_below(double stored, const LevelStorage& storage) const override {
    const uint8_t code = scales().code_of(stored);
    return code == 0 ? Level<double>{0, 0, 0} : level_at<double>(scale_of(code - 1), storage);
  }
  double search_start() const override { return kExpandedSearch; }

  at::ScalarType do_scale_type(at::ScalarType) const override { return at::kFloat8_e4m3fn; }
  at::Tensor outer_scales(const at::Tensor& low, const at::Tensor& high,
                          at::ScalarType) const override {
    constexpr double kGreatest = kGreatestScale * kGreatestElement;
    const at::Tensor magnitude = low.abs().maximum(high.abs());
    if (keys_.str("tensor_scale", "divides") == "none") return at::ones_like(magnitude, at::kFloat);
    if (multiplies_) {
      const at::Tensor multiplier = (magnitude / kGreatest).to(at::kFloat);
      return at::where(magnitude.eq(0), at::full_like(multiplier, 1),
                       multiplier.clamp_min(std::numeric_limits<float>::min()));
    }
    const at::Tensor divisor = (kGreatest / magnitude).to(at::kFloat);
    return at::where(magnitude.eq(0), at::full_like(divisor, 1),
                     divisor.clamp_max(std::numeric_limits<float>::max()));
  }
  at::Tensor effective_scales(const Parts& levels) const override {
    const at::Tensor scales = part(levels, "scales").to(at::kFloat),
                     outer = part(levels, "outer_scales").to(at::kFloat);
    return multiplies_ ? scales * outer : scales / outer;
  }
  at::ScalarType do_decoded_type(const Parts&) const override { return decoded_; }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    SWAGE_RETURN_IF_ERROR(ScalarCodec::do_validate(parts, out, in));
    const PartCheck check(parts);
    SWAGE_RETURN_IF_ERROR(check.type("outer_scales", at::kFloat));
    if (part(parts, "outer_scales").gt(0).all().item<bool>()) return absl::OkStatus();
    return check.wrong("outer_scales", "zero or negative", "a number above 0");
  }

  const Value keys_;
  const at::ScalarType decoded_;
  const bool multiplies_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Nvfp4, "nvfp4");
