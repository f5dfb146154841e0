// Floats of 8 bits (Micikevicius et al. 2022), 6 and 4 bits (OCP Microscaling 2023), saturating,
// with floating-point scales for a tensor, a row, a group of columns or a block (DeepSeek-V3: 128 x
// 128).
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "format/float_tables.h"
#include "format/keys.h"
#include "quant/kernels.h"
#include "swage/register.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;
using quant::ScalarTable;

constexpr char kChannel[] = "channel", kGroup[] = "group";  // where the keys name no granularity

quant::ScalarLayout layout_with(const ScalarTable& table, const Value& keys,
                                const char* granularity) {
  quant::ScalarLayout layout = layout_of(keys, of_inputs(keys) ? "token" : granularity);
  layout.code_bits = table.bits();
  return layout;
}

class Floats : public quant::ScalarCodec {
 protected:
  Floats(const ScalarTable::Pointer& table, const Params& params,
         const char* granularity = kChannel)
      : ScalarCodec(table, layout_with(*table, Value(params.values()), granularity)),
        granularity_(granularity),
        keys_(params.values()) {
    const Value& keys = keys_;
    if (!is_dynamic(keys) && of_inputs(keys) && keys.str("granularity", "token") != "tensor") {
      throw std::invalid_argument(
          "a static scale per token or group cannot exist; with dynamic = false write granularity "
          "= \"tensor\"");
    }
  }

 private:
  std::string do_describe() const override {
    if (!of_inputs(keys_)) return absl::StrCat(format(), extent_text(keys_, granularity_));
    return absl::StrCat("a-", format(), extent_text(keys_, "token"),
                        is_dynamic(keys_) ? "" : " static");
  }

  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    Level<T> level;
    const T scale = std::max(std::abs(low), std::abs(high)) / T(table().greatest());
    if (scale == 0) return level;
    level.scale = quant::round_to_storage(scale, storage.scales);
    if (level.scale == 0)
      level.scale = T(storage.scales == c10::ScalarType::Half ? 6.103515625e-05f
                                                              : std::numeric_limits<float>::min());
    level.stored = level.scale;
    return level;
  }

  at::ScalarType do_scale_type(at::ScalarType open) const override {
    return scale_type_of(keys_, open);
  }
  at::ScalarType do_open_scale_type(at::ScalarType storage, bool quantized_input) const override {
    return open_type_of(keys_, storage, quantized_input);
  }

  double search_start() const override { return table().bits() <= kFewBits ? kExpandedSearch : 1; }

  const char* const granularity_;
  const Value keys_;
};

class Fp8E4m3 final : public Floats {
 public:
  explicit Fp8E4m3(const Params& params) : Floats(e4m3(), params) {}
};

class Fp8E5m2 final : public Floats {
 public:
  explicit Fp8E5m2(const Params& params) : Floats(e5m2(), params) {}
};

class Fp6E2m3 final : public Floats {
 public:
  explicit Fp6E2m3(const Params& params) : Floats(e2m3(), params) {}
};

class Fp6E3m2 final : public Floats {
 public:
  explicit Fp6E3m2(const Params& params) : Floats(e3m2(), params) {}
};

class Fp4 final : public Floats {
 public:
  explicit Fp4(const Params& params) : Floats(e2m1(), params, kGroup) {}
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Fp8E4m3, "fp8-e4m3");
SWAGE_FORMAT(swage::format::Fp8E5m2, "fp8-e5m2");
SWAGE_FORMAT(swage::format::Fp6E2m3, "fp6-e2m3");
SWAGE_FORMAT(swage::format::Fp6E3m2, "fp6-e3m2");
SWAGE_FORMAT(swage::format::Fp4, "fp4");
