#include "keys.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "swage/status.h"

namespace swage::io::gguf {

void KeyWriter::add(const std::string& key, GgufType type, const Value& value) {
  keys_.push_back({prefix_ + key, type, value});
}
void KeyWriter::count(const std::string& key, int64_t value) { add(key, GgufType::kU32, value); }
void KeyWriter::number(const std::string& key, double value) { add(key, GgufType::kF32, value); }
void KeyWriter::flag(const std::string& key, bool value) { add(key, GgufType::kBool, value); }
void KeyWriter::text(const std::string& key, const std::string& value) {
  add(key, GgufType::kText, value);
}

absl::StatusOr<int64_t> Metadata::count(const std::string& key) const {
  if (!has(key))
    return absl::InvalidArgumentError(absl::StrCat("the key \"", prefix_, key, "\" is missing"));
  const int64_t value = count(key, 0);
  if (value < 1 || value > int64_t{1} << 31) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", prefix_, key, "\" is ", value, ", expected a count"));
  }
  return value;
}

int64_t Metadata::count(const std::string& key, int64_t fallback) const {
  const Value& value = (*this)[key];
  // An array of equal numbers, one for every block.
  if (const Value::List* list = value.list(); list != nullptr && !list->empty()) {
    for (const Value& item : *list) {
      if (item != list->front() || item.integer() == nullptr)
        throw std::invalid_argument(
            absl::StrCat("\"", prefix_, key, "\" differs from block to block"));
    }
    return *list->front().integer();
  }
  return contents_.metadata.i64(prefix_ + key, fallback);
}

double shortest(double fp32) {
  const auto value = static_cast<float>(fp32);
  char text[32];
  for (int digits = 6; digits < 9; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
    if (std::strtof(text, nullptr) == value) return std::strtod(text, nullptr);
  }
  return static_cast<double>(value);
}

double Metadata::number(const std::string& key, double fallback) const {
  const double value = contents_.metadata.f64(prefix_ + key, fallback);
  return has(key) ? shortest(value) : fallback;
}

absl::StatusOr<double> Metadata::number(const std::string& key) const {
  if (!has(key))
    return absl::InvalidArgumentError(absl::StrCat("the key \"", prefix_, key, "\" is missing"));
  const double value = number(key, 0.0);
  if (!std::isfinite(value))
    return absl::InvalidArgumentError(absl::StrCat("\"", prefix_, key, "\" is no number"));
  return value;
}

bool Metadata::flag(const std::string& key, bool fallback) const {
  return contents_.metadata.flag(prefix_ + key, fallback);
}

std::string Metadata::text(const std::string& key, const std::string& fallback) const {
  return contents_.metadata.str(prefix_ + key, fallback);
}

}  // namespace swage::io::gguf
