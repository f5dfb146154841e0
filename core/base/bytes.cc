#include "core/base/bytes.h"

#include <cctype>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace swage {
namespace {

constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};

// The factor of a unit such as "b", "kb", "gib"; 0 for anything else.
double factor(std::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  constexpr std::string_view kPrefixes = "kmgtp";
  const size_t power = kPrefixes.find(unit[0]);
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  if (rest == "b" || rest.empty()) return std::pow(1000.0, static_cast<double>(power + 1));
  return rest == "ib" ? std::pow(1024.0, static_cast<double>(power + 1)) : 0;
}

}  // namespace

std::string bytes_to_text(int64_t bytes) {
  if (bytes > -1000 && bytes < 1000) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::fabs(value) >= 999.5 && unit + 1 < std::size(kUnits)) {  // 999.5 would print as 1000
    value /= 1000;
    ++unit;
  }
  const int decimals = std::fabs(value) >= 99.95 ? 0 : std::fabs(value) >= 9.995 ? 1 : 2;
  return absl::StrFormat("%.*f %s", decimals, value, kUnits[unit]);
}

absl::StatusOr<int64_t> bytes_from_text(std::string_view text) {
  std::string lower;
  for (char c : text) {
    if (c != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  const size_t digits = std::min(lower.find_first_not_of("0123456789."), lower.size());
  const double scale = factor(std::string_view(lower).substr(digits));
  double number = 0;
  if (scale == 0 || !absl::SimpleAtod(lower.substr(0, digits), &number) ||
      number * scale >= 0x1p62) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text),
                     "\" is no size; expected for example \"24GB\", \"512 MiB\" or \"4096\""));
  }
  return static_cast<int64_t>(std::llround(number * scale));
}

}  // namespace swage
