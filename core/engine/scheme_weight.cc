#include "core/engine/scheme_weight.h"

#include <algorithm>
#include <numeric>

#include "swage/io/checkpoint.h"
#include "swage/io/safetensors.h"
#include "swage/status.h"

namespace swage {
namespace {

constexpr int64_t kGroup = 128, kSmallGroup = 64, kSmallestGroup = 16;

Scheme integers(int bits, int64_t group) {
  if (group == 0) return {"int", {{"bits", bits}, {"granularity", "channel"}}};
  return {"int", {{"bits", bits}, {"granularity", "group"}, {"group", group}}};
}

// The largest group of at most kGroup columns that divides all widths; 0 when that is a small one.
int64_t even_group(const ModelSummary& model) {
  int64_t common = 0;
  for (const ModelSummary::Matrix& linear : model.linears) common = std::gcd(common, linear.in);
  for (int64_t group = std::min(common, kGroup); group >= kSmallestGroup; --group) {
    if (common % group == 0) return group;
  }
  return 0;
}

at::ScalarType scale_type(const ModelSummary::Matrix& linear) {
  const auto type = io::to_scalar_type(linear.type);
  return type.ok() && c10::isFloatingType(*type) ? *type : at::kFloat;
}

}  // namespace

SchemeWeight weigh(const ModelSummary& model, std::shared_ptr<const Codec> codec) {
  SchemeWeight weight;
  double bits = 0, elements = 0;
  for (const ModelSummary::Matrix& linear : model.linears) {
    const auto count = static_cast<double>(linear.rows * linear.in);
    elements += count;
    const at::ScalarType scales = codec->open_scale_type(scale_type(linear), false);
    bits += count * codec->code_bits() +
            static_cast<double>(codec->planned_level_bits(linear.rows, linear.in, scales));
    if (linear.in % codec->column_multiple() != 0 && weight.uneven == 0) weight.uneven = linear.in;
  }
  if (elements > 0) weight.bits_per_weight = bits / elements;
  weight.bytes = model.kept_bytes + static_cast<int64_t>((bits + 7) / 8);
  weight.codec = std::move(codec);
  return weight;
}

absl::StatusOr<std::vector<SchemeWeight>> weigh_common_schemes(const ModelSummary& model) {
  std::vector<SchemeWeight> weights;
  const auto add = [&](const Scheme& scheme, bool only_even) -> absl::StatusOr<bool> {
    SWAGE_ASSIGN_OR_RETURN(auto codec, make_codec(scheme));
    SchemeWeight weight = weigh(model, std::move(codec));
    if (only_even && weight.uneven != 0) return false;
    weights.push_back(std::move(weight));
    return true;
  };
  SWAGE_RETURN_IF_ERROR(add(integers(4, kGroup), false).status());
  SWAGE_ASSIGN_OR_RETURN(const bool small, add(integers(4, kSmallGroup), true));
  if (const int64_t even = even_group(model); !small && even > 0)
    SWAGE_RETURN_IF_ERROR(add(integers(4, even), false).status());
  SWAGE_RETURN_IF_ERROR(add(integers(8, 0), false).status());
  SWAGE_RETURN_IF_ERROR(add({"fp8-e4m3", {}}, false).status());
  return weights;
}

}  // namespace swage
