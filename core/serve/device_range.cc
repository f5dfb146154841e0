#include "core/serve/device_range.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage {
namespace {

absl::Status refused(const std::string& text, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" ", why));
}

}  // namespace

absl::StatusOr<Device> parse_device(const std::string& text) {
  constexpr size_t kMostDigits = 6;
  size_t letters = 0;
  while (letters < text.size() && absl::ascii_islower(static_cast<unsigned char>(text[letters])))
    ++letters;
  Device device{text.substr(0, letters), -1};
  const std::string digits = text.substr(letters);
  bool fits = letters > 0 && digits.size() <= kMostDigits;
  for (const char c : digits) fits &= absl::ascii_isdigit(static_cast<unsigned char>(c));
  if (fits && !digits.empty()) fits = absl::SimpleAtoi(digits, &device.number);
  if (fits) return device;
  return refused(text,
                 "is no device; write \"sm90\" for NVIDIA's compute capability 9.0, \"cpu\" or "
                 "\"metal\"");
}

std::string text_of(const Device& device) {
  return device.number < 0 ? device.family : absl::StrCat(device.family, device.number);
}

bool DeviceRange::covers(const Device& device) const {
  return device.family == first.family && device.number >= first.number && device.number <= last;
}

absl::StatusOr<DeviceRange> parse_device_range(const std::string& text) {
  DeviceRange range;
  range.text = text;
  const bool open = absl::EndsWith(text, "+");
  const size_t dash = text.find('-');
  const bool closed = dash != std::string::npos;
  SWAGE_ASSIGN_OR_RETURN(
      range.first, parse_device(text.substr(0, closed ? dash : text.size() - (open ? 1 : 0))));
  range.last = open ? std::numeric_limits<int64_t>::max() : range.first.number;
  if (closed) {
    SWAGE_ASSIGN_OR_RETURN(const Device last, parse_device(text.substr(dash + 1)));
    if (last.family != range.first.family || last.number < range.first.number)
      return refused(text, "is no range of devices");
    range.last = last.number;
  }
  if ((open || closed) && range.first.number < 0)
    return refused(text, "has no number to start from");
  return range;
}

}  // namespace swage
