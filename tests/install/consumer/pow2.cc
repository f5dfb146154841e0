// Powers of two with a sign: a multiplication by such a weight is a shift (Miyashita et al. 2016,
// "Convolutional Neural Networks using Logarithmic Data Representation"). 4 bits: ±1, ±1/2 … ±1/128
// under one scale for some columns of a row. There is no zero.
#include <algorithm>
#include <cmath>

#include "swage/quant/scalar_codec.h"
#include "swage/register.h"

namespace {

using namespace swage;
using quant::Level;
using quant::LevelStorage;
using quant::ScalarTable;

constexpr int kMagnitudes = 8;  // 3 bits; the fourth is the sign

std::vector<float> values() {
  std::vector<float> by_code;
  for (const int sign : {1, -1}) {
    for (int k = 0; k < kMagnitudes; ++k)
      by_code.push_back(std::ldexp(static_cast<float>(sign), -k));
  }
  return by_code;
}

quant::ScalarLayout layout_of(const Params& params) {
  quant::ScalarLayout layout;
  layout.columns = params.i64("group");
  layout.code_bits = 4;
  return layout;
}

class Pow2 final : public quant::ScalarCodec {
 public:
  explicit Pow2(const Params& params)
      : ScalarCodec(ScalarTable::values(values()), layout_of(params)) {}

 private:
  std::string do_describe() const override { return "pow2 g" + std::to_string(layout().columns); }

  // The scale of a group is its largest magnitude, and never zero: a group of zeros decodes to
  // 2⁻²¹.
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    constexpr T kLeast = T(6.103515625e-05);  // 2⁻¹⁴, the smallest normal number of fp16
    Level<T> level;
    level.scale = storage.round(std::max({std::abs(low), std::abs(high), kLeast}));
    level.stored = level.scale;
    return level;
  }
  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
};

}  // namespace

SWAGE_FORMAT(Pow2, "pow2");
