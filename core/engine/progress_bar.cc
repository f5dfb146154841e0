#include "core/engine/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/bytes.h"

namespace swage {
namespace {

constexpr int kBarColumns = 16;
constexpr int kLeastWhat = 8;         // fewer columns of it say nothing
constexpr double kLeastShare = 0.02;  // of a unit, before a time is told

bool starts_code_point(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::string bar(const Progress& progress) {
  const double worked = static_cast<double>(progress.done) + progress.fraction;
  const double share =
      progress.total > 0 ? std::clamp(worked / static_cast<double>(progress.total), 0.0, 1.0) : 0;
  const int filled = static_cast<int>(share * kBarColumns);
  std::string text;
  for (int i = 0; i < kBarColumns; ++i) text += i < filled ? "━" : "─";
  return text;
}

}  // namespace

int columns(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), starts_code_point));
}

std::string shortened(const std::string& text, int width) {
  if (columns(text) <= width) return text;
  if (width < 1) return "";
  size_t end = 0;
  for (int seen = 0; end < text.size(); ++end) {
    if (starts_code_point(text[end]) && ++seen == width) break;
  }
  return text.substr(0, end) + "…";
}

std::string bar_line(const Progress& progress, int width) {
  const std::string count = absl::StrCat(progress.done, "/", progress.total);
  std::vector<std::string> tail;
  if (progress.seconds_left >= 0)
    tail.push_back(duration_text(std::ceil(progress.seconds_left)) + " left");
  tail.push_back(bytes_to_text(progress.bytes));
  const auto line = [&](const std::string& drawn, const std::string& what) {
    std::vector<std::string> parts = {progress.phase, drawn, count, what};
    parts.insert(parts.end(), tail.begin(), tail.end());
    parts.erase(std::remove(parts.begin(), parts.end(), ""), parts.end());
    return absl::StrJoin(parts, "  ");
  };
  const std::string bare = line(bar(progress), "");
  const int room = width - columns(bare) - 2;
  if (room >= std::min(kLeastWhat, columns(progress.what)))
    return line(bar(progress), shortened(progress.what, room));
  return columns(bare) <= width ? bare : shortened(line("", ""), width);
}

double seconds_left(double seconds, double worked, double left) {
  return worked < kLeastShare ? -1 : seconds / worked * std::max(left, 0.0);
}

std::string duration_text(double seconds) {
  if (seconds < 9.95 && seconds != std::floor(seconds)) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrFormat("%dm %02ds", whole / 60, whole % 60);
  if (whole < 86400) return absl::StrFormat("%dh %02dm", whole / 3600, whole / 60 % 60);
  return absl::StrFormat("%dd %02dh", whole / 86400, whole / 3600 % 24);
}

std::string event_line(int64_t milliseconds, const std::string& name, const Value& figures) {
  const std::time_t seconds = milliseconds / 1000;
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  Value::Table others;
  if (figures.table() != nullptr) others = *figures.table();
  others.erase("time");
  others.erase("event");
  // Tables sort their keys; a person who reads along wants these two first.
  const std::string rest = others.empty() ? "}" : "," + to_json(Value(others), -1).substr(1);
  return absl::StrFormat("{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"event\":%s%s",
                         utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                         utc.tm_sec, milliseconds % 1000, to_json(Value(name), -1), rest);
}

std::string figures_text(const Value& figures) {
  std::vector<std::string> parts;
  if (figures.table() == nullptr) return "";
  for (const auto& [key, value] : *figures.table()) {
    double number = 0;
    if (value.text() != nullptr) {
      parts.push_back(absl::StrCat(key, " ", *value.text()));
    } else if (value.integer() != nullptr || value.boolean() != nullptr) {
      parts.push_back(absl::StrCat(key, " ", to_json(value, -1)));
    } else if (value.number(&number)) {
      parts.push_back(absl::StrFormat("%s %.4g", key, number));
    }
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace swage
