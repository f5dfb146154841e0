// llama.cpp's blocks with more than one scale: Q4_1 and Q5_1 (32 columns under an fp16 scale and
// offset), and the K types: groups of 16 or 32 columns with small integers for scale and minimum,
// 256 columns under two fp16 numbers for these.
#include <ATen/ops/full_like.h>
#include <ATen/ops/where.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "quant/block_search.h"
#include "swage/part_check.h"
#include "swage/quant/scalar_grid.h"
#include "swage/register.h"
#include "swage/status.h"

namespace swage::format {
namespace {

using quant::BlockShape;

constexpr char kCodes[] = "codes", kScales[] = "scales", kOffsets[] = "offsets", kMins[] = "mins",
               kOuter[] = "outer_scales", kOuterMins[] = "outer_mins";

int bits_of(int values) {
  int bits = 0;
  while (1 << bits < values) ++bits;
  return bits;
}

// Parts: "codes" int8; one level: "scales", "offsets" fp16; two: "scales" (uint8, int8 where they
// have a sign) and "mins" (uint8) of the groups, "outer_scales" and "outer_mins" (fp16) of the
// blocks.
class Blocks : public Codec {
 protected:
  // `other`: the format that llama.cpp takes for widths that this one cannot cut, or "".
  Blocks(const BlockShape& shape, const char* other)
      : shape_(shape), table_(quant::ScalarTable::integers(shape.low, shape.high)), other_(other) {}

 private:
  std::string do_describe() const override { return format(); }
  std::string do_form() const override { return format(); }

  bool two_levels() const { return shape_.groups > 0; }
  bool has_mins() const { return shape_.min_high > 0; }
  at::ScalarType small_type() const { return shape_.scale_low < 0 ? at::kChar : at::kByte; }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    const int64_t columns = weight.size(1);
    if (columns % shape_.columns() != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(format(), " stores ", shape_.columns(),
                       " columns in one block, which does not divide the input width ", columns,
                       *other_ ? absl::StrCat("; ", other_, " takes multiples of 32") : ""));
    }
    const std::string range =
        request.range.empty() ? Value(scheme().keys).str("range", "minmax") : request.range;
    SWAGE_ASSIGN_OR_RETURN(const quant::BlockLevels levels,
                           quant::search_blocks(weight, shape_, range, request, format()));
    Parts parts{{kScales, levels.scales}};
    const auto put = [&](const char* name, const at::Tensor& tensor) {
      if (tensor.defined()) parts.emplace(name, tensor);
    };
    put(two_levels() ? kMins : kOffsets, levels.offsets);
    put(kOuter, levels.outer);
    put(kOuterMins, levels.outer_mins);
    return parts;
  }

  // Numbers of the blocks, spread over their groups.
  at::Tensor spread(const Parts& levels, const char* name) const {
    return part(levels, name).to(at::kFloat).repeat_interleave(shape_.groups, 1);
  }

  quant::ScalarGrid grid_of(const Parts& levels) const {
    quant::ScalarGrid grid;
    grid.table = table_;
    grid.scale = part(levels, kScales).to(at::kFloat);
    if (two_levels()) grid.scale = spread(levels, kOuter) * grid.scale;
    if (has_mins())
      grid.offset = -(spread(levels, kOuterMins) * part(levels, kMins).to(at::kFloat));
    if (!two_levels()) grid.offset = part(levels, kOffsets).to(at::kFloat);
    grid.width = shape_.width;
    return grid;
  }

  // Files hold groups with a scale of zero, where all codes mean the same: solvers get a scale
  // under which every number is next to the code 0.
  absl::StatusOr<quant::ScalarGrid> do_grid(const Parts& levels, int64_t, int64_t) const override {
    quant::ScalarGrid grid = grid_of(levels);
    grid.scale = at::where(
        grid.scale.eq(0), at::full_like(grid.scale, std::numeric_limits<float>::max()), grid.scale);
    return grid;
  }

  Parts do_encode(const at::Tensor& weight, Parts levels) const override {
    levels.insert_or_assign(
        kCodes, quant::encode(weight, *do_grid(levels, weight.size(0), weight.size(1))));
    return levels;
  }

