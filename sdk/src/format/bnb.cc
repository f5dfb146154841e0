// The 4-bit formats of bitsandbytes (Dettmers et al. 2023): sixteen values, of which the greatest
// is 1, under the largest magnitude of 64 columns. With double quantization that is a byte of an
// 8-bit map under the largest magnitude of 256 of them, about their mean.
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "format/float_tables.h"
#include "format/keys.h"
#include "quant/kernels.h"
#include "quant/level_finder.h"
#include "swage/one_piece.h"
#include "swage/part_check.h"
#include "swage/register.h"
#include "swage/status.h"

namespace swage::format {
namespace {

using quant::Level;
using quant::LevelStorage;
using quant::ScalarTable;

constexpr int64_t kColumns = 64, kScalesTogether = 256;
constexpr char kScales[] = "scales", kOuter[] = "outer_scales", kOffset[] = "scale_offset";

// The 8-bit map of create_dynamic_map(): for each power of ten the middles of 2^i equal cells, by
// the same arithmetic, both signs, zero and one.
at::Tensor dynamic_map() {
  std::vector<at::Tensor> pieces = {at::tensor({0.f, 1.f})};
  for (int i = 0; i < 7; ++i) {
    const at::Tensor edges = at::linspace(0.1, 1, (1 << i) + 1, at::kFloat);
    const at::Tensor middles = (edges.slice(0, 0, -1) + edges.slice(0, 1)) / 2;
    const at::Tensor scaled = middles * std::pow(10.0, i - 6);
    pieces.push_back(scaled);
    pieces.push_back(-scaled);
  }
  return std::get<0>(at::cat(pieces).sort());
}

quant::ScalarLayout bnb_layout(bool nested) {
  quant::ScalarLayout layout;
  layout.columns = kColumns;
  layout.code_bits = 4;
  // The levels above are this format's own: they run over rows.
  if (nested) layout.outer_groups = -1;
  return layout;
}

int64_t pieces_of(int64_t scales) { return (scales + kScalesTogether - 1) / kScalesTogether; }

class Bnb : public quant::ScalarCodec {
 protected:
  Bnb(const std::vector<float>& values, const Params& params)
      : ScalarCodec(ScalarTable::values(values),
                    bnb_layout(Value(params.values()).flag("double_quant", false))),
        decoded_(decoded_type_of(Value(params.values()))) {}

 private:
  bool nested() const { return layout().outer_groups != 0; }

  std::string do_describe() const override {
    return absl::StrCat(format(), nested() ? " double-quantized" : "");
  }
  std::string do_form() const override {
    return absl::StrCat(do_describe(), " as ", c10::toString(decoded_));
  }

  template <class T>
  static Level<T> level_as(T low, T high) {
    Level<T> level;
    const T scale = std::max(std::abs(low), std::abs(high));
    if (scale == 0) return level;
    level.scale =
        std::max(quant::round_to_storage(scale, at::kFloat), T(std::numeric_limits<float>::min()));
    level.stored = level.scale;
    return level;
  }
  Level<float> level(float low, float high, const LevelStorage&) const override {
    return level_as(low, high);
  }
  Level<double> level(double low, double high, const LevelStorage&) const override {
    return level_as(low, high);
  }
  double search_start() const override { return kExpandedSearch; }
  at::ScalarType do_scale_type(at::ScalarType) const override {
    return nested() ? at::kByte : at::kFloat;
  }
  at::ScalarType do_decoded_type(const Parts&) const override { return decoded_; }
  bool do_wants_fused() const override { return false; }

  absl::StatusOr<Parts> do_fit(const at::Tensor& weight, const FitRequest& request) const override {
    if (!nested()) return ScalarCodec::do_fit(weight, request);
    SWAGE_RETURN_IF_ERROR(quant::check_groups(*this, weight.size(1)));
    SWAGE_ASSIGN_OR_RETURN(const quant::Levels levels, quant::find_levels(*this, weight, request));
    // Blocks of zeros take any scale: the mean of the others moves nothing.
    const at::Tensor scales = levels.scales.to(at::kFloat);
    const at::Tensor empty = weight.reshape({weight.size(0), -1, kColumns}).eq(0).all(2);
    const at::Tensor full = scales.masked_select(empty.logical_not());
    if (full.numel() == 0) return nest(scales);
    return nest(at::where(empty, mean_of(full), scales));
  }

  // fp32 [1], of sums that neither overflow nor depend on the number of threads.
  static at::Tensor mean_of(const at::Tensor& scales) {
    return in_one_piece([&] { return scales.mean(at::kDouble).to(at::kFloat).reshape({1}); });
  }

