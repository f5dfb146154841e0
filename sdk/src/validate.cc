// Checks of a result: its format's parts, and what lies beside them.
#include <ATen/ops/unique_dim.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "swage/input_transform.h"
#include "swage/part_check.h"
#include "swage/result.h"
#include "swage/status.h"

namespace swage {
namespace {

// A factor of a low-rank side: a result of its own, or a part.
absl::Status check_factor(const Side& side, const char* name,
                          const std::shared_ptr<const Result>& result, int64_t rows,
                          int64_t columns) {
  const PartCheck check(side.parts);
  if (result == nullptr) {
    SWAGE_RETURN_IF_ERROR(check.shape(name, {rows, columns}));
    return check.finite(name);
  }
  if (part(side.parts, name).defined())
    return check.wrong(name, "there twice", "a part or a result, not both");
  SWAGE_RETURN_IF_ERROR(annotate(validate(*result), name));
  if (result->activation() || !result->online_transform().empty() || decode_raw(*result).defined())
    return check.wrong(name, "a result with an input of its own", "a weight alone");
  if (result->out() == rows && result->in() == columns) return absl::OkStatus();
  return check.wrong(name, absl::StrCat(result->out(), " x ", result->in()),
                     absl::StrCat(rows, " x ", columns));
}

absl::Status check_factors(const Side& side, int64_t out, int64_t in) {
  const at::Tensor& left = part(side.parts, "left");
  const int64_t rank = side.left                           ? side.left->in()
                       : left.defined() && left.dim() == 2 ? left.size(1)
                                                           : 0;
  SWAGE_RETURN_IF_ERROR(PartCheck(side.parts).only({"left", "right"}));
  SWAGE_RETURN_IF_ERROR(check_factor(side, "left", side.left, out, rank));
  return check_factor(side, "right", side.right, rank, in);
}

// Which of two equal places would count is not stated, so there are none.
absl::Status check_places(const PartCheck& check, const at::Tensor& places, bool entries) {
  const at::Tensor seen = std::get<0>(at::unique_dim(places, 0));
  if (seen.size(0) == places.size(0)) return absl::OkStatus();
  return check.wrong("index", "a list that repeats itself",
                     entries ? "every entry once" : "every column once");
}

absl::Status check_side(const Side& side, int64_t out, int64_t in) {
  const PartCheck check(side.parts);
  if (side.kind == Side::Kind::kLowRank) return check_factors(side, out, in);
  const at::Tensor& index = part(side.parts, "index");
  const int64_t count = index.defined() && index.dim() > 0 ? index.size(0) : 0;
  const bool entries = side.kind == Side::Kind::kEntries;
  SWAGE_RETURN_IF_ERROR(check.only({"index", "value"}));
  SWAGE_RETURN_IF_ERROR(entries ? check.shape("index", {count, 2}) : check.shape("index", {count}));
  SWAGE_RETURN_IF_ERROR(check.type("index", at::kLong));
  SWAGE_RETURN_IF_ERROR(entries ? check.shape("value", {count})
                                : check.shape("value", {out, count}));
  if (!entries) {
    SWAGE_RETURN_IF_ERROR(check.within("index", 0, in - 1));
    SWAGE_RETURN_IF_ERROR(check_places(check, index, entries));
    return check.finite("value");
  }
  if (count > 0) {
    const Parts places = {{"rows of index", index.select(1, 0)},
                          {"columns of index", index.select(1, 1)}};
    const PartCheck of_places(places);
    SWAGE_RETURN_IF_ERROR(of_places.within("rows of index", 0, out - 1));
    SWAGE_RETURN_IF_ERROR(of_places.within("columns of index", 0, in - 1));
    SWAGE_RETURN_IF_ERROR(check_places(check, index, entries));
  }
  return check.finite("value");
}

absl::Status check_mask(const at::Tensor& mask, int64_t out, int64_t in) {
  if (!mask.defined()) return absl::OkStatus();
  const Parts parts = {{"mask", mask}};
  const PartCheck check(parts);
  SWAGE_RETURN_IF_ERROR(check.type("mask", at::kBool));
  return check.shape("mask", {out, in});
}

absl::Status check_activation(const std::optional<ActivationQuantizer>& activation) {
  if (!activation) return absl::OkStatus();
  if (activation->codec == nullptr)
    return absl::InvalidArgumentError("its activation has no codec, expected that of a scheme");
  const Parts wanted = activation->codec->input_levels(-1, 1);  // their names and shapes
  const PartCheck check(activation->levels);
  for (const auto& [name, tensor] : wanted) {
    SWAGE_RETURN_IF_ERROR(annotate(check.shape(name, tensor.sizes()), "activation"));
    const at::Tensor& level = part(activation->levels, name);
    if (level.is_floating_point())
      SWAGE_RETURN_IF_ERROR(annotate(check.finite(name), "activation"));
    // Zero points may be 0; what inputs are divided by is none.
    const bool divides = absl::StrContains(name, "scale");
    if (divides && level.to(at::kFloat).eq(0).any().item<bool>())
      return annotate(check.wrong(name, "zero", "a number to divide by"), "activation");
  }
  for (const auto& [name, tensor] : activation->levels) {
    if (wanted.count(name) == 0)
      return annotate(check.wrong(name, "present", "no such level of this scheme"), "activation");
  }
  return absl::OkStatus();
}

absl::Status check_all(const Result& result) {
  const int64_t out = result.out(), in = result.in();
  SWAGE_RETURN_IF_ERROR(result.codec()->validate(result.parts(), out, in));
  for (const Side& side : result.sides())
    SWAGE_RETURN_IF_ERROR(annotate(check_side(side, out, in), name_of(side.kind)));
  SWAGE_RETURN_IF_ERROR(check_mask(result.mask(), out, in));
  if (!result.online_transform().empty())
    SWAGE_RETURN_IF_ERROR(InputTransform::parse(result.online_transform(), in).status());
  return check_activation(result.activation());
}

}  // namespace

absl::Status validate(const Result& result) {
  if (result.empty())
    return absl::InvalidArgumentError(absl::StrCat(result.name(), ": the result is empty"));
  return annotate(check_all(result), result.name());
}

}  // namespace swage