  at::Tensor do_decode(const Parts& parts, int64_t, int64_t) const override {
    return quant::decode(part(parts, kCodes), grid_of(parts));
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    const PartCheck check(parts);
    SWAGE_RETURN_IF_ERROR(check.shape(kCodes, {out, in}));
    SWAGE_RETURN_IF_ERROR(check.type(kCodes, table_->type()));
    if (in % shape_.columns() != 0)
      return check.wrong(kCodes, absl::StrCat(in, " columns wide"),
                         absl::StrCat("a multiple of ", shape_.columns()));
    const auto small = [&](const char* name, int64_t low, int64_t high) -> absl::Status {
      SWAGE_RETURN_IF_ERROR(check.shape(name, {out, in / shape_.width}));
      SWAGE_RETURN_IF_ERROR(check.type(name, low < 0 ? at::kChar : at::kByte));
      return check.within(name, low, high);
    };
    const auto halves = [&](const char* name, int64_t columns) -> absl::Status {
      SWAGE_RETURN_IF_ERROR(check.shape(name, {out, in / columns}));
      SWAGE_RETURN_IF_ERROR(check.type(name, at::kHalf));
      return check.finite(name);
    };
    if (two_levels()) {
      SWAGE_RETURN_IF_ERROR(small(kScales, shape_.scale_low, shape_.scale_high));
      SWAGE_RETURN_IF_ERROR(halves(kOuter, shape_.columns()));
    } else {
      SWAGE_RETURN_IF_ERROR(halves(kScales, shape_.width));
      SWAGE_RETURN_IF_ERROR(halves(kOffsets, shape_.width));
    }
    if (has_mins()) {
      SWAGE_RETURN_IF_ERROR(small(kMins, 0, shape_.min_high));
      SWAGE_RETURN_IF_ERROR(halves(kOuterMins, shape_.columns()));
    }
    SWAGE_RETURN_IF_ERROR(check.only({kCodes, kScales, two_levels() ? kOuter : kOffsets,
                                      has_mins() ? kMins : "", has_mins() ? kOuterMins : ""}));
    return check.codes_of(kCodes, table_->values());
  }

  double do_code_bits() const override { return table_->bits(); }
  int64_t do_level_bits(const Parts& parts) const override {
    const at::Tensor& scales = part(parts, kScales);
    return level_bits(scales.size(0), scales.size(1) * shape_.width);
  }
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType) const override {
    return level_bits(out, in);
  }
  int64_t level_bits(int64_t out, int64_t in) const {
    constexpr int64_t kHalfBits = 16;
    if (!two_levels()) return out * (in / shape_.width) * 2 * kHalfBits;
    const int64_t group = bits_of(shape_.scale_high - shape_.scale_low + 1) +
                          (has_mins() ? bits_of(shape_.min_high + 1) : 0);
    const int64_t block = shape_.groups * group + (has_mins() ? 2 : 1) * kHalfBits;
    return out * (in / shape_.columns()) * block;
  }

  at::ScalarType do_open_scale_type(at::ScalarType, bool) const override { return at::kHalf; }
  int64_t do_column_multiple() const override { return shape_.columns(); }
  int64_t do_group_width(int64_t) const override { return shape_.width; }

  const BlockShape shape_;
  const quant::ScalarTable::Pointer table_;
  const char* const other_;
};

// codes; columns of a group, groups of a block; stored scales; stored minimums.
class Q41 final : public Blocks {
 public:
  explicit Q41(const Params&) : Blocks({0, 15, 32, 0, 0, 0, 0}, "") {}
};
class Q51 final : public Blocks {
 public:
  explicit Q51(const Params&) : Blocks({0, 31, 32, 0, 0, 0, 0}, "") {}
};
class Q2K final : public Blocks {
 public:
  explicit Q2K(const Params&) : Blocks({0, 3, 16, 16, 0, 15, 15}, "iq4_nl") {}
};
class Q3K final : public Blocks {
 public:
  explicit Q3K(const Params&) : Blocks({-4, 3, 16, 16, -32, 31, 0}, "iq4_nl") {}
};
class Q4K final : public Blocks {
 public:
  explicit Q4K(const Params&) : Blocks({0, 15, 32, 8, 0, 63, 63}, "q5_0") {}
};
class Q5K final : public Blocks {
 public:
  explicit Q5K(const Params&) : Blocks({0, 31, 32, 8, 0, 63, 63}, "q5_1") {}
};
class Q6K final : public Blocks {
 public:
  explicit Q6K(const Params&) : Blocks({-32, 31, 16, 16, -128, 127, 0}, "q8_0") {}
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Q41, "q4_1");
SWAGE_FORMAT(swage::format::Q51, "q5_1");
SWAGE_FORMAT(swage::format::Q2K, "q2_k");
SWAGE_FORMAT(swage::format::Q3K, "q3_k");
SWAGE_FORMAT(swage::format::Q4K, "q4_k");
SWAGE_FORMAT(swage::format::Q5K, "q5_k");
SWAGE_FORMAT(swage::format::Q6K, "q6_k");