  static Parts nest(const at::Tensor& scales) {
    const at::Tensor offset = mean_of(scales);
    const at::Tensor flat = (scales - offset).flatten();
    const int64_t count = pieces_of(flat.numel());
    const at::Tensor padded =
        at::cat({flat, at::zeros({count * kScalesTogether - flat.numel()}, flat.options())})
            .view({count, kScalesTogether});
    at::Tensor outer = padded.abs().amax(1, true);
    outer = at::where(outer.eq(0), 1, outer);
    const at::Tensor map = map_on(flat);
    const at::Tensor edges = (map.slice(0, 0, -1) + map.slice(0, 1)) / 2;
    at::Tensor codes = at::bucketize(padded / outer, edges, false, false);
    // No scale is zero, which nothing could be divided by.
    const at::Tensor value = map.index_select(0, codes.flatten()).view_as(codes) * outer + offset;
    codes = at::where(value.eq(0), (codes + 1).clamp_max(map.numel() - 1), codes);
    return {{kScales, codes.flatten().narrow(0, 0, flat.numel()).view_as(scales).to(at::kByte)},
            {kOuter, outer},
            {kOffset, offset}};
  }

  static at::Tensor map_on(const at::Tensor& like) {
    static const auto* const map = new at::Tensor(dynamic_map());
    return map->to(like.device());
  }

  at::Tensor effective_scales(const Parts& levels) const override {
    if (!nested()) return ScalarCodec::effective_scales(levels);
    const at::Tensor& codes = part(levels, kScales);
    const at::Tensor map = map_on(codes).index_select(0, codes.flatten().to(at::kInt));
    const at::Tensor outer =
        part(levels, kOuter).expand({-1, kScalesTogether}).flatten().narrow(0, 0, codes.numel());
    return (map * outer + part(levels, kOffset)).view(codes.sizes());
  }

  absl::Status do_validate(const Parts& parts, int64_t out, int64_t in) const override {
    if (!nested()) return ScalarCodec::do_validate(parts, out, in);
    const PartCheck check(parts);
    const int64_t groups = (in + kColumns - 1) / kColumns;
    SWAGE_RETURN_IF_ERROR(check.shape("codes", {out, in}));
    SWAGE_RETURN_IF_ERROR(check.type("codes", at::kByte));
    SWAGE_RETURN_IF_ERROR(check.shape(kScales, {out, groups}));
    SWAGE_RETURN_IF_ERROR(check.type(kScales, at::kByte));
    SWAGE_RETURN_IF_ERROR(check.shape(kOuter, {pieces_of(out * groups), 1}));
    SWAGE_RETURN_IF_ERROR(check.shape(kOffset, {1}));
    for (const char* name : {kOuter, kOffset}) {
      SWAGE_RETURN_IF_ERROR(check.type(name, at::kFloat));
      SWAGE_RETURN_IF_ERROR(check.finite(name));
    }
    SWAGE_RETURN_IF_ERROR(check.only({"codes", kScales, kOuter, kOffset}));
    return check.codes_of("codes", table().values());
  }

  int64_t do_level_bits(const Parts& parts) const override {
    const int64_t count = part(parts, kScales).numel();
    return nested() ? count * 8 + pieces_of(count) * 32 + 32 : count * 32;
  }
  int64_t do_planned_level_bits(int64_t out, int64_t in, at::ScalarType) const override {
    const int64_t count = out * ((in + kColumns - 1) / kColumns);
    return nested() ? count * 8 + pieces_of(count) * 32 + 32 : count * 32;
  }

  const at::ScalarType decoded_;
};

class Nf4 final : public Bnb {
 public:
  explicit Nf4(const Params& params)
      : Bnb({-1.0F, -0.6961928009986877F, -0.5250730514526367F, -0.39491748809814453F,
             -0.28444138169288635F, -0.18477343022823334F, -0.09105003625154495F, 0.0F,
             0.07958029955625534F, 0.16093020141124725F, 0.24611230194568634F, 0.33791524171829224F,
             0.44070982933044434F, 0.5626170039176941F, 0.7229568362236023F, 1.0F},
            params) {}
};

class BnbFp4 final : public Bnb {
 public:
  explicit BnbFp4(const Params& params) : Bnb(values(), params) {}

 private:
  static std::vector<float> values() {
    std::vector<float> all;
    for (const float twelfths : {0.F, 0.0625F, 8.F, 12.F, 4.F, 6.F, 2.F, 3.F})
      all.push_back(twelfths / 12);
    for (int code = 0; code < 8; ++code) all.push_back(-all[code]);
    return all;
  }
};

}  // namespace
}  // namespace swage::format

SWAGE_FORMAT(swage::format::Nf4, "nf4");
SWAGE_FORMAT(swage::format::BnbFp4, "bnb-fp4");
