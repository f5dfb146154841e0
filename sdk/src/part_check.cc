#include "swage/part_check.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage {
namespace {

std::string text(at::IntArrayRef sizes) {
  return absl::StrCat("[", absl::StrJoin(sizes, ", "), "]");
}

// Codes with a value are one run in most tables; then their ends are quicker found than all of
// them.
bool within_run(const at::Tensor& codes, const float* values) {
  const bool is_signed = codes.scalar_type() == at::kChar;
  if (codes.numel() == 0 || (!is_signed && codes.scalar_type() != at::kByte)) return false;
  const int least = is_signed ? -128 : 0;
  const auto has_value = [&](int code) { return !std::isnan(values[static_cast<uint8_t>(code)]); };
  int first = least, last = least + 255;
  while (first < last && !has_value(first)) ++first;
  while (last > first && !has_value(last)) --last;
  for (int code = first; code <= last; ++code)
    if (!has_value(code)) return false;
  const auto [low, high] = at::aminmax(codes);
  return low.item().toLong() >= first && high.item().toLong() <= last;
}

}  // namespace

absl::Status PartCheck::wrong(std::string_view name, const std::string& found,
                              const std::string& expected) const {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), " is ", found, ", expected ", expected));
}

absl::Status PartCheck::shape(std::string_view name, at::IntArrayRef sizes) const {
  const at::Tensor& tensor = part(parts_, name);
  if (!tensor.defined()) return wrong(name, "missing", text(sizes));
  return tensor.sizes() == sizes ? absl::OkStatus()
                                 : wrong(name, text(tensor.sizes()), text(sizes));
}

absl::Status PartCheck::type(std::string_view name, at::ScalarType expected) const {
  const at::Tensor& tensor = part(parts_, name);
  if (tensor.scalar_type() == expected) return absl::OkStatus();
  return wrong(name, c10::toString(tensor.scalar_type()), c10::toString(expected));
}

absl::Status PartCheck::finite(std::string_view name) const {
  const at::Tensor& tensor = part(parts_, name);
  if (!tensor.is_floating_point())
    return wrong(name, c10::toString(tensor.scalar_type()), "a floating-point dtype");
  const at::Tensor value = tensor.element_size() == 1 ? tensor.to(at::kFloat) : tensor;
  if (at::isfinite(value).all().item<bool>()) return absl::OkStatus();
  return wrong(name, "not finite everywhere", "finite numbers");
}

absl::Status PartCheck::within(std::string_view name, int64_t low, int64_t high) const {
  const at::Tensor& tensor = part(parts_, name);
  if (tensor.numel() == 0) return absl::OkStatus();
  const auto [least, greatest] = at::aminmax(tensor);
  const auto first = least.item().toLong(), last = greatest.item().toLong();
  if (first >= low && last <= high) return absl::OkStatus();
  return wrong(name, absl::StrCat("in ", first, " .. ", last), absl::StrCat(low, " .. ", high));
}

absl::Status PartCheck::codes_of(std::string_view name, const float* values) const {
  if (std::none_of(values, values + 256, [](float value) { return std::isnan(value); }))
    return absl::OkStatus();
  if (within_run(part(parts_, name), values)) return absl::OkStatus();
  const at::Tensor bytes = part(parts_, name).to(at::kCPU).contiguous().view(at::kByte);
  const uint8_t* codes = bytes.const_data_ptr<uint8_t>();
  bool seen[256] = {};
  for (int64_t i = 0; i < bytes.numel(); ++i) seen[codes[i]] = true;
  for (int code = 0; code < 256; ++code) {
    if (!seen[code] || !std::isnan(values[code])) continue;
    const bool is_signed = part(parts_, name).scalar_type() == at::kChar;
    return wrong(
        name,
        absl::StrCat("a tensor with the code ", is_signed ? int{static_cast<int8_t>(code)} : code),
        "codes that have a value");
  }
  return absl::OkStatus();
}

absl::Status PartCheck::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, tensor] : parts_) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      return wrong(name, "present", "no such part in this format");
  }
  return absl::OkStatus();
}

}  // namespace swage
