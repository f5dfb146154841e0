// Microscaling (OCP 2023): 32 columns under one power of two, which is stored as a byte e + 127.
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

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
using quant::ScalarLayout;
using quant::ScalarTable;

constexpr int kBias = 127, kNoNumber = 255;  // of E8M0
constexpr int64_t kColumns = 32;

// Which power of two the largest magnitude m · 2^e, 1 <= m < 2, is taken for.
//   kFloor  2^e: what lies above the largest code saturates
//   kCeil   2^(e + 1) where m > 1: nothing saturates
//   kEven   2^(e + 1) where m rounds up to 2 at the precision of the elements
//   kFourThirds  4/3 of 2^e (FP-Quant): nothing saturates, for less than kCeil's 2^(e + 1). What is
//                stored stands for a third of a power of two
enum class Rule { kFloor, kCeil, kEven, kFourThirds };

ScalarLayout layout_of(const ScalarTable& table) {
  ScalarLayout layout;
  layout.columns = kColumns;
  layout.code_bits = table.bits();
  return layout;
}

class Mx : public quant::ScalarCodec {
 protected:
  // `element`: how the scheme calls the elements, "" where there is no choice.
  Mx(const ScalarTable::Pointer& table, const std::string& element, const Params& params)
      : ScalarCodec(table, layout_of(*table)),
        element_(element),
        decoded_(decoded_type_of(Value(params.values()))),
        greatest_exponent_(std::ilogb(table->greatest())),
        // compressed-tensors takes one bit for elements of 8 bits as well.
        even_bits_(table->bits() == 8 ? 1 : table->mantissa_bits()) {
    const Value keys(params.values());
    of_inputs_ = of_inputs(keys);
    if (of_inputs_ && !is_dynamic(keys)) {
      throw std::invalid_argument(
          "the scales of 32 columns follow their values: dynamic = false cannot be");
    }
    const std::string rule = keys.str("scale_rule", of_inputs_ ? "even" : "floor");
    if (rule == "floor") rule_ = Rule::kFloor;
    if (rule == "ceil") rule_ = Rule::kCeil;
    if (rule == "even") rule_ = Rule::kEven;
    if (rule == "four-thirds") rule_ = Rule::kFourThirds;
  }

 private:
  std::string do_describe() const override {
    return element_.empty() ? format() : absl::StrCat(format(), " ", element_);
  }
  // How scales are chosen is part of what an input becomes; of a weight its codes and scales say
  // all.
  std::string do_form() const override {
    static const char* const kRules[] = {"floor", "ceil", "even", "four-thirds"};
    if (of_inputs_)
      return absl::StrCat(do_describe(), " scaled by ", kRules[static_cast<int>(rule_)]);
    return absl::StrCat(do_describe(), rule_ == Rule::kFourThirds ? " under thirds" : "", " as ",
                        c10::toString(decoded_));
  }

  // What a stored power of two is multiplied by.
  float factor() const { return rule_ == Rule::kFourThirds ? 1.f / 3 : 1.f; }
  int exponent_of(double magnitude) const {
    int exponent = 0;
    const double mantissa = 2 * std::frexp(magnitude, &exponent);
    --exponent;
    if (rule_ == Rule::kCeil && mantissa > 1) ++exponent;
    if (rule_ == Rule::kEven && mantissa + std::ldexp(1.0, -even_bits_ - 1) >= 2) ++exponent;
    return rule_ == Rule::kFourThirds ? exponent : exponent - greatest_exponent_;
  }
  template <class T>
  Level<T> level_at(int exponent) const {
    Level<T> level;
    level.scale = std::ldexp(T(factor()), exponent);
    level.stored = T(exponent + kBias);
    return level;
  }
  template <class T>
  Level<T> level_as(T low, T high) const {
    const double magnitude = std::max(std::abs(low), std::abs(high));
    if (magnitude == 0) return level_at<T>(-kBias);
    if (!std::isfinite(magnitude)) return {T(magnitude), T(0), T(magnitude)};
    // Whatever is decoded is a finite fp32.
    const int most = rule_ == Rule::kFourThirds ? kBias - 1 : kBias - greatest_exponent_;
    return level_at<T>(std::min(std::max(exponent_of(magnitude), -kBias), most));
  }
  Level<float> level(float low, float high, const LevelStorage&) const override {
    return level_as(low, high);
  }
  Level<double> level(double low, double high, const LevelStorage&) const override {
    return level_as(low, high);
  }
  Level<double> level_below(double stored, const LevelStorage&) const override {
    if (stored <= 0) return {0, 0, 0};
    return level_at<double>(static_cast<int>(stored) - 1 - kBias);
  }
  // The power of two above may be better than the one whose largest code cuts something off.
  double search_start() const override { return kExpandedSearch; }

  at::ScalarType do_scale_type(at::ScalarType) const override { return at::kByte; }
  at::Tensor effective_scales(const Parts& levels) const override {
    static const auto* const powers = new std::vector<float>([] {
      std::vector<float> all;
      for (int byte = 0; byte < kNoNumber; ++byte) all.push_back(std::ldexp(1.f, byte - kBias));
      all.push_back(std::numeric_limits<float>::quiet_NaN());
      return all;
    }());
    const at::Tensor& scales = part(levels, "scales");
    const at::Tensor chosen =
        at::tensor(at::ArrayRef<float>(*powers), scales.options().dtype(at::kFloat))
            .index_select(0, scales.flatten().to(at::kInt))
            .view(scales.sizes());
    return rule_ == Rule::kFourThirds ? chosen * factor() : chosen;
  }
  at::ScalarType do_decoded_type(const Parts&) const override { return decoded_; }
  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    SWAGE_RETURN_IF_ERROR(ScalarCodec::do_validate(parts, out, in));
    return PartCheck(parts).within("scales", 0, kNoNumber - 1);
  }

  const std::string element_;
  const at::ScalarType decoded_;
  const int greatest_exponent_, even_bits_;
  Rule rule_ = Rule::kFloor;
  bool of_inputs_ = false;
};

ScalarTable::Pointer table_of(const std::string& element) {
  if (element == "e2m3") return e2m3();
  if (element == "e3m2") return e3m2();
  return element == "e4m3" ? e4m3() : e5m2();
}

std::string element_of(const Params& params, const char* fallback) {
  return Value(params.values()).str("element", fallback);
}

class Mxfp4 final : public Mx {
 public:
  explicit Mxfp4(const Params& params) : Mx(e2m1(), "", params) {}
};

class Mxfp6 final : public Mx {
 public:
  explicit Mxfp6(const Params& params)
      : Mx(table_of(element_of(params, "e2m3")), element_of(params, "e2m3"), params) {}
};

class Mxfp8 final : public Mx {
 public:
  explicit Mxfp8(const Params& params)
      : Mx(table_of(element_of(params, "e4m3")), element_of(params, "e4m3"), params) {}
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Mxfp4, "mxfp4");
SWAGE_FORMAT(swage::format::Mxfp6, "mxfp6");
SWAGE_FORMAT(swage::format::Mxfp8, "mxfp8");
