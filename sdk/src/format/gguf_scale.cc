// llama.cpp's blocks of 32 columns under one fp16 scale: Q4_0, Q5_0, Q8_0 and IQ4_NL.
#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/kernels.h"
#include "swage/part_check.h"
#include "swage/quant/scalar_codec.h"
#include "swage/register.h"
#include "swage/status.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;
using quant::ScalarTable;

quant::ScalarLayout blocks_of(double code_bits) {
  quant::ScalarLayout layout;
  layout.columns = 32;
  layout.code_bits = code_bits;
  return layout;
}

// The value of largest magnitude takes the table's first code, which reaches furthest: scales may be
// negative.
class OneScale : public quant::ScalarCodec {
 protected:
  OneScale(ScalarTable::Pointer table, double code_bits)
      : ScalarCodec(std::move(table), blocks_of(code_bits)) {}

 private:
  std::string do_describe() const override { return format(); }

  Level<float> level(float low, float high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  Level<double> level(double low, double high, const LevelStorage& storage) const override {
    return level_as(low, high, storage);
  }
  template <class T>
  Level<T> level_as(T low, T high, const LevelStorage& storage) const {
    constexpr T kLeast = T(0x1p-24);  // subnormal, as readers take it
    Level<T> level;
    const T largest = high > -low ? high : low;
    if (largest == 0) return level;
    level.scale = quant::round_to_storage(largest / furthest<T>(), storage.scales);
    if (level.scale == 0) level.scale = kLeast;
    level.stored = level.scale;
    return level;
  }
  // -128 is a code of Q8_0, but no product of integers should meet it.
  template <class T>
  T furthest() const {
    return table().bits() == 8 ? T(table().greatest()) : T(table().least());
  }

  at::ScalarType do_scale_type(at::ScalarType) const override { return at::kHalf; }
  at::ScalarType do_open_scale_type(at::ScalarType, bool) const override { return at::kHalf; }
  at::ScalarType do_decoded_type(const Parts&) const override { return at::kFloat; }
  // To where the code next to the first one reaches the largest value.
  double search_start() const override {
    const std::vector<float>& values = table().sorted();
    return std::max<double>(1, values.front() / -std::abs(values.back()));
  }

  // "mse" is the sum of squares here, as where levels come in pairs.
  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    const Value keys(scheme().keys);
    FitRequest squares = request;
    squares.range = request.range.empty() ? keys.str("range", "minmax") : request.range;
    if (squares.range == "mse") {
      squares.range = "weighted";
      squares.importance = at::Tensor();
    }
    return ScalarCodec::do_fit(weight, squares);
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    SWAGE_RETURN_IF_ERROR(ScalarCodec::do_validate(parts, out, in));
    return PartCheck(parts).type("scales", at::kHalf);
  }
};

class Q40 final : public OneScale {
 public:
  explicit Q40(const Params&) : OneScale(ScalarTable::integers(-8, 7), 4) {}
};

class Q50 final : public OneScale {
 public:
  explicit Q50(const Params&) : OneScale(ScalarTable::integers(-16, 15), 5) {}
};

class Q80 final : public OneScale {
 public:
  explicit Q80(const Params&) : OneScale(ScalarTable::integers(-128, 127), 8) {}
};

class Iq4Nl final : public OneScale {
 public:
  explicit Iq4Nl(const Params&)
      : OneScale(ScalarTable::values({-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53,
                                      69, 89, 113}),
                 4) {}
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Q40, "q4_0");
SWAGE_FORMAT(swage::format::Q50, "q5_0");
SWAGE_FORMAT(swage::format::Q80, "q8_0");
SWAGE_FORMAT(swage::format::Iq4Nl, "iq4_nl");
