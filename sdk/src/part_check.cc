#include "swage/part_check.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "swage/status.h"

namespace swage {
namespace {

std::string text(at::IntArrayRef sizes) {
  return absl::StrCat("[", absl::StrJoin(sizes, ", "), "]");
}

// The first byte of these that occurs, or -1. A piece at a time stays in the cache while each is
// looked for.
int found_of(const std::vector<int>& wanted, const uint8_t* bytes, int64_t count) {
  constexpr int64_t kPiece = 1 << 14;
  int least = 256;
  for (int64_t at = 0; at < count; at += kPiece) {
    const auto size = static_cast<size_t>(std::min(kPiece, count - at));
    for (const int code : wanted) {
      if (code < least && std::memchr(bytes + at, code, size) != nullptr) least = code;
    }
  }
  return least < 256 ? least : -1;
}

// The same, where there are many.
int found_of_many(const float* values, const uint8_t* bytes, int64_t count) {
  bool seen[256] = {};
  for (int64_t i = 0; i < count; ++i) seen[bytes[i]] = true;
  for (int code = 0; code < 256; ++code)
    if (seen[code] && std::isnan(values[code])) return code;
  return -1;
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
  constexpr size_t kFew = 8;
  std::vector<int> invalid;
  for (int code = 0; code < 256; ++code)
    if (std::isnan(values[code])) invalid.push_back(code);
  if (invalid.empty() || within_run(part(parts_, name), values)) return absl::OkStatus();
  const at::Tensor bytes = part(parts_, name).to(at::kCPU).contiguous().view(at::kByte);
  const uint8_t* codes = bytes.const_data_ptr<uint8_t>();
  const int code = invalid.size() <= kFew ? found_of(invalid, codes, bytes.numel())
                                          : found_of_many(values, codes, bytes.numel());
  if (code < 0) return absl::OkStatus();
  const bool is_signed = part(parts_, name).scalar_type() == at::kChar;
  return wrong(
      name,
      absl::StrCat("a tensor with the code ", is_signed ? int{static_cast<int8_t>(code)} : code),
      "codes that have a value");
}

absl::Status PartCheck::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, tensor] : parts_) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      return wrong(name, "present", "no such part in this format");
  }
  return absl::OkStatus();
}

}  // namespace swage
