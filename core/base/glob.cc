#include "core/base/glob.h"

#include <algorithm>

namespace swage {
namespace {

// A star only ever needs to be widened when what follows it fails, so the last one alone is
// remembered.
bool match_plain(std::string_view pattern, std::string_view text) {
  // Most names fail at their end.
  while (!pattern.empty() && pattern.back() != '*') {
    if (text.empty() || (pattern.back() != '?' && pattern.back() != text.back())) return false;
    pattern.remove_suffix(1);
    text.remove_suffix(1);
  }
  if (pattern.empty()) return text.empty();
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

constexpr int kMaxTries = 1000;  // bounds {a,b}{c,d}… of a hostile file

bool match(std::string_view pattern, std::string_view text, int& tries) {
  if (--tries < 0) return false;
  const size_t open = pattern.find('{');
  const size_t close = open == std::string_view::npos ? open : pattern.find('}', open);
  if (close == std::string_view::npos) return match_plain(pattern, text);
  for (size_t begin = open + 1; begin <= close;) {
    const size_t end = std::min(pattern.find(',', begin), close);
    std::string chosen(pattern.substr(0, open));
    chosen += pattern.substr(begin, end - begin);
    chosen += pattern.substr(close + 1);
    if (match(chosen, text, tries)) return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  int tries = kMaxTries;
  return match(pattern, text, tries);
}

bool glob_match_any(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return glob_match(pattern, text); });
}

}  // namespace swage
