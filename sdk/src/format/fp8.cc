// Floats of 8 bits (Micikevicius et al. 2022), saturating, with scales for a tensor, a row, a group
// of columns or a block (DeepSeek-V3: 128 x 128).
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
using quant::ScalarTable;

constexpr char kGranularity[] = "channel";  // where the keys name none

class Fp8 : public quant::ScalarCodec {
 protected:
  Fp8(ScalarTable::Pointer table, const Value& keys)
      : ScalarCodec(std::move(table), layout_of(keys, of_inputs(keys) ? "token" : kGranularity)),
        keys_(keys) {
    if (!is_dynamic(keys) && of_inputs(keys) && keys.str("granularity", "token") != "tensor") {
      throw std::invalid_argument(
          "a static scale per token or group cannot exist; with dynamic = false write granularity "
          "= \"tensor\"");
    }
  }

 private:
  std::string do_describe() const override {
    if (!of_inputs(keys_)) return absl::StrCat(format(), extent_text(keys_, kGranularity));
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

  const Value keys_;
};

class E4m3 final : public Fp8 {
 public:
  explicit E4m3(const Params& params)
      : Fp8(ScalarTable::floats(4, 3, 7, 448, at::kFloat8_e4m3fn), Value(params.values())) {}
};

class E5m2 final : public Fp8 {
 public:
  explicit E5m2(const Params& params)
      : Fp8(ScalarTable::floats(5, 2, 15, 57344, at::kFloat8_e5m2), Value(params.values())) {}
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::E4m3, "fp8-e4m3");
SWAGE_FORMAT(swage::format::E5m2, "fp8-e5m2");
