// llama.cpp's blocks of 32 columns under one fp16 scale: Q4_0, Q5_0, Q8_0 and IQ4_NL.
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "quant/block_search.h"
#include "quant/kernels.h"
#include "quant/level_finder.h"
#include "quant/view.h"
#include "swage/part_check.h"
#include "swage/quant/scalar_codec.h"
#include "swage/quant/scalar_grid.h"
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

// The value of largest magnitude takes the table's first code, which reaches furthest: scales may
// be negative.
class OneScale : public quant::ScalarCodec {
 protected:
  OneScale(ScalarTable::Pointer table, double code_bits)
      : ScalarCodec(std::move(table), blocks_of(code_bits)) {}

  // Q8_0 rounds evenly on both sides; llama.cpp writes no -128, but reads it.
  template <class T>
  T furthest() const {
    return table().bits() == 8 ? T(table().greatest()) : T(table().least());
  }

  // By request.range, "minmax" or "weighted".
  virtual absl::StatusOr<Parts> search(const at::Tensor& weight, const FitRequest& request) const {
    return ScalarCodec::do_fit(weight, request);
  }

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
    const T largest = high > -low ? high : low;
    Level<T> level;
    level.scale = quant::round_to_storage(largest / furthest<T>(), storage.scales);
    // The least that fp16 holds: zero is no value of every table.
    if (level.scale == 0) level.scale = T(0x1p-24);
    level.stored = level.scale;
    return level;
  }
  at::ScalarType do_scale_type(at::ScalarType) const override { return at::kHalf; }
  at::ScalarType do_open_scale_type(at::ScalarType, bool) const override { return at::kHalf; }
  at::ScalarType do_decoded_type(const Parts&) const override { return at::kFloat; }
  // "mse" is the sum of squares here, as where levels come in pairs.
  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    const Value keys(scheme().keys);
    FitRequest squares = request;
    squares.range = request.range.empty() ? keys.str("range", "minmax") : request.range;
    if (squares.range == "mse") {
      squares.range = "weighted";
      squares.importance = at::Tensor();
    }
    return search(weight, squares);
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    SWAGE_RETURN_IF_ERROR(ScalarCodec::do_validate(parts, out, in));
    return PartCheck(parts).type("scales", at::kHalf);
  }
};

class Integers : public OneScale {
 protected:
  explicit Integers(int bits)
      : OneScale(ScalarTable::integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1), bits) {}

 private:
  absl::StatusOr<Parts> search(const at::Tensor& weight, const FitRequest& request) const override {
    if (request.range == "minmax") return OneScale::search(weight, request);
    SWAGE_RETURN_IF_ERROR(quant::check_groups(*this, weight.size(1)));
    quant::BlockShape shape;
    shape.low = static_cast<int>(table().least());
    shape.high = static_cast<int>(table().greatest());
    shape.reach = static_cast<int>(furthest<float>());
    shape.width = layout().columns;
    SWAGE_ASSIGN_OR_RETURN(const quant::BlockLevels levels,
                           quant::search_blocks(weight, shape, request.range, request, format()));
    return Parts{{"scales", levels.scales}};
  }
};

class Q40 final : public Integers {
 public:
  explicit Q40(const Params&) : Integers(4) {}
};

class Q50 final : public Integers {
 public:
  explicit Q50(const Params&) : Integers(5) {}
};

class Q80 final : public Integers {
 public:
  explicit Q80(const Params&) : Integers(8) {}
};

// Uneven values reach further on one side: a search tries both signs of the scale.
class Iq4Nl final : public OneScale {
 public:
  explicit Iq4Nl(const Params&) : Iq4Nl(1) {}

 private:
  explicit Iq4Nl(float sign)
      : OneScale(ScalarTable::values(signed_values(sign)), 4),
        mirrored_(sign > 0 ? new Iq4Nl(-1.f) : nullptr) {}

  static std::vector<float> signed_values(float sign) {
    std::vector<float> values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
    for (float& value : values) value *= sign;
    return values;
  }

  // To where the last value reaches the largest weight.
  double search_start() const override {
    const std::vector<float>& values = table().sorted();
    return std::max<double>(1, values.front() / -std::abs(values.back()));
  }

  absl::StatusOr<Parts> search(const at::Tensor& weight, const FitRequest& request) const override {
    SWAGE_ASSIGN_OR_RETURN(Parts levels, OneScale::search(weight, request));
    if (mirrored_ == nullptr || request.range == "minmax") return levels;
    SWAGE_ASSIGN_OR_RETURN(const Parts other, mirrored_->search(weight, request));
    const at::Tensor mine = part(levels, "scales"), theirs = -part(other, "scales");
    const at::Tensor inside =
        quant::clamp_to_limits(weight, layout().columns, request.clip_low, request.clip_high);
    const at::Tensor better =
        errors(inside, theirs, request.importance).lt(errors(inside, mine, request.importance));
    levels["scales"] = at::where(better, theirs, mine);
    return levels;
  }

  // Σ importance · error² of every group.
  at::Tensor errors(const at::Tensor& weight, const at::Tensor& scales,
                    const at::Tensor& importance) const {
    const int64_t rows = weight.size(0), columns = weight.size(1);
    const quant::ScalarGrid grid = *do_grid({{"scales", scales}}, rows, columns);
    at::Tensor squares = (quant::round_trip(weight, grid) - weight).square();
    if (importance.defined()) squares = squares * importance.to(squares.options());
    return squares.view({rows, columns / layout().columns, layout().columns}).sum(2);
  }

  const std::unique_ptr<const Iq4Nl> mirrored_;
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Q40, "q4_0");
SWAGE_FORMAT(swage::format::Q50, "q5_0");
SWAGE_FORMAT(swage::format::Q80, "q8_0");
SWAGE_FORMAT(swage::format::Iq4Nl, "iq4_nl");
