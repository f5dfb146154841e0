#include "core/base/glob.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace swage {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kLongestGlob = 1 << 14;  // as long as 500 names in full

// Drops the end of both, as far as it is fixed; false where they differ. Most names fail there.
bool same_end(std::string_view* pattern, std::string_view* text) {
  while (!pattern->empty() && pattern->back() != '*' && pattern->back() != '}') {
    if (text->empty() || (pattern->back() != '?' && pattern->back() != text->back())) return false;
    pattern->remove_suffix(1);
    text->remove_suffix(1);
  }
  return true;
}

// A star only ever needs to be widened when what follows it fails, so the last one alone is
// remembered.
bool match_plain(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = kNone, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != kNone) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// All places of the pattern that the text may have reached, followed side by side: time is bounded
// by pattern times text, however many texts the alternatives make together.
class Alternatives {
 public:
  explicit Alternatives(std::string_view pattern)
      : pattern_(pattern), closes_(pattern.size(), kNone), seen_(pattern.size() + 1, 0) {
    for (size_t open = pattern.find('{'); open != kNone; open = pattern.find('{', open)) {
      const size_t close = pattern.find('}', open);
      if (close == kNone) break;
      for (size_t i = open; i <= close; ++i) closes_[i] = close;
      open = close;
    }
  }

  bool match(std::string_view text) {
    enter(0);
    std::vector<size_t> places;
    for (const char c : text) {
      if (places_.empty()) return false;
      places.swap(places_);
      places_.clear();
      ++step_;
      for (const size_t p : places) {
        const bool star = pattern_[p] == '*';
        if (star || pattern_[p] == '?' || pattern_[p] == c) enter(star ? p : p + 1);
      }
    }
    return seen_.back() == step_;
  }

 private:
  bool in_group(size_t p) const { return p < pattern_.size() && closes_[p] != kNone; }
  bool begins_group(size_t p) const {
    return in_group(p) && pattern_[p] == '{' && (p == 0 || closes_[p - 1] != closes_[p]);
  }

  // Stands before `p`, and wherever one comes from there without a character. Behind an alternative
  // stands a comma or the closing brace.
  void enter(size_t p) {
    for (;;) {
      while (in_group(p) && (pattern_[p] == ',' || pattern_[p] == '}')) p = closes_[p] + 1;
      if (seen_[p] == step_) return;
      seen_[p] = step_;
      if (p == pattern_.size()) return;
      if (begins_group(p)) {
        for (size_t i = p; i < closes_[p]; ++i) {
          if (i == p || pattern_[i] == ',') enter(i + 1);
        }
        return;
      }
      places_.push_back(p);
      if (pattern_[p] != '*') return;
      ++p;
    }
  }

  const std::string_view pattern_;
  std::vector<size_t> closes_;  // of each place in a group, its closing brace
  std::vector<size_t> seen_;    // the step that entered it last
  std::vector<size_t> places_;  // before characters, `?` and `*`
  size_t step_ = 1;
};

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  if (!same_end(&pattern, &text)) return false;
  const size_t open = pattern.find('{');
  const bool plain = open == kNone || pattern.find('}', open) == kNone;
  return plain ? match_plain(pattern, text) : Alternatives(pattern).match(text);
}

bool glob_match_any(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return glob_match(pattern, text); });
}

absl::Status check_glob(std::string_view pattern) {
  if (pattern.size() <= kLongestGlob) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a pattern of ", pattern.size(),
                                                 " characters, at most ", kLongestGlob,
                                                 " are matched; give several patterns"));
}

}  // namespace swage
