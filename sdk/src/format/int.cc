// Integers of 2 to 8 bits (Jacob et al. 2018): four conventions of the field, scales for a tensor,
// a row, a group of columns or a block, zero points in integers or floats, and group scales in
// int8 under one 16-bit scale a row. These use all of int8; QoQ (Lin et al. 2024) takes smaller
// ones, for which code times group scale is an int8 again.
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "format/keys.h"
#include "quant/kernels.h"
#include "swage/register.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;
using quant::ScalarCodec;
using quant::ScalarLayout;
using quant::ScalarTable;

//   kMinmax     symmetric scale = absmax / (2^(b-1) - 1); asymmetric range includes zero
//   kGptq       symmetric scale = 2 absmax / (2^b - 1);   asymmetric range includes zero
//   kFullRange  symmetric scale = -m / 2^(b-1), m the value of largest magnitude
//   kLlmc       as kMinmax, but an asymmetric range need not include zero (the zero point is
//               clamped)
enum class Convention { kMinmax, kGptq, kFullRange, kLlmc };

constexpr char kGranularity[] = "group";  // where the keys name none
constexpr double kLlmcFloor = 1e-5;
constexpr int kGreatestGroupScale = 127;
constexpr int64_t kWholeRow = int64_t{1} << 40;
// The least numbers, subnormal ones of fp16 included.
constexpr double kLeastHalf = 5.960464477539063e-08,
                 kLeastFloat = std::numeric_limits<float>::min();

Convention convention_of(const Value& keys) {
  constexpr int64_t kKernelBits = 8;
  // Scales that a reader chooses itself are its reader's: kernels for 8 bits divide by 127,
  // compressed-tensors, the only definition of fewer bits, by half of all steps (7.5 for 4 bits).
  if (is_dynamic(keys) && keys.i64("bits", kKernelBits) < kKernelBits) return Convention::kGptq;
  const std::string name = keys.str("convention", "minmax");
  if (name == "gptq") return Convention::kGptq;
  if (name == "full-range") return Convention::kFullRange;
  return name == "llmc" ? Convention::kLlmc : Convention::kMinmax;
}

int64_t bits_of(const Value& keys) { return keys.i64("bits", of_inputs(keys) ? 8 : 4); }

ScalarLayout integer_layout(const Value& keys) {
  ScalarLayout layout = layout_of(keys, of_inputs(keys) ? "token" : kGranularity);
  layout.code_bits = static_cast<double>(bits_of(keys));
  layout.zeros = !keys.flag("symmetric", true);
  layout.float_zeros = layout.zeros && keys.str("zero", "int") == "float";
  if (keys.str("group_scale", "float") == "int8") layout.outer_groups = kWholeRow;
  return layout;
}

class Int final : public ScalarCodec {
 public:
  explicit Int(const Params& params) : Int(Value(params.values())) {}

  void scale_slopes(const at::Tensor& low, const at::Tensor& high, at::Tensor* of_low,
                    at::Tensor* of_high) const override {
    if (symmetric()) return ScalarCodec::scale_slopes(low, high, of_low, of_high);
    const auto slope_of = [](const at::Tensor& x, double least) {
      return at::where(x.abs().gt(least), x.reciprocal(), at::zeros_like(x));
    };
    if (convention_ == Convention::kLlmc) {
      *of_high = slope_of(high - low, kLlmcFloor);
      *of_low = -*of_high;
      return;
    }
    const at::Tensor slope = slope_of(high.clamp_min(0) - low.clamp_max(0), 0);
    const at::Tensor none = at::zeros_like(low);
    *of_low = at::where(low.lt(0), -slope, none);
    *of_high = at::where(high.gt(0), slope, none);
  }

 private:
  explicit Int(const Value& keys)
      : ScalarCodec(
            ScalarTable::integers(-(1 << (bits_of(keys) - 1)), (1 << (bits_of(keys) - 1)) - 1),
            integer_layout(keys)),
        keys_(keys),
        bits_(static_cast<int>(bits_of(keys))),
        convention_(convention_of(keys)) {
    if (convention_ == Convention::kFullRange && layout().zeros) {
      throw std::invalid_argument(
          "convention = \"full-range\" is symmetric; with symmetric = false use \"minmax\", "
          "\"gptq\" or \"llmc\"");
    }
    if (two_levels() && layout().float_zeros) {
      throw std::invalid_argument(
          "zero = \"float\" has the type of the scales, and group_scale = \"int8\" leaves no float "
          "there; write zero = \"int\" or group_scale = \"float\"");
    }
    if (!is_dynamic(keys) && of_inputs(keys) && keys.str("granularity", "token") != "tensor") {
      throw std::invalid_argument(
          "a static scale per token or group cannot exist; with dynamic = false write granularity "
          "= \"tensor\"");
    }
  }

  std::string do_describe() const override {
    if (of_inputs(keys_)) {
      return absl::StrCat("a", bits_, extent_text(keys_, "token"), symmetric() ? "" : " asymmetric",
                          is_dynamic(keys_) ? "" : " static");
    }
    return absl::StrCat(
        "w", bits_, extent_text(keys_, kGranularity), symmetric() ? " symmetric" : " asymmetric",
        layout().float_zeros ? " in floats" : "", two_levels() ? " under int8 scales" : "");
  }

  bool two_levels() const { return layout().outer_groups != 0; }

  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }

  template <class T>
  T unrounded_scale(T low, T high) const {
    const T magnitude = std::max(std::abs(low), std::abs(high));
    const T half = T(1 << (bits_ - 1)), levels = 2 * half - 1;
    const bool llmc = convention_ == Convention::kLlmc;
    if (symmetric() && convention_ == Convention::kFullRange)
      return -(high >= -low ? high : low) / half;
    // A constant group is exact with a power of two for its code.
    if (low == high && !llmc) return magnitude / (half / 2);
    if (!symmetric()) {
      return llmc ? std::max(high - low, T(kLlmcFloor)) / levels
                  : (std::max(high, T(0)) - std::min(low, T(0))) / levels;
    }
    if (convention_ == Convention::kGptq) return 2 * magnitude / levels;
    return (llmc ? std::max(magnitude, T(kLlmcFloor)) : magnitude) / (half - 1);
  }

  // The grid of values in [low, high]. The scale is not finite where it leaves the storage dtype.
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    Level<T> level;
    const T scale = unrounded_scale(low, high);
    if (two_levels()) {
      const T size = std::nearbyint(std::abs(scale) / T(storage.outer));
      level.stored = std::copysign(std::min(std::max(size, T(1)), T(kGreatestGroupScale)), scale);
      level.scale = level.stored * T(storage.outer);
      if (scale == 0) return level;
    } else {
      if (scale == 0) return level;
      level.scale = quant::round_to_storage(scale, storage.scales);
      if (level.scale == 0)
        level.scale =
            T(storage.scales == c10::ScalarType::Half ? 6.103515625e-05f
                                                      : std::numeric_limits<float>::min());
      level.stored = level.scale;
    }
    const bool constant = low == high && convention_ != Convention::kLlmc && !two_levels();
    if (symmetric() || constant) return level;
    const T least = convention_ == Convention::kLlmc ? low : std::min(low, T(0));
    const T levels = T((1 << bits_) - 1), shift = T(-(1 << (bits_ - 1)));
    if (layout().float_zeros) {
      level.zero = quant::round_to_storage(-least / level.scale + shift, storage.scales);
      return level;
    }
    level.zero = std::min(std::max(-std::nearbyint(least / level.scale), T(0)), levels) + shift;
    return level;
  }

  at::ScalarType do_scale_type(at::ScalarType open) const override {
    return two_levels() ? at::kChar : scale_type_of(keys_, open);
  }

  at::ScalarType do_open_scale_type(at::ScalarType storage, bool quantized_input) const override {
    return open_type_of(keys_, storage, quantized_input);
  }

  // One a row, such that the largest group scale of the row is 127.
  at::Tensor outer_scales(const at::Tensor& low, const at::Tensor& high,
                          at::ScalarType open) const override {
    if (!two_levels()) return {};
    const at::Tensor magnitude = high.abs().maximum(low.abs());
    const double half = 1 << (bits_ - 1);
    at::Tensor scale = symmetric() ? magnitude / (half - 1)
                                   : (high.clamp_min(0) - low.clamp_max(0)) / (2 * half - 1);
    if (convention_ == Convention::kGptq && symmetric()) scale = 2 * magnitude / (2 * half - 1);
    if (convention_ == Convention::kFullRange) scale = magnitude / half;
    const at::Tensor greatest = scale.amax(1, true);
    const at::Tensor outer = (greatest / kGreatestGroupScale).to(scale_type_of(keys_, open));
    const double least = outer.scalar_type() == at::kHalf ? kLeastHalf : kLeastFloat;
    const at::Tensor small = at::where(greatest.eq(0), at::ones_like(outer), least);
    return at::where(outer.eq(0), small.to(outer.scalar_type()), outer);
  }

  at::Tensor effective_scales(const Parts& levels) const override {
    const at::Tensor scales = ScalarCodec::effective_scales(levels);
    return two_levels() ? scales * part(levels, "outer_scales").to(scales.scalar_type()) : scales;
  }

  at::ScalarType do_decoded_type(const Parts& parts) const override {
    const at::Tensor& outer = part(parts, "outer_scales");
    return outer.defined() ? outer.scalar_type() : ScalarCodec::do_decoded_type(parts);
  }

  const Value keys_;
  const int bits_;
  const Convention convention_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Int, "int");
